"""Sorts many short rows fast: bitonic networks, compiled on first use.

Invariant: importing this package loads neither an array library nor tvm_ffi, runs nothing and
writes nothing; the first call that needs a kernel does.
"""

from .jit.errors import BuildError, CacheError, ToolError
from .ops import Explanation, explain, sort, warp_bitonic_sort

__all__ = [
    "BuildError",
    "CacheError",
    "Explanation",
    "ToolError",
    "__version__",
    "explain",
    "sort",
    "warp_bitonic_sort",
]

# The build reads this line.
__version__ = "0.1.0.dev0"
