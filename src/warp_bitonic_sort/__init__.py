"""Sorts many short rows fast: bitonic networks, compiled on first use.

Invariant: importing this package loads neither an array library nor tvm_ffi, runs nothing and
writes nothing; the first call that needs a kernel does.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from .errors import BuildError, CacheError, ToolError
from .ops import sort, warp_bitonic_sort
from .process import forks
from .process.threads import get_num_threads, set_num_threads

if TYPE_CHECKING:
    from .explanation import Explanation, explain

__all__ = [
    "BuildError",
    "CacheError",
    "Explanation",
    "ToolError",
    "__version__",
    "explain",
    "get_include",
    "get_num_threads",
    "set_num_threads",
    "sort",
    "warp_bitonic_sort",
]

# The build reads this line.
__version__ = "0.1.0.dev0"


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


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # Sorting does not need it.
        if name not in ("Explanation", "explain"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        with forks.held_off():
            from . import explanation

        globals().update(Explanation=explanation.Explanation, explain=explanation.explain)
        return getattr(explanation, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
