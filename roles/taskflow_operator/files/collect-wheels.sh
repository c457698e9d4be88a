#!/bin/sh
# In the container of build-image.sh: collect the wheels of the Python packages in OUT, with the settings of the machine
# outside, which are in host/: collect-wheels.sh OUT
set -eu
pip=/opt/taskflow/bin/pip
export PIP_DISABLE_PIP_VERSION_CHECK=1

# A setting may name a file that is there only outside, so this comes before pip's files.
[ ! -f host/ca.crt ] || export PIP_CERT="$PWD/host/ca.crt"
[ ! -f host/global.conf ] || cp host/global.conf /etc/pip.conf
[ ! -f host/user.conf ] || install -D host/user.conf "$HOME/.config/pip/pip.conf"
[ ! -f host/named.conf ] || export PIP_CONFIG_FILE="$PWD/host/named.conf"

# What pyproject.toml asks for to build the collection's own package.
builds=$(/opt/taskflow/bin/python3 -c '
import tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["build-system"]["requires"])')
# shellcheck disable=SC2086
"$pip" wheel --quiet --no-cache-dir --use-pep517 --wheel-dir "$1" --constraint constraints.txt \
    --requirement requirements.txt $builds
