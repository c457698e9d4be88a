#!/usr/bin/env bash
# Make a node image for kind out of programs that were built from Go modules, as `kind build node-image` does of a release.
# Usage: build.sh PROGRAMS GO BASE_IMAGE IMAGE
#   PROGRAMS    the folder that programs.py fills
#   GO          a Go command: runc is compiled here
#   BASE_IMAGE  a Debian image
#   IMAGE       the name of the node image
# Environment: ENGINE (docker or podman; default docker)
set -euo pipefail
programs=$1 go=$2 image=$4
export BASE_IMAGE=$3 CONTAINER_ENGINE=${ENGINE:-docker}
engine=$CONTAINER_ENGINE
here=$(cd "$(dirname "$0")" && pwd)
in_container=$here/../../../taskflow_agent/files/container.sh
work=$programs/image
container=

say() { echo "node-image: $*" >&2; }

cleanup() {
    [ -z "$container" ] || "$engine" rm --force --volumes "$container" >/dev/null
    rm -rf "$work"
}

build() { # build NAME CONTEXT: an image of NAME.Dockerfile
    cp "$here/$1.Dockerfile" "$2/Dockerfile"
    "$in_container" build "localhost/taskflow/$1:build" "$2"
}

# An image of one static program. The names of images are those that kubeadm asks for.
one_program() { # one_program IMAGE PROGRAM
    local root=$work/one
    rm -rf "$root"
    install -D --target-directory "$root/usr/local/bin" "$2"
    install -d -m 1777 "$root/tmp"
    tar -C "$root" --owner=0 --group=0 -c . | "$engine" import --change 'ENV PATH=/usr/local/bin' \
        --change "ENTRYPOINT [\"/usr/local/bin/$(basename "$2")\"]" - "$1" >/dev/null
}

trap cleanup EXIT
rm -rf "$work"
mkdir -p "$work/empty" "$work/c/go" "$work/network/network" "$work/node/root"
bin=$programs/bin

say "compiling runc and the pause program (a minute)"
build compiler "$work/empty"
# A distribution's Go is in part made of links to other folders.
goroot=$("$go" env GOROOT)
for part in VERSION go.env bin pkg src; do
    [ ! -e "$goroot/$part" ] || cp -rL "$goroot/$part" "$work/c/go/"
done
cp -r "$programs/runc" "$here/pause.c" "$work/c/"
# shellcheck disable=SC2016
"$in_container" run localhost/taskflow/compiler:build "$work/c" "$bin" -- sh -euc '
    export PATH=$PWD/go/bin:$PATH GOTOOLCHAIN=local GOPROXY=off GOFLAGS="-mod=vendor -trimpath -buildvcs=false"
    gcc -Os -static -s -o /work/out/pause pause.c
    cd runc
    go build -tags seccomp -ldflags "-s -w" -o /work/out/runc github.com/opencontainers/runc'

say "making the images of the control plane"
install "$bin/kube-proxy" "$bin/node-agent" "$work/network/network/"
build network "$work/network"
chmod 755 "$bin"/*
version=$(sed -nE 's/^(require |\t)k8s\.io\/kubernetes (v[^ ]+).*/\2/p' "$programs/source/go.mod" | head -n 1)
# The engine may have images of somebody else with the names that kubeadm asks for.
ours=localhost/taskflow images=()
while read -r name; do
    case $name in
        */kube-proxy:*) "$engine" tag localhost/taskflow/network:build "$ours/$name" ;;
        */coredns:*) one_program "$ours/$name" "$bin/coredns" ;;
        */pause:*) one_program "$ours/$name" "$bin/pause" && pause=$name ;;
        *) one_program "$ours/$name" "$bin/$(basename "${name%:*}")" ;;
    esac
    images+=("$ours/$name")
done < <("$bin/kubeadm" config images list --kubernetes-version "$version" 2>/dev/null)

say "making the node's file system (two minutes)"
root=$work/node/root
cp -r "$programs/kind/." "$root/"
chmod -R u=rwX,go=rX "$root"
chmod 755 "$root"/usr/local/bin/* "$root"/kind/bin/*
install -D --target-directory "$root/usr/bin" "$bin"/{kubeadm,kubelet,kubectl}
install -D --target-directory "$root/usr/local/bin" "$bin"/{containerd,containerd-shim-runc-v2,ctr,crictl}
install -D --target-directory "$root/usr/local/sbin" "$bin/runc"
install -D --target-directory "$root/opt/cni/bin" "$bin"/{host-local,loopback,ptp,portmap}
install -D -m 644 --target-directory "$root/kind/manifests" "$here/manifests/default-storage.yaml"
sed "s#NODE_AGENT_IMAGE#registry.k8s.io/kube-proxy:$version#" "$here/manifests/default-cni.yaml.in" \
    >"$root/kind/manifests/default-cni.yaml"
sed -i "s#^\( *sandbox_image = \).*#\1\"$pause\"#" "$root/etc/containerd/config.toml"
echo "$version" >"$root/kind/version"
build node "$work/node"

say "putting the images into the node's containerd"
container=$("$engine" run --detach --security-opt seccomp=unconfined --entrypoint sleep localhost/taskflow/node:build infinity)
save=(save)
[ "$engine" = docker ] || save+=(--multi-image-archive)
# shellcheck disable=SC2016
"$engine" "${save[@]}" "${images[@]}" | "$engine" exec --interactive "$container" sh -eu -c '
    containerd >/dev/null 2>&1 &
    images() { ctr --namespace k8s.io images "$@" >/dev/null; }
    for _ in $(seq 100); do ! ctr version >/dev/null 2>&1 || break; sleep 0.2; done
    images import --all-platforms --no-unpack --compress-blobs - # every node has a copy of them
    for name; do
        images tag "$name" "${name#"$0/"}"
        images label "${name#"$0/"}" io.cri-containerd.pinned=pinned
        images rm --sync "$name"
    done
    kill $!
    wait $! || true' "$ours" "${images[@]}"
"$engine" commit --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' "$container" "$image" >/dev/null
"$engine" rm --force --volumes "$container" >/dev/null
container=
"$engine" image rm "${images[@]}" localhost/taskflow/{node,network,compiler}:build >/dev/null
