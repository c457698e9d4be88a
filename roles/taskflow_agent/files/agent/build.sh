#!/usr/bin/env bash
# Build the agent as one static executable: build.sh OUT_FILE
#
# ../build-executable.sh runs it in a container that has all it needs: a Debian 12 with gcc, python3.11,
# libpython3.11-dev and zlib1g-dev.
#
# TRIPLET is what that Debian calls the architecture to build for, as aarch64-linux-gnu. For another than the machine's
# own it has that one's compiler and libraries: gcc-aarch64-linux-gnu, libpython3.11-dev:arm64, zlib1g-dev:arm64.
set -euo pipefail

triplet=${TRIPLET:-$(gcc -dumpmachine)}
cc=$triplet-gcc
python=/usr/bin/python3.11
include_dir=/usr/include/python3.11
library=/usr/lib/python3.11/config-3.11-$triplet/libpython3.11.a
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

[ $# -eq 1 ] || fail "usage: build.sh OUT_FILE"
out_file=$1
command -v "$cc" >/dev/null || fail "no C compiler: $cc"
for file in "$python" "$include_dir/Python.h" "$library"; do
    [ -f "$file" ] || fail "no $file (Debian 12: python3.11, libpython3.11-dev)"
done
[ "$("$cc" -print-file-name=libz.a)" != libz.a ] || fail "no libz.a (Debian 12: zlib1g-dev)"

# A fixed hash seed and an empty environment: the same sources give the same file.
clean_python() {
    env -i LC_ALL=C.UTF-8 PYTHONHASHSEED=0 "$python" -S -s -B "$@"
}

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
