# Names the compilers for devices, so that their tests cannot skip unseen. Source it.
#
# A test that needs nvcc or clang skips only where there is none. It fails if it misses a compiler
# that WARP_SORT_TESTS_NVCC or WARP_SORT_TESTS_HIP names.

find_nvcc() {
  local nvcc
  for nvcc in "$(command -v nvcc || true)" "${CUDA_HOME:-}/bin/nvcc" /usr/local/cuda*/bin/nvcc \
      /opt/cuda/bin/nvcc; do
    if [ -x "$nvcc" ]; then
      export WARP_SORT_TESTS_NVCC=$nvcc
      break
    fi
  done
  echo "--- nvcc: ${WARP_SORT_TESTS_NVCC:-none, so CUDA kernels are not compiled}"
}

# The oldest clang that the README accepts.
oldest_clang=$(grep -rhs '^OLDEST_ACCEPTED = ' tests | sed 's/.* = //')

builds_for_amd() {
  local object status
  object=$(mktemp)
  echo 'extern "C" __attribute__((global)) void nothing() {}' |
    "$1" -c -x hip --offload-device-only -nogpuinc -nogpulib --no-gpu-bundle-output \
      --offload-arch=gfx942 -o "$object" - 2>/dev/null
  status=$?
  rm -f "$object"
  return $status
}

# Prints a line for each accepted clang: version and path, the newest first.
list_clangs() {
  local candidate version
  for candidate in "${ROCM_PATH:-/opt/rocm}/llvm/bin/clang++" clang++ clang clang-{40..15}; do
    candidate=$(command -v "$candidate") && builds_for_amd "$candidate" || continue
    version=$("$candidate" --version | sed -n 's/.*clang version \([0-9]*\).*/\1/p')
    [ "${version:-0}" -lt "$oldest_clang" ] || echo "$version $candidate"
  done | sort --stable --numeric-sort --reverse --key 1,1 --unique
}

find_clangs() {
  local clangs
  clangs=$(list_clangs)
  newest_found=$(awk 'NR == 1 {print $1}' <<<"$clangs")
  oldest_found=$(awk 'END {print $1}' <<<"$clangs")
  WARP_SORT_TESTS_HIP=$(awk 'NR == 1 {print $2}' <<<"$clangs")
  if [ "$newest_found" != "$oldest_found" ]; then
    WARP_SORT_TESTS_HIP+=:$(awk 'END {print $2}' <<<"$clangs")
  fi
  export WARP_SORT_TESTS_HIP
}

install_clang() {
  apt-get install --quiet --quiet --yes --no-install-recommends \
    "clang-$1" "lld-$1" "llvm-$1" >/dev/null 2>&1
}

# Installs the oldest accepted clang and the newest one where the package manager has them.
find_and_install_clangs() {
  local newest_clang
  find_clangs
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo '--- installing clang'
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet --quiet >/dev/null || true
    newest_clang=$(apt-cache search --names-only '^clang-[0-9]+$' |
      sed 's/^clang-\([0-9]*\).*/\1/' | sort --numeric-sort | tail -n 1)
    [ "$oldest_found" = "$oldest_clang" ] || install_clang "$oldest_clang" || true
    [ "${newest_found:-0}" -ge "${newest_clang:-0}" ] || install_clang "$newest_clang" || true
    hash -r
    find_clangs
  fi
  echo "--- HIP compilers: ${WARP_SORT_TESTS_HIP:-none, so HIP kernels are not compiled}"
  [ "$oldest_found" = "$oldest_clang" ] ||
    echo "--- not tested: clang $oldest_clang, the oldest accepted"
  [ "$newest_found" != "$oldest_found" ] || echo '--- not tested: a newer clang than that'
}
