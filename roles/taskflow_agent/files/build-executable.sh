#!/usr/bin/env bash
# Build the agent's executable in a container, unless it is there, and print its path: build-executable.sh CACHE_DIR
#
# Environment:
#   ARCH              amd64 or arm64; default: this machine's
#   BASE_IMAGE        an image of Debian 12 to build in; default: docker.io/library/debian:bookworm-slim
#   CONTAINER_ENGINE  docker, podman or auto
set -euo pipefail

fail() {
    echo "build-executable.sh: $*" >&2
    exit 1
}

[ $# -eq 1 ] || fail "usage: build-executable.sh CACHE_DIR"
cache=$1
files=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export BASE_IMAGE=${BASE_IMAGE:-docker.io/library/debian:bookworm-slim}
case ${ARCH:-$(uname -m)} in
    amd64 | x86_64) arch=amd64 triplet=x86_64-linux-gnu ;;
    arm64 | aarch64) arch=arm64 triplet=aarch64-linux-gnu ;;
    *) fail "the agent can be built for amd64 and arm64, not for ${ARCH:-$(uname -m)}" ;;
esac

# The executable's folder is named after all that goes into it.
key=$({
    cd "$files"
    find agent builder -type f -not -name '*.pyc' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    echo "$BASE_IMAGE $arch"
} | sha256sum | cut -c -16)
executable=$cache/$key/taskflow-agent

if [ ! -f "$executable" ]; then
    image=$("$files/container.sh" builder agent "$files/builder" --build-arg "ARCH=$arch")
    mkdir -p "$cache"
    out=$(mktemp -d "$cache/new.XXXXXX")
    trap 'rm -rf "$out"' EXIT
    echo "build-executable.sh: compiling the agent for $arch" >&2
    "$files/container.sh" run "$image" "$files/agent" "$out" --env "TRIPLET=$triplet" -- \
        ./build.sh /work/out/taskflow-agent
    mkdir -p "$(dirname "$executable")"
    mv "$out/taskflow-agent" "$executable"
fi
echo "$executable"
