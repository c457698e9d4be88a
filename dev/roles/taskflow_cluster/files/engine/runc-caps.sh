#!/bin/sh
# A runtime that starts runc after taking the capabilities out of a container's configuration that this host lacks.
# A host that is a restricted container itself can't give all of them, and runc fails where it is asked to.
set -eu
runc=$(command -v runc)
bundle='' process='' previous=''
for word in "$@"; do
    case $previous in
        --bundle | -b) bundle=$word ;;
        --process | -p) process=$word ;;
    esac
    previous=$word
done

file=${process:-${bundle:+$bundle/config.json}}
if [ -n "$file" ] && [ -f "$file" ]; then
    # The bits of the bounding set that are 0 are the numbers of the missing capabilities.
    bounding=$(sed -n 's/^CapBnd:\t//p' /proc/self/status)
    missing='' number=0
    for name in CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE \
        NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE \
        SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE \
        AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF \
        CHECKPOINT_RESTORE; do
        [ $((0x$bounding >> number & 1)) = 1 ] || missing="$missing \"CAP_$name\""
        number=$((number + 1))
    done
    changed=$(mktemp)
    # shellcheck disable=SC2016
    jq --compact-output --argjson missing "[$(echo "$missing" | sed 's/^ //; s/ /,/g')]" '
        def keep: if . == null then . else map_values(if . == null then . else . - $missing end) end;
        if has("process") then .process.capabilities |= keep elif has("capabilities") then .capabilities |= keep else . end
    ' "$file" >"$changed"
    cat "$changed" >"$file"
    rm "$changed"
fi
exec "$runc" "$@"
