#!/usr/bin/env bash
# Run `make demo` and `make test-unit` on a machine where nothing is installed: a container of plain Debian, with a
# Docker of its own inside. Nothing of this machine's caches is used.
# Usage: fresh.sh [DEBIAN]   (default: trixie)
# Environment:
#   KEEP=true   leave the container, to look into it
#   MIRROR      the Debian mirror, where the image has to be made here
#   the variables of a proxy, an index of Python packages and a proxy of Go modules hold in the container too
set -euo pipefail
cd "$(dirname "$0")/.."
debian=${1:-trixie}
container=taskflow-fresh-$debian
built=localhost/taskflow/fresh:$debian
engine_py=dev/roles/taskflow_cluster/files/engine/engine.py
engine_state=${XDG_STATE_HOME:-$HOME/.local/state}/taskflow-cluster/docker
engine=docker image='' started=false work='' times=()

# Addresses may have passwords in them, so only the names are arguments.
passed=(http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY GOPROXY GOSUMDB GONOSUMDB GOPRIVATE
    PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST PIP_PROXY PIP_DEFAULT_TIMEOUT PIP_RETRIES)
# What names a file with authorities.
named=(SSL_CERT_FILE PIP_CERT REQUESTS_CA_BUNDLE CURL_CA_BUNDLE)

say() { echo "==> $*"; }

fail() {
    echo "error: $*" >&2
    exit 1
}

inside() { "$engine" exec --interactive "$container" "$@"; }

# The engine that answers, or else a daemon of our own, the one that `make up` would run.
find_engine() {
    local found
    if [ -z "${DOCKER_HOST:-}" ]; then
        found=$(python3 -B "$engine_py" find "$engine_state")
        engine=$(sed -nE 's/.*"engine": "([^"]*)".*/\1/p' <<<"$found")
        DOCKER_HOST=$(sed -nE 's/.*"docker_host": "([^"]*)".*/\1/p' <<<"$found")
    fi
    [ -n "$engine" ] || start_engine
    [ -z "$DOCKER_HOST" ] || export DOCKER_HOST
}

start_engine() {
    command -v dockerd >/dev/null || fail "no container engine answers. Start Docker or Podman, or install docker.io."
    say "Starting a Docker daemon."
    started=true
    python3 -B "$engine_py" start "$engine_state" "${XDG_CACHE_HOME:-$HOME/.cache}/taskflow/docker"
    engine=docker DOCKER_HOST=unix://$engine_state/docker.sock
}

find_image() {
    image=docker.io/library/debian:$debian
    say "Pulling $image."
    timeout 120 "$engine" pull --quiet "$image" >/dev/null || make_image
}

make_image() {
    command -v mmdebstrap >/dev/null || fail "$image can't be pulled. Install mmdebstrap, which makes it."
    say "It can't be pulled, so mmdebstrap makes it (a minute)."
    image=$built
    mmdebstrap --quiet --variant=minbase "$debian" - ${MIRROR:+"$MIRROR"} |
        "$engine" import --change 'CMD ["bash"]' - "$image" >/dev/null
}

# Docker inside can't keep its data in the container's own file system, and ~/.cache holds what our own daemon keeps.
start_container() {
    local options=() name
    for name in "${passed[@]}"; do
        [ -z "${!name:-}" ] || options+=(--env "$name")
    done
    for name in "${named[@]}"; do
        [ -z "${!name:-}" ] || options+=(--env "$name=/etc/ssl/certs/ca-certificates.crt")
    done
    "$engine" run --detach --init --privileged --cpu-shares 512 --env container=docker --hostname fresh \
        --volume /var/lib/docker --volume /var/lib/containerd --volume /root/.cache \
        --name "$container" "${options[@]}" "$image" sleep infinity >/dev/null
    inside sh -eu -c "$free_cgroup"
}

# Control groups of version 2 have either processes or groups below them, so what runs goes into a group of its own.
# shellcheck disable=SC2016
free_cgroup='
    cd /sys/fs/cgroup
    [ -e cgroup.controllers ] || exit 0
    mkdir -p init
    xargs -rn1 <cgroup.procs >init/cgroup.procs || true
    sed "s/^/+/; s/ / +/g" cgroup.controllers >cgroup.subtree_control'

# What a person would install to get the checkout, and the authorities that this machine trusts.
prepare() {
    say "Installing git and make in it."
    inside sh -eu -c 'apt-get update -qq && apt-get install -qq --no-install-recommends ca-certificates git make' >"$work/log" 2>&1 ||
        { cat "$work/log" >&2 && fail "the container can't install Debian's packages."; }
    give_authorities
    give_checkout
}

# Every authority is a file, as update-ca-certificates wants them.
give_authorities() {
    local file bundle=''
    for file in "${SSL_CERT_FILE:-}" "${PIP_CERT:-}" /etc/ssl/certs/ca-certificates.crt \
        /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem; do
        [ -n "$bundle" ] || [ ! -f "$file" ] || bundle=$file
    done
    [ -n "$bundle" ] || return 0
    mkdir "$work/authorities"
    awk -v folder="$work/authorities" '/BEGIN CERTIFICATE/ { file = folder "/host-" ++n ".crt" }
        file { print >file } /END CERTIFICATE/ { close(file); file = "" }' "$bundle"
    tar -C "$work/authorities" -c . | inside tar -C /usr/local/share/ca-certificates --no-same-owner -x
    inside update-ca-certificates >/dev/null 2>&1
}

# All files of the checkout, with what is not committed yet, as a repository.
give_checkout() {
    git ls-files --cached --others --exclude-standard -z | while IFS= read -r -d '' file; do
        [ ! -e "$file" ] || printf '%s\0' "$file"
    done >"$work/files"
    inside mkdir /root/operator
    tar --null --files-from="$work/files" -c | inside tar -C /root/operator --no-same-owner -x
    inside git -C /root/operator init --quiet
    inside git -C /root/operator add .
    inside git -C /root/operator -c user.name=fresh -c user.email=fresh@localhost commit --quiet --message 'The checkout'
}

run() {
    local began=$SECONDS minutes status=0
    say "$*, in Debian $debian"
    inside "$@" -C /root/operator || status=$?
    minutes=$(((SECONDS - began + 30) / 60))
    times+=("$*: $minutes min")
    [ $status = 0 ] || fail "$* failed after $minutes min."
}

cleanup() {
    local status=$?
    trap - EXIT
    [ ${#times[@]} = 0 ] || printf '==> %s\n' "${times[@]}"
    [ -z "$work" ] || rm -rf "$work"
    if [ "${KEEP:-}" = true ]; then
        say "The container is there still: ${DOCKER_HOST:+DOCKER_HOST=$DOCKER_HOST }$engine exec -it $container bash"
        say "Remove it: ${DOCKER_HOST:+DOCKER_HOST=$DOCKER_HOST }$engine rm --force --volumes $container"
        exit $status
    fi
    "$engine" rm --force --volumes "$container" >/dev/null 2>&1 || true
    [ "$image" != "$built" ] || "$engine" image rm "$image" >/dev/null 2>&1 || true
    [ $started = false ] || python3 -B "$engine_py" stop "$engine_state"
    exit $status
}

find_engine
! "$engine" container inspect "$container" >/dev/null 2>&1 ||
    fail "the container $container is there already. Remove it: $engine rm --force --volumes $container"
trap cleanup EXIT
trap 'exit 130' INT TERM
work=$(mktemp -d)
find_image
start_container
prepare
run make demo
run make test-unit
# Puts back what the machines share: the kernel's limits of watched files.
run make down
