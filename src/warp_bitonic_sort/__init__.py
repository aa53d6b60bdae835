"""Sorts many short rows fast: bitonic networks, compiled on first use.

Invariant: importing this package loads neither an array library nor tvm_ffi, runs nothing and
writes nothing; the first call that needs a kernel does.
"""

from pathlib import Path

from .errors import BuildError, CacheError, ToolError
from .explain import Explanation, explain
from .operations.argsort import SortedWithIndices, argsort, ranks, sort_with_indices
from .operations.order_statistics import median, quantile
from .operations.sort import sort, warp_bitonic_sort
from .operations.sort_pairs import SortedPairs, sort_pairs
from .operations.top_k import KthValue, TopK, kthvalue, top_k
from .process.threads import get_num_threads, set_num_threads

__all__ = [
    "BuildError",
    "CacheError",
    "Explanation",
    "KthValue",
    "SortedPairs",
    "SortedWithIndices",
    "ToolError",
    "TopK",
    "__version__",
    "argsort",
    "explain",
    "get_include",
    "get_num_threads",
    "kthvalue",
    "median",
    "quantile",
    "ranks",
    "set_num_threads",
    "sort",
    "sort_pairs",
    "sort_with_indices",
    "top_k",
    "warp_bitonic_sort",
]

# The build reads this line.
__version__ = "0.2.0"


def get_include() -> str:
    """Return the folder of the C++ headers, for the ``-I`` option of a compiler.

    Programs and kernels of your own include its files as ``<warp_bitonic_sort/...>``. The headers
    need no library. Their interface may change in any version before 1.0.0.

    Examples
    --------
    In a shell::

        g++ -I"$(python -c 'import warp_bitonic_sort as w; print(w.get_include())')" program.cc
    """
    return str(Path(__file__).parent / "csrc" / "include")
