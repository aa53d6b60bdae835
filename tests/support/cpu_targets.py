"""The CPU targets that this machine runs, the baseline first."""

from warp_bitonic_sort.targets import HOST


def runnable():
    native = HOST.native_archs()[0]
    return [*HOST.lesser_archs(native)[::-1], native]
