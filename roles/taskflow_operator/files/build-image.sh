#!/usr/bin/env bash
# Build the operator's image from the collection's Dockerfile and push it.
# Usage: build-image.sh SOURCE IMAGE PYTHON CACHE_DIR [BASE_IMAGE]
#   SOURCE      the collection's folder
#   IMAGE       the name to push it under
#   PYTHON      an interpreter with pip, of the base image's Python version: it collects the wheels
#   CACHE_DIR   where the base image's files and buildah's storage are kept
#   BASE_IMAGE  an image with Python to start from; without it one is made from Debian packages
# Environment: TOOL (buildah, podman or docker; default: the first that is there), INSECURE=true for plain HTTP.
set -euo pipefail
source=$1 image=$2 python=$3 cache=$4 base=${5:-}

say() { echo "build-image: $*" >&2; }

find_tool() {
    local name
    for name in ${TOOL:-buildah podman docker}; do
        if command -v "$name" >/dev/null; then
            echo "$name"
            return
        fi
    done
    say "no buildah, podman or docker found; install one of them"
    exit 1
}

# Make the wheels of everything the image holds, so that nothing is downloaded while it is built.
collect_wheels() {
    rm -rf build/wheelhouse build/lib build/bdist.*
    "$python" -m pip wheel --quiet --disable-pip-version-check --constraint constraints.txt \
        --wheel-dir build/wheelhouse .
    rm -rf build/lib build/bdist.* ./*.egg-info
}

# The wheels are of this Python's version, and so has to be the image's.
require_debians_python() {
    local version
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if [ "$version" != 3.11 ]; then
        say "a base image of Debian 12 has Python 3.11, and $python is $version: use Python 3.11, or name a BASE_IMAGE"
        exit 1
    fi
}

# Make a small Debian file system with Python as an archive, for an image to start from where none can be pulled.
make_base_archive() {
    local archive=$1 work mirror
    work=$(mktemp -d)
    # The packages come from where this machine's own come from.
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' \
        'Identifier: Packages' 'Codename: bookworm' 'Origin: Debian' | head -n 1)
    if [ -z "$mirror" ]; then
        say "this machine has no package source for Debian bookworm; name a BASE_IMAGE"
        exit 1
    fi
    say "making a Debian base image (about a minute)"
    if ! debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
        bookworm "$work/root" "$mirror" >"$work/log" 2>&1; then
        tail -n 20 "$work/log" >&2
        rm -rf "$work"
        exit 1
    fi
    # Where packages come from is this machine's affair, not the image's.
    : >"$work/root/etc/apt/sources.list"
    (cd "$work/root" && rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/* usr/share/{doc,locale,man}/*)
    tar -C "$work/root" --exclude='./dev/*' --numeric-owner -cf "$archive.new" .
    mv "$archive.new" "$archive"
    rm -rf "$work"
}

make_base_image() {
    local name=localhost/taskflow-base:bookworm archive="$cache/base/bookworm.tar"
    mkdir -p "$cache/base"
    [ -f "$archive" ] || make_base_archive "$archive"
    printf 'FROM scratch\nADD bookworm.tar /\n' | "${build[@]}" --tag "$name" --file - "$cache/base" >&2
    echo "$name"
}

cd "$source"
trap 'rm -rf build/wheelhouse' EXIT # of this Python only; another build is not to find it
tool=$(find_tool)
case $tool in
    buildah)
        storage=(--root "$cache/buildah/root" --runroot "$cache/buildah/run")
        build=(buildah "${storage[@]}" bud --quiet --isolation chroot)
        push=(buildah "${storage[@]}" push --quiet)
        ;;
    *)
        build=("$tool" build --quiet)
        push=("$tool" push)
        ;;
esac
if [ "${INSECURE:-false}" = true ] && [ "$tool" != docker ]; then
    push+=(--tls-verify=false)
fi

[ -n "$base" ] || require_debians_python
collect_wheels
[ -n "$base" ] || base=$(make_base_image)
say "building $image with $tool"
"${build[@]}" --build-arg "BASE_IMAGE=$base" --tag "$image" . >&2
"${push[@]}" "$image" >&2
