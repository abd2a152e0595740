#!/usr/bin/env bash
# Installs a build into an empty folder and builds a C99 program against it both ways, from a copy
# of the tree that has been moved elsewhere.   usage: install_test.sh BUILD_FOLDER SOURCE_FOLDER
set -euo pipefail
build=$1
source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/moved"
prefix=$work/moved

library=$(find "$prefix" -name 'libtutti.so.*.*' | head -1)
[ -n "$library" ] || { echo "expected an installed libtutti.so.X.Y.Z, got none"; exit 1; }
soname=$(readelf -d "$library" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
[[ $soname == libtutti.so.[0-9]* ]] || { echo "expected a versioned soname, got '$soname'"; exit 1; }
strangers=$(nm -D --defined-only "$library" | awk '{print $3}' | grep -v '^tutti[A-Z]' | grep -v '^TUTTI_' || true)
[ -z "$strangers" ] || { echo "expected only the C API exported, got: $strangers"; exit 1; }

echo "find_package:"
cmake -G Ninja -S "$source/tests/install/consumer" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$work/cmake" >/dev/null
"$work/cmake/consumer"
"$work/cmake/consumer_cpp"

echo "pkg-config:"
pc=$(dirname "$(find "$prefix" -name tutti.pc)")
flags=$(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs tutti)
# shellcheck disable=SC2086
cc -std=c99 -pedantic -Wall -Werror "$source/tests/install/consumer/main.c" $flags \
  -Wl,-rpath,"$(dirname "$library")" -o "$work/consumer"
"$work/consumer"
