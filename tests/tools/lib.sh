# Shared by tests/run and bench/run; sourced, after cd to the top of the checkout.

# Unchanged files compile once, whatever the build, where ccache is there and has a place to write.
if command -v ccache >/dev/null && ccache_dir=$(ccache --get-config cache_dir 2>/dev/null) &&
  mkdir -p "$ccache_dir" 2>/dev/null && [[ -w $ccache_dir ]]; then
  export CMAKE_C_COMPILER_LAUNCHER=ccache CMAKE_CXX_COMPILER_LAUNCHER=ccache
fi

# Parallel jobs: the cores this process may use, but never so many that the compilers (about 1.5 GiB
# each at worst) run out of memory.
jobs() {
  local cores memory_kib
  cores=$(nproc)
  memory_kib=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)
  local fit=$((memory_kib / 1500000))
  ((fit >= 1)) || fit=1
  echo $((cores < fit ? cores : fit))
}

# configure_and_build PRESET: into build/PRESET.
configure_and_build() {
  local log=build/$1/configure.log
  mkdir -p "build/$1"
  if ! cmake --preset "$1" >"$log" 2>&1; then
    cat "$log"
    return 1
  fi
  cmake --build --preset "$1" -j "$(jobs)"
}
