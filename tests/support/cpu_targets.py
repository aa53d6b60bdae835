"""The CPU targets that this machine runs, the baseline first."""

from warp_bitonic_sort.kernels import MACHINE
from warp_bitonic_sort.targets import HOST

# An architecture of another machine than this one.
FOREIGN = "x86-64" if MACHINE == "aarch64" else "aarch64"


def runnable():
    native = HOST.native_archs()[0]
    return [*HOST.lesser_archs(native)[::-1], native]
