#!/usr/bin/env bash
# Make the virtual environment VENV with PYTHON and install requirements-dev.txt into it.
# Usage: venv.sh PYTHON VENV [cluster]
#   cluster  a cluster will be asked for: begin to build kind meanwhile, in the background
set -euo pipefail
python=$1 venv=$2 next=${3:-}
programs=dev/roles/taskflow_cluster/files/programs

install_python() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "error: $1 (Debian: apt-get install python3 python3-venv)" >&2
        exit 1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv >/dev/null
}

begin_programs() {
    local version
    version=${KUBERNETES:-$(basename -a "$programs"/modules/* | sort --version-sort | tail -n 1)}
    # A version that there is not is told of later.
    [ ! -d "$programs/modules/$version" ] || "$venv/bin/python" -B "$programs/programs.py" start \
        "$programs/modules/$version" "${XDG_CACHE_HOME:-$HOME/.cache}/taskflow" kind
}

command -v "$python" >/dev/null || install_python "there is no $python. Install Python 3.11 or newer"
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: $python is older than Python 3.11. Run: make PYTHON=/path/to/python3.11" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    install_python "$python has no venv module. Install it"
fi
# Not one of the very environment that is made anew.
python=$("$python" -c 'import os, sys; print(os.path.realpath(sys.executable))')
"$python" -m venv --clear "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --upgrade pip
[ "$next" != cluster ] || [ -n "${TASKFLOW_REGISTRY:-}" ] || begin_programs
"$venv/bin/pip" install --quiet --constraint constraints.txt -r requirements-dev.txt
