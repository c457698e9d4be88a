#!/usr/bin/env bash
# Make the file systems of the stand-in images in a container, each a folder below OUT: build.sh OUT
#
# Environment:
#   BASE_IMAGE        a plain Debian; default: docker.io/library/debian:bookworm-slim
#   CONTAINER_ENGINE  docker, podman or auto
set -euo pipefail

if [ $# -ne 1 ]; then
    echo "usage: build.sh OUT" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
container=$here/../../../taskflow_agent/files/container.sh
export BASE_IMAGE=${BASE_IMAGE:-docker.io/library/debian:bookworm-slim}

image=$("$container" builder stand-ins "$here")
"$container" run "$image" "$here" "$1" -- ./rootfs.sh /work/out
# They are made once, so that this is not needed again.
"$("$container" engine)" image rm "$image" >/dev/null
