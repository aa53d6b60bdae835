"""The CPU targets that this machine runs, the baseline first."""

from warp_bitonic_sort.jit import toolchain

_X86_LEVELS = ["x86-64", "x86-64-avx2", "x86-64-avx512"]


def runnable():
    native = toolchain.native_cpu_arch()
    if native not in _X86_LEVELS:
        return [native]
    return _X86_LEVELS[: _X86_LEVELS.index(native) + 1]
