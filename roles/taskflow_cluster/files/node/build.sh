#!/usr/bin/env bash
# Make a node image for kind out of programs that were built from Go modules, as `kind build node-image` does of a release.
# Usage: build.sh PROGRAMS GO GO_CACHES BASE_IMAGE IMAGE
#   PROGRAMS    the folder that programs.py fills
#   GO          the Go command that built them, and GO_CACHES the folder of its caches: runc is compiled here
#   BASE_IMAGE  a Debian image
#   IMAGE       the name of the node image
# Environment: ENGINE (docker or podman; default docker)
set -euo pipefail
programs=$1 go=$2 go_caches=$3 base=$4 image=$5
engine=${ENGINE:-docker}
here=$(cd "$(dirname "$0")" && pwd)
work=$programs/image
container=

say() { echo "node-image: $*" >&2; }

cleanup() {
    [ -z "$container" ] || "$engine" rm --force --volumes "$container" >/dev/null
    rm -rf "$work"
}

build() { # build NAME CONTEXT: an image of NAME.Dockerfile
    "$engine" build --quiet --build-arg "BASE_IMAGE=$base" --file "$here/$1.Dockerfile" \
        --tag "localhost/taskflow/$1:build" "$2" >/dev/null
}

compile() { # compile COMMAND: with the compiler's image
    "$engine" run --rm --volume "$programs:/programs" --volume "$here:/here:ro" --volume "$go_caches:/caches" \
        --volume "$("$go" env GOROOT):/usr/local/go:ro" --workdir /programs/source \
        --env PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin --env CGO_ENABLED=1 \
        --env GOMODCACHE=/caches/mod --env GOCACHE=/caches/build --env GOTOOLCHAIN=local --env GOPROXY=off \
        --env GOFLAGS='-mod=readonly -trimpath -buildvcs=false' localhost/taskflow/compiler:build "$@"
}

# An image of one static program, in the file NAME.tar. The names of images are those that kubeadm asks for.
one_program() { # one_program IMAGE PROGRAM...
    local name=$1 root=$work/one
    shift
    rm -rf "$root"
    install -D --target-directory "$root/usr/local/bin" "$@"
    install -d -m 1777 "$root/tmp"
    tar -C "$root" -c . | "$engine" import --change 'ENV PATH=/usr/local/bin' \
        --change "ENTRYPOINT [\"/usr/local/bin/$(basename "$1")\"]" - "$name" >/dev/null
}

trap cleanup EXIT
rm -rf "$work"
mkdir -p "$work/empty" "$work/network/network" "$work/node/root"
bin=$programs/bin

# The caches may have been removed since the programs were built.
(cd "$programs/source" && GOMODCACHE=$go_caches/mod GOTOOLCHAIN=local GOFLAGS=-mod=readonly "$go" mod download)
say "compiling runc and the pause program (a minute)"
build compiler "$work/empty"
compile go build -tags seccomp -ldflags '-s -w' -o /programs/bin/runc github.com/opencontainers/runc
compile gcc -Os -static -s -o /programs/bin/pause /here/pause.c

say "making the images of the control plane"
install "$bin/kube-proxy" "$bin/node-agent" "$work/network/network/"
build network "$work/network"
chmod 755 "$bin"/*
version=$(sed -nE 's/^(require |\t)k8s\.io\/kubernetes (v[^ ]+).*/\2/p' "$programs/source/go.mod" | head -n 1)
images=()
while read -r name; do
    case $name in
        */kube-proxy:*) "$engine" tag localhost/taskflow/network:build "$name" ;;
        */coredns:*) one_program "$name" "$bin/coredns" ;;
        */pause:*) one_program "$name" "$bin/pause" && pause=$name ;;
        *) one_program "$name" "$bin/$(basename "${name%:*}")" ;;
    esac
    images+=("$name")
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
# shellcheck disable=SC2016
"$engine" save "${images[@]}" | "$engine" exec --interactive "$container" sh -eu -c '
    containerd >/dev/null 2>&1 &
    for _ in $(seq 100); do ! ctr version >/dev/null 2>&1 || break; sleep 0.2; done
    ctr --namespace k8s.io images import --label io.cri-containerd.pinned=pinned --all-platforms --no-unpack - >/dev/null
    kill $!
    wait $! || true'
"$engine" commit --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' "$container" "$image" >/dev/null
"$engine" rm --force --volumes "$container" >/dev/null
container=
"$engine" image rm "${images[@]}" localhost/taskflow/{node,network,compiler}:build >/dev/null
