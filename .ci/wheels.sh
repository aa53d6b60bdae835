# Defines how a wheel with kernels is built and checked. Source it.

# The most that a wheel may weigh.
most_megabytes=25

# Makes $wheels, a folder that is removed at the end, with an environment of what builds and checks.
make_folder() {
  wheels=$(mktemp -d)
  trap 'rm -rf "$wheels"' EXIT
  python3 -m venv "$wheels/build"
  "$wheels/build/bin/pip" install --quiet auditwheel build twine
  mkdir "$wheels/home"
}

# build_wheel MACHINE sets $wheel: kernels for x86_64 or aarch64, for every Linux since glibc 2.28.
build_wheel() {
  local platform=manylinux_2_28_$1 needed size
  WARP_SORT_WHEEL_LAYER=common WARP_SORT_WHEEL_PLATFORM=$platform \
    "$wheels/build/bin/python" -m build --wheel --outdir "$wheels" . | tail -n 1
  wheel=$(ls "$wheels"/*-py3-none-"$platform".whl)
  "$wheels/build/bin/twine" check --strict "$wheel"
  # auditwheel names the oldest platform that has all symbols.
  needed=$("$wheels/build/bin/auditwheel" show --json "$wheel" |
    sed -n 's/.*"overall_tag": "manylinux_2_\([0-9]*\)_.*/\1/p')
  size=$(du --bytes "$wheel" | cut -f 1)
  echo "--- $platform: glibc 2.${needed:-?} is needed; $((size / 1000)) kB"
  [ "${needed:-99}" -le 28 ] || { echo 'the tag promises an older glibc' && return 1; }
  [ "$size" -lt $((most_megabytes * 1000000)) ] || { echo 'the wheel is too large' && return 1; }
}

# Runs a command as on a machine that has neither a compiler nor ninja.
run_bare() {
  (cd "$wheels" && env -i PATH=/nonexistent HOME="$wheels/home" "$@")
}

check_that_nothing_was_compiled() {
  if find "$wheels/home" -name library.so | grep .; then
    echo 'something was compiled' && return 1
  fi
}
