#!/usr/bin/env bash
# Build the operator's image from the collection's Dockerfile and push it: build-image.sh SOURCE IMAGE CACHE_DIR
#   SOURCE      the collection's folder
#   IMAGE       the name to push it under
#   CACHE_DIR   where the wheels of its Python packages are kept
#
# The wheels are collected in a container, in which the proxy, pip's settings and the authorities of this machine hold.
# None of these gets into the image.
#
# Environment:
#   BASE_IMAGE        the image to start from; default: docker.io/library/debian:bookworm-slim
#   PLATFORM          the platform, as linux/arm64, for one that the engine emulates; default: the engine's
#   CONTAINER_ENGINE  docker, podman or auto
#   INSECURE          true for a registry that speaks plain HTTP
set -euo pipefail

fail() {
    echo "build-image.sh: $*" >&2
    exit 1
}

[ $# -eq 3 ] || fail "usage: build-image.sh SOURCE IMAGE CACHE_DIR"
source=$1 image=$2 cache=$3
container=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../taskflow_agent/files" && pwd)/container.sh
export BASE_IMAGE=${BASE_IMAGE:-docker.io/library/debian:bookworm-slim}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The first of the files that is there.
first_file() {
    local file
    for file in "$@"; do
        if [ -n "$file" ] && [ -f "$file" ]; then
            echo "$file"
            return
        fi
    done
}

# What pip needs to know of this machine, as files in a folder.
write_host_settings() {
    local folder=$1 bundle
    bundle=$(first_file "${PIP_CERT:-}" "${REQUESTS_CA_BUNDLE:-}" "${SSL_CERT_FILE:-}" "${CURL_CA_BUNDLE:-}" \
        /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem)
    mkdir -p "$folder"
    [ -z "$bundle" ] || cp -L "$bundle" "$folder/ca.crt"
    copy_settings "$folder/global.conf" /etc/pip.conf
    copy_settings "$folder/user.conf" "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf" "$HOME/.pip/pip.conf"
    copy_settings "$folder/named.conf" "${PIP_CONFIG_FILE:-}"
}

copy_settings() {
    local to=$1 from
    shift
    from=$(first_file "$@")
    [ -z "$from" ] || cp -L "$from" "$to"
}

# Collect the wheels of what the image holds, and of what builds the collection's own, in a folder named after all that
# decides on them.
collect_wheels() {
    local builder key name out environment=()
    mkdir -p "$work/recipe" "$work/in" "$cache/wheels"
    cp "$source/Dockerfile" "$work/recipe/"
    builder=$("$container" builder operator "$work/recipe" --target venv)
    key=$(cat "$source/requirements.txt" "$source/constraints.txt" "$source/pyproject.toml" - <<<"$builder" |
        sha256sum | cut -c -16)
    wheels=$cache/wheels/$key
    [ ! -d "$wheels" ] || return 0

    cp "$source/requirements.txt" "$source/constraints.txt" "$source/pyproject.toml" "$work/in/"
    cp "$(dirname "$0")/collect-wheels.sh" "$work/in/"
    write_host_settings "$work/in/host"
    # Only the names are arguments; an address may have a password in it.
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PIP_INDEX_URL PIP_EXTRA_INDEX_URL \
        PIP_TRUSTED_HOST PIP_PROXY PIP_DEFAULT_TIMEOUT PIP_RETRIES; do
        [ -z "${!name:-}" ] || environment+=(--env "$name")
    done
    out=$(mktemp -d "$cache/wheels/new.XXXXXX")
    echo "build-image.sh: collecting the Python packages" >&2
    if ! "$container" run "$builder" "$work/in" "$out" "${environment[@]}" -- ./collect-wheels.sh /work/out; then
        rm -rf "$out"
        fail "the Python packages of $source/requirements.txt could not be collected"
    fi
    chmod 755 "$out"
    mv -T "$out" "$wheels"
}

collect_wheels
mkdir "$work/context"
tar -C "$source" --exclude=__pycache__ -cf - Dockerfile constraints.txt galaxy.yml meta playbooks/build.yml \
    playbooks/task.yml plugins pyproject.toml requirements.txt taskflow_controller watches.yaml |
    tar -C "$work/context" -xf -
mkdir "$work/context/build"
cp -R "$wheels" "$work/context/build/wheelhouse"
echo "build-image.sh: building $image" >&2
"$container" build "$image" "$work/context"
"$container" push "$image"
