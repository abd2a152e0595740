#!/usr/bin/env bash
# Installs a build into an empty folder, and looks at and uses a copy of the tree that has been
# moved elsewhere: what is in it, what it needs and exports, C99 and C++ programs built against it
# both ways, and a job under its own launcher.
#   usage: install_test.sh BUILD_FOLDER SOURCE_FOLDER [MODULE...]     MODULE: a transport, e.g. gloo
set -euo pipefail
build=$1
source=$2
shift 2
modules=("$@")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "$*"
  exit 1
}

# The libraries that a file asks the loader for, one a line.
needed() {
  readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'
}

# has_library FILE NAME: among those.
has_library() {
  needed "$1" | grep -q "^$2\.so"
}

exported() {
  nm -D --defined-only "$1" | awk '{print $3}'
}

cmake --install "$build" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/moved"
prefix=$work/moved

library=$(find "$prefix" -name 'libtutti.so.*.*' | head -1)
[ -n "$library" ] || fail "expected an installed libtutti.so.X.Y.Z, got none"
folder=$(dirname "$library")
soname=$(readelf -d "$library" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
[[ $soname == libtutti.so.[0-9]* ]] || fail "expected a versioned soname, got '$soname'"
strangers=$(exported "$library" | grep -v '^tutti[A-Z]' | grep -v '^TUTTI_' || true)
[ -z "$strangers" ] || fail "expected only the C API exported, got: $strangers"

echo "what is there, and what it needs:"
for file in bin/tutti-run bin/tutti-info bin/tutti-schedule include/tutti/tutti.h \
  include/tutti/tutti.hpp include/tutti/mpi.h include/tutti/device.h include/tutti/expert.h; do
  [ -f "$prefix/$file" ] || fail "expected $file to be installed"
done
# Neither the library nor what it needs in turn.
brought=$(ldd "$library" | grep -E 'libmpi|libmpich|libgloo' || true)
[ -z "$brought" ] || fail "expected libtutti.so to need no MPI and no Gloo, got: $brought"
for name in ${modules[@]+"${modules[@]}"}; do
  module=$folder/libtutti_$name.so
  [ -f "$module" ] || fail "expected libtutti_$name.so beside libtutti.so"
  has_library "$module" "lib$name" || fail "expected libtutti_$name.so to need lib$name.so"
  [ "$(exported "$module")" = tutti_transport_module ] ||
    fail "expected libtutti_$name.so to export tutti_transport_module, got: $(exported "$module")"
done
while read -r file; do
  paths=$(readelf -d "$file" 2>/dev/null | grep -E 'RPATH|RUNPATH' | grep -F -e "$build" -e "$source" || true)
  [ -z "$paths" ] || fail "expected no path of the build in $file, got: $paths"
done < <(find "$prefix/bin" "$folder" -type f)
"$prefix/bin/tutti-info" >/dev/null

# Two ranks under the launcher of the tree, with its gloo and no other.
run_ranks() {
  [[ " ${modules[*]-} " == *" gloo "* ]] || return 0
  rm -f "$work"/loaded.*
  TUTTI_TRANSPORT=gloo LD_DEBUG=libs LD_DEBUG_OUTPUT=$work/loaded \
    "$prefix/bin/tutti-run" -n 2 --timeout 60 "$1" >"$work/said"
  [ "$(sort "$work/said")" = $'[rank 0] rank 0 of 2: 3\n[rank 1] rank 1 of 2: 3' ] ||
    fail "expected two ranks to add up 1 and 2, got: $(cat "$work/said")"
  local files
  files=$(sed -n 's/.*calling init: \(.*libtutti.*\)/\1/p' "$work"/loaded.* | xargs realpath | sort -u)
  [ "$files" = "$library"$'\n'"$folder/libtutti_gloo.so" ] ||
    fail "expected the ranks to load what is installed, got: $files"
}

echo "find_package:"
cmake -G Ninja -S "$source/tests/install/consumer" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
cmake --build "$work/cmake" >/dev/null
"$work/cmake/consumer"
"$work/cmake/consumer_cpp"
run_ranks "$work/cmake/consumer_ranks"

echo "pkg-config:"
pc=$(dirname "$(find "$prefix" -name tutti.pc)")
flags=$(PKG_CONFIG_PATH=$pc pkg-config --cflags --libs tutti)
for program in main ranks; do
  # shellcheck disable=SC2086
  cc -std=c99 -pedantic -Wall -Werror "$source/tests/install/consumer/$program.c" $flags \
    -Wl,-rpath,"$folder" -o "$work/consumer_$program"
done
"$work/consumer_main"
run_ranks "$work/consumer_ranks"
# Each header by itself.
for header in device expert tutti; do
  # shellcheck disable=SC2086
  cc -std=c99 -pedantic -Wall -Wextra -Werror -fsyntax-only -x c $flags "$prefix/include/tutti/$header.h"
  # shellcheck disable=SC2086
  c++ -std=c++17 -pedantic -Wall -Wextra -Werror -fsyntax-only -x c++ $flags "$prefix/include/tutti/$header.h"
done
# shellcheck disable=SC2086
c++ -std=c++17 -pedantic -Wall -Wextra -Werror -fsyntax-only $flags \
  -include "$prefix/include/tutti/tutti.hpp" -x c++ /dev/null
for compiler in mpicc.openmpi mpicc.mpich; do
  command -v "$compiler" >/dev/null || continue
  # shellcheck disable=SC2086
  "$compiler" -std=c99 -pedantic -Wall -Werror -fsyntax-only "$source/tests/mpi_program/main.c" $flags
done
