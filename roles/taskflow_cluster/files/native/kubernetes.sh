#!/bin/sh
# Builds Kubernetes from Debian's source package, step by step; a step that was interrupted can be done again.
# usage: kubernetes.sh fetch DIR VERSION
#        kubernetes.sh build DIR COMPONENT
set -eu

# fetch VERSION: from where this host's own packages come from, with apt settings of our own, so that those of the
# host stay as they are
fetch() {
    version=$1
    rm -rf apt kubernetes*
    mkdir -p apt/lists/partial
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI)' \
        'Identifier: Packages' 'Codename: bookworm' 'Origin: Debian' | head -n 1)
    echo "deb-src ${mirror:?this host has no package source for Debian bookworm} bookworm main" >apt/sources.list
    set -- -q -o Dir::Etc::sourcelist="$PWD/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$PWD/apt/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
        -o APT::Sandbox::User=root
    apt-get "$@" update
    # Debian keeps one version at a time: a later update of the same release does as well.
    apt-get "$@" source --only-source "kubernetes=$version" || apt-get "$@" source --only-source kubernetes

    # Without a git checkout the build cannot know its version, and clients look at it.
    upstream=$(echo "$version" | sed 's/.*really//; s/-.*//')
    cat >version <<EOF
KUBE_GIT_COMMIT=''
KUBE_GIT_TREE_STATE='archive'
KUBE_GIT_VERSION='v$upstream'
KUBE_GIT_MAJOR='$(echo "$upstream" | cut -d. -f1)'
KUBE_GIT_MINOR='$(echo "$upstream" | cut -d. -f2)'
EOF
    (cd kubernetes-*/ && patch -p1) <"$here/reflect2.patch"
    (cd kubernetes-*/ && mkdir -p .go/src/k8s.io && ln -s ../../.. .go/src/k8s.io/kubernetes)
    mkdir -p bin
    mv kubernetes-*/ source
}

# build COMPONENT
build() {
    cd source
    HOME=$(dirname "$PWD")
    GOPATH=$PWD/.go
    KUBE_GIT_VERSION_FILE=$HOME/version
    CGO_ENABLED=0
    GOFLAGS=
    export HOME GOPATH KUBE_GIT_VERSION_FILE CGO_ENABLED GOFLAGS
    make WHAT="cmd/$1"
    cp "_output/bin/$1" "$HOME/bin/.$1"
    mv "$HOME/bin/.$1" "$HOME/bin/$1"
}

here=$(cd "$(dirname "$0")" && pwd)
step=$1
cd "$2"
shift 2
"$step" "$@"
