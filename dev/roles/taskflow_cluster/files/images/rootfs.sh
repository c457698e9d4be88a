#!/bin/sh
# In the container of build.sh: makes the file systems of the stand-in images, each a directory below OUT.
# usage: rootfs.sh OUT
set -eu
umask 022

out=$1
src=$(dirname "$0")

# Keeps the build repeatable: the same sources give the same image.
program() {
    mkdir -p "$(dirname "$2")"
    gcc -Os -static -s -Wl,--build-id=none -o "$2" "$1"
}

busybox_root() {
    mkdir -p "$1/bin" "$1/dev" "$1/etc" "$1/home" "$1/proc" "$1/root" "$1/sys" "$1/tmp" "$1/var"
    chmod 1777 "$1/tmp"
    cp /bin/busybox "$1/bin/busybox"
    /bin/busybox --list-full | while read -r applet; do
        mkdir -p "$1/$(dirname "$applet")"
        [ -e "$1/$applet" ] || ln -s /bin/busybox "$1/$applet"
    done
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$1/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$1/etc/group"
}

# Debian's git and ssh with the libraries that they need.
git_root() {
    busybox_root "$1"
    mkdir -p "$1/usr/share/git-core/templates" "$1/usr/lib/git-core" "$1/etc/ssl/certs" "$1/usr/bin"
    cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"
    cp /usr/bin/git /usr/bin/ssh "$1/usr/bin/"
    cp -d /usr/lib/git-core/git-remote-http /usr/lib/git-core/git-remote-https "$1/usr/lib/git-core/"
    ldd /usr/bin/git /usr/bin/ssh /usr/lib/git-core/git-remote-http | grep -o '/[^ :)]*' | sort -u | while read -r library; do
        [ -e "$1$library" ] || install -D "$library" "$1$library"
    done
}

program "$src/hello.c" "$out/static-hello/hello"
busybox_root "$out/busybox"
busybox_root "$out/kubernetes-job-demo"
cp "$src/job-demo.sh" "$out/kubernetes-job-demo/script.sh"
chmod 755 "$out/kubernetes-job-demo/script.sh"
git_root "$out/git"
