from warp_bitonic_sort.targets import HOST

"""The CPU targets that this machine runs, the baseline first."""


_X86_LEVELS = ["x86-64", "x86-64-avx2", "x86-64-avx512"]


def runnable():
    native = HOST.native_archs()[0]
    if native not in _X86_LEVELS:
        return [native]
    return _X86_LEVELS[: _X86_LEVELS.index(native) + 1]
