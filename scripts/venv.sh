#!/usr/bin/env bash
# Make the virtual environment VENV with PYTHON and install requirements-dev.txt into it.
# Usage: venv.sh PYTHON VENV
set -euo pipefail
python=$1 venv=$2

install_python() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "error: $1 (Debian: apt-get install python3 python3-venv)" >&2
        exit 1
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv >/dev/null
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
"$venv/bin/pip" install --quiet --constraint constraints.txt -r requirements-dev.txt
