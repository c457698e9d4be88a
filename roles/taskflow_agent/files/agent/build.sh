#!/usr/bin/env bash
# Build the agent as one static executable: build.sh OUT_FILE
# Or only see whether everything for it is there, and print the version of the Python: build.sh --check
#
# Needs gcc, a Python 3.11 and the static library of that same Python (on Debian 12: gcc, python3.11,
# libpython3.11-dev, zlib1g-dev). PYTHON names the interpreter, CC the compiler.
#
# TRIPLET, as aarch64-linux-gnu, builds for another architecture, with that one's compiler and libraries (on Debian 12:
# gcc-aarch64-linux-gnu, libpython3.11-dev:arm64, zlib1g-dev:arm64).
set -euo pipefail

python=${PYTHON:-/usr/bin/python3.11}
triplet=${TRIPLET:-}
cc=${CC:-${triplet:+$triplet-}gcc}
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

[ $# -eq 1 ] || fail "usage: build.sh OUT_FILE | --check"
out_file=$1
command -v "$cc" >/dev/null || fail "no C compiler: $cc"
command -v "$python" >/dev/null || fail "no Python: $python"

# A fixed hash seed and an empty environment: the same sources give the same file.
clean_python() {
    env -i LC_ALL=C.UTF-8 PYTHONHASHSEED=0 "$python" -S -s -B "$@"
}

version=$(clean_python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[ "$version" = 3.11 ] || fail "$python is Python $version; 3.11 is needed"
include_dir=$(clean_python -c 'import sysconfig; print(sysconfig.get_path("include"))')
if [ -n "$triplet" ]; then
    # Where Debian puts it; the interpreter knows only of its own.
    library=/usr/lib/python$version/config-$version-$triplet/libpython$version.a
else
    library=$(clean_python -c 'import sysconfig; c = sysconfig.get_config_var; print(c("LIBPL") + "/" + c("LIBRARY"))')
fi
[ -f "$include_dir/Python.h" ] || fail "no $include_dir/Python.h (Debian: libpython$version-dev)"
[ -f "$library" ] || fail "no $library (Debian: libpython$version-dev${triplet:+ of that architecture})"
[ "$("$cc" -print-file-name=libz.a)" != libz.a ] || fail "no libz.a (Debian: zlib1g-dev)"

if [ "$out_file" = --check ]; then
    clean_python -c 'import platform; print(platform.python_version())'
    exit 0
fi

work_dir=$(mktemp -d)
trap 'rm -rf "$work_dir"' EXIT

clean_python "$source_dir/freeze.py" "$source_dir" "$work_dir/frozen.h"

# The linker warns of getpwnam and dlopen in a static program; the agent calls neither.
if ! "$cc" -O2 -Wall -I "$work_dir" -I "$include_dir" -static -no-pie -s \
    -Wl,--gc-sections -Wl,-z,norelro -Wl,--build-id=none \
    "$source_dir/launcher.c" -o "$work_dir/taskflow-agent" \
    "$library" -lz -lm -lpthread -ldl -lutil >"$work_dir/log" 2>&1; then
    cat "$work_dir/log" >&2
    fail "the compiler failed"
fi
mkdir -p "$(dirname "$out_file")"
mv "$work_dir/taskflow-agent" "$out_file"
