#!/usr/bin/env bash
# What the builds in containers have in common.
#
# container.sh engine
#     Print the engine that is used: docker or podman.
# container.sh build IMAGE FOLDER [OPTION...]
#     Build an image from FOLDER/Dockerfile.
# container.sh builder NAME FOLDER [OPTION...]
#     Have an image to build in, made from FOLDER/Dockerfile, and print its name. It is made once for each recipe.
# container.sh run IMAGE IN OUT [OPTION...] -- COMMAND [ARG...]
#     Run the command in a container of its own, in a copy of the folder IN. What it leaves in ../out goes to the
#     folder OUT; what it says goes to stderr.
# container.sh push IMAGE
#     Push an image to its registry.
#
# The options are the engine's. Nothing is mounted: files go in and come out as archives. So the engine may be on
# another machine, and neither users without root nor SELinux are in the way.
#
# Environment:
#   CONTAINER_ENGINE   docker, podman, or auto (the default): the first of them that works
#   BASE_IMAGE         build, builder: the build argument of that name
#   PLATFORM           build, builder, run: the platform, as linux/arm64
#   SOURCE_DATE_EPOCH  build: the time in the image, for the same image each time (docker: with BuildKit only)
#   INSECURE           push: true for a registry that speaks plain HTTP (docker: its daemon has a setting for that)
#   REGISTRY_LOGIN     push: a folder with config.json, as `docker login` writes it
#   REGISTRY_CERTS     push: a folder with ca.crt, the registry's authorities (docker: its daemon has its own)
set -euo pipefail

# What a proxy is called. The engines take the values from the environment, so that they are no arguments.
proxies=(http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY)

say() { echo "container.sh: $*" >&2; }

fail() {
    say "$@"
    exit 1
}

works() { command -v "$1" >/dev/null && "$1" version >/dev/null 2>&1; }

find_engine() {
    local wanted=${CONTAINER_ENGINE:-auto} name names=(docker podman)
    case $wanted in
        auto) ;;
        docker | podman) names=("$wanted") ;;
        *) fail "CONTAINER_ENGINE is to be auto, docker or podman, not $wanted." ;;
    esac
    for name in "${names[@]}"; do
        works "$name" || continue
        # Some distributions have podman under the name of docker; it takes podman's options.
        if [ "$name" = docker ] && docker --version | grep -qi podman; then
            name=podman
        fi
        echo "$name"
        return
    done
    for name in "${names[@]}"; do
        if command -v "$name" >/dev/null; then
            fail "$name does not work. Start it; if docker listens elsewhere, set DOCKER_HOST." \
                "It said: $("$name" version 2>&1 >/dev/null | tail -n 1)"
        fi
    done
    fail "No container engine was found (looked for: ${names[*]}). Install docker or podman."
}

# Run a command, and show the end of what it says only if it fails.
quietly() {
    local log status=0
    log=$(mktemp)
    "$@" >"$log" 2>&1 || status=$?
    [ $status -eq 0 ] || tail -n 30 "$log" >&2
    rm -f "$log"
    return $status
}

build() {
    local image=$1 folder=$2 options=() name
    shift 2
    for name in "${proxies[@]}"; do
        [ -z "${!name:-}" ] || options+=(--build-arg "$name")
    done
    [ -z "${BASE_IMAGE:-}" ] || options+=(--build-arg "BASE_IMAGE=$BASE_IMAGE")
    [ -z "${PLATFORM:-}" ] || options+=(--platform "$PLATFORM")
    if [ "$engine" = podman ] && [ -n "${SOURCE_DATE_EPOCH:-}" ]; then
        options+=("--timestamp=$SOURCE_DATE_EPOCH")
    fi
    # One manifest for one image: an index with attestations would hide the image's label from who asks the registry.
    BUILDX_NO_DEFAULT_ATTESTATIONS=1 quietly "$engine" build "${options[@]}" --tag "$image" \
        --file "$folder/Dockerfile" "$@" "$folder" ||
        fail "$engine could not build $image from $folder/Dockerfile${BASE_IMAGE:+ and the base image $BASE_IMAGE}." \
            "What it said is above. If the base image cannot be pulled, name another one."
}

builder() {
    local hash name folder=$2
    hash=$({
        cat "$folder/Dockerfile"
        echo "${BASE_IMAGE:-} ${PLATFORM:-}" "${@:3}"
    } | sha256sum | cut -c -12)
    name=localhost/taskflow/build-$1:$hash
    if ! "$engine" image inspect "$name" >/dev/null 2>&1; then
        say "Making $name, an image to build in (about two minutes)."
        build "$name" "$folder" "${@:3}"
    fi
    echo "$name"
}

run() {
    local image=$1 in=$2 out=$3 options=(--rm --interactive) archive
    shift 3
    [ -z "${PLATFORM:-}" ] || options+=(--platform "$PLATFORM")
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    archive=$(mktemp)
    # shellcheck disable=SC2016
    tar -C "$in" -cf - . |
        "$engine" run "${options[@]}" "$image" sh -euc '
            mkdir -p /work/in /work/out
            cd /work/in
            tar --no-same-owner -xf -
            "$@" </dev/null >&2
            tar -C /work/out -cf - .' sh "$@" >"$archive" || {
        rm -f "$archive"
        fail "The container of $image failed at: $*. What it said is above."
    }
    mkdir -p "$out"
    tar -C "$out" --no-same-owner -xpf "$archive"
    rm -f "$archive"
}

push() {
    local image=$1 options=()
    if [ "$engine" = podman ]; then
        [ "${INSECURE:-}" != true ] || options+=(--tls-verify=false)
        [ -z "${REGISTRY_CERTS:-}" ] || options+=("--cert-dir=$REGISTRY_CERTS")
        [ -z "${REGISTRY_LOGIN:-}" ] || options+=("--authfile=$REGISTRY_LOGIN/config.json")
    elif [ -n "${REGISTRY_LOGIN:-}" ]; then
        # The user's own configuration, which another replaces here, may say where the engine is.
        DOCKER_HOST=${DOCKER_HOST:-$(docker context inspect --format '{{.Endpoints.docker.Host}}')}
        export DOCKER_HOST DOCKER_CONFIG=$REGISTRY_LOGIN
    fi
    quietly "$engine" push "${options[@]}" "$image" ||
        fail "$engine could not push $image. What it said is above."
}

usage() {
    sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2
    exit 2
}

[ $# -gt 0 ] || usage
command=$1
shift
engine=$(find_engine)
case $command:$# in
    engine:0) echo "$engine" ;;
    push:1 | build:[2-9]* | builder:[2-9]* | run:[5-9]* | run:[1-9][0-9]*) "$command" "$@" ;;
    *) usage ;;
esac
