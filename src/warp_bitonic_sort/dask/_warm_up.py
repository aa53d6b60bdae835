"""`WarmUp`, a plugin that opens kernels on each worker of Dask before the worker's first block.

Invariant: arguments are checked where the plugin is made. A worker opens what its own processor
needs. Workers that share a cache compile each kernel once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from dask.base import tokenize

try:
    from distributed import WorkerPlugin
except ImportError as error:
    raise ImportError(
        "warp_bitonic_sort.dask.WarmUp needs distributed; run pip install "
        "'warp-bitonic-sort[dask]'."
    ) from error

from .. import prewarm
from ..dtypes import DTYPES, lookup
from ..jit import loader
from ..operations import OPERATIONS
from ..operations._arguments import checked_integer, dtype_name
from ..operations._planning import check_dtype


class WarmUp(WorkerPlugin):  # type: ignore[misc]
    """Opens the kernels of some operations, dtypes and lengths on each worker's CPU.

    ``client.register_plugin(WarmUp("float32", 25))`` returns when all workers have opened them. A
    worker that joins later opens them before its first block.

    Parameters
    ----------
    dtypes : str, dtype, or iterable of them
        The dtypes of arrays.
    lengths : int or iterable of int
        The lengths of rows. A length that needs no kernel is skipped.
    operations : str or iterable of str, default "sort"
        The operations, by the names of their functions.

    Raises
    ------
    TypeError
        A dtype that cannot be sorted, or not by one of the operations; or a length that is no
        integer.
    ValueError
        A negative length, or an unknown operation.

    Notes
    -----
    Kernels for all memory layouts are opened, as by ``warp-bitonic-sort prewarm``. `BuildError` is
    raised by ``register_plugin``.

    Examples
    --------
    >>> from warp_bitonic_sort.dask import WarmUp
    >>> plugin = WarmUp(["float32", "float64"], range(2, 33), ["sort", "median"])
    >>> plugin.dtypes
    ['float32', 'float64']
    """

    def __init__(
        self, dtypes: Any, lengths: int | Iterable[int], operations: str | Iterable[str] = "sort"
    ) -> None:
        listed = [dtypes] if isinstance(dtypes, (str, type)) else dtypes
        listed = [*listed] if isinstance(listed, Iterable) else [listed]
        self.dtypes = [lookup(dtype_name(dtype), "dtypes").name for dtype in listed]
        given = lengths if isinstance(lengths, Iterable) else [lengths]
        self.lengths = [checked_integer("lengths", length) for length in given]
        self.operations = [operations] if isinstance(operations, str) else [*operations]
        for length in self.lengths:
            if length < 0:
                raise ValueError(f"lengths: expected lengths of at least 0, got {length}.")
        for operation in self.operations:
            if operation not in OPERATIONS:
                known = ", ".join(OPERATIONS)
                raise ValueError(f"operations: expected some of {known}, got {operation!r}.")
            for dtype in self.dtypes:
                check_dtype(OPERATIONS[operation], DTYPES[dtype])
        # A plugin replaces an earlier one of the same name.
        token = tokenize(self.dtypes, self.lengths, self.operations)
        self.name = f"warp-bitonic-sort-{token}"

    async def setup(self, worker: Any) -> None:  # noqa: ARG002
        """Open the kernels in a thread, while the worker keeps in touch with the scheduler."""
        await asyncio.to_thread(self.open_kernels)

    def open_kernels(self) -> None:
        """Open the kernels in this process; build those that no cache has, all at once.

        Raises
        ------
        BuildError
            A kernel could not be built.
        """
        arch = loader.cpu_arch()
        needed = [
            (dtype, kernel)
            for dtype in self.dtypes
            for kernel in prewarm.kernels("cpu", arch, [dtype], self.lengths, self.operations)
        ]
        loader.build({kernel for _, kernel in needed}, is_quiet=True)
        for dtype, kernel in needed:
            loader.open_kernel(kernel, dtype)
