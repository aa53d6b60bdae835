"""`sort`, the sorted values of each row; and `warp_bitonic_sort`, the package's historical entry.

Invariant: arguments are checked here and in `_arguments`; `_call` does the rest.
"""

from __future__ import annotations

from typing import Any, NoReturn

from .. import arrays
from ._arguments import Nan, expected_bool, named_only, sort_options, unnamed_error
from ._call import call
from ._operation import VALUES, Operation

SORT = Operation("sort", "all", "none", (VALUES,))


@arrays.between_torch_graphs
@named_only
def sort(
    x: Any,
    /,
    *unnamed: NoReturn,
    axis: int = -1,
    descending: bool = False,
    stable: bool = False,
    nan: Nan = "largest",
    out: Any = None,
    dim: int | None = None,
) -> Any:
    """Sort an array along an axis; return values only, without indices.

    Parameters
    ----------
    x : array
        A NumPy, PyTorch, CuPy or JAX array, or any other with ``__dlpack__``, in CPU memory or on a
        CUDA or ROCm device, of bool, int8 to int64, uint8 to uint64, float16, bfloat16, float32,
        float64 or float8 (e4m3fn, e5m2, e4m3fnuz, e5m2fnuz). It may have any shape and strides. It
        may be read-only and is never written. On a device, its address must be a multiple of the
        size of an element.
    axis : int, default -1
        The axis to sort along. A 0-d array counts as one row of one element.
    descending : bool, default False
        Whether the largest value comes first.
    stable : bool, default False
        Accepted for code that was written for other libraries. The result is the same for both:
        values that compare equal have the same bits, except -0.0 and 0.0, and -0.0 always comes
        before 0.0 (after it if descending).
    nan : {"largest", "last"}, default "largest"
        Where NaNs of either sign go: they count as the largest value (last if ascending, first if
        descending), or come last in either direction. Their bits are kept.
    out : array, optional
        Where the result goes: an array of x's kind, shape and dtype that can be written, whose
        strides nest so that no two elements share memory. It may be x, or overlap it.
    dim : int, optional
        Another name for axis.

    Returns
    -------
    array
        The sorted values: a permutation of each row, bit for bit. The array has x's kind. It is a
        plain `numpy.ndarray` for subclasses of that, and a `tvm_ffi.Tensor` if x's library has no
        ``from_dlpack``. It is `out` if that was given.

    Raises
    ------
    TypeError
        An argument of the wrong type, or a dtype that cannot be sorted.
    ValueError
        An axis out of range, an unknown `nan`, an out of another shape.
    NotImplementedError
        x is on a device that has no kernels. Or its rows are too long for a kernel, and x is on a
        GPU and not from PyTorch, CuPy or JAX.
    MemoryError
        There is no memory for the result. (A library that allocates it may raise another error.)
    BuildError
        The kernel could not be built; the message ends with the first error and a hint.

    Notes
    -----
    On a device, arrays of PyTorch and CuPy (and `tvm_ffi.Tensor`) are sorted in their library's
    current stream, without waiting. Arrays of JAX and of other libraries are sorted after the
    operations that compute x, and the call returns when the kernel is done: these libraries do not
    say which of their streams has to wait for the result.

    Rows of up to 16384 elements (on some GPUs 8192 or 4096) are sorted by bitonic networks [1]_
    whose leaves are the smallest known networks of up to 32 keys [2]_, many rows at once. Longer
    rows are sorted by np.sort, or on a device by the array's library, on keys that keep the same
    promises. `explain` says which.

    .. [1] K. E. Batcher, "Sorting networks and their applications", AFIPS 1968.
    .. [2] D. E. Knuth, "The Art of Computer Programming", vol. 3, section 5.3.4.

    Examples
    --------
    >>> import numpy as np
    >>> from warp_bitonic_sort import sort
    >>> sort(np.array([[3.0, 1.0, 2.0], [1.0, float("nan"), 0.0]]), descending=True)
    array([[ 3.,  2.,  1.],
           [nan,  1.,  0.]])
    """
    if unnamed:
        raise unnamed_error("sort", "x", unnamed)
    return call(SORT, x, sort_options(axis, dim, descending, stable, nan), out)


@arrays.between_torch_graphs
def warp_bitonic_sort(x: Any, is_descending: bool = True) -> Any:
    """Sort the last axis of an array, by default largest first; return values only.

    This is the package's historical entry. `sort` does the same and more.

    Parameters
    ----------
    x : array
        As for `sort`.
    is_descending : bool, default True
        Whether the largest value comes first.

    Returns
    -------
    array
        The sorted values, an array of x's kind.

    Raises
    ------
    TypeError, ValueError, NotImplementedError, BuildError
        As `sort` does.
    """
    if type(is_descending) is not bool:
        raise TypeError(
            f"{expected_bool('is_descending', is_descending)} The axis is always the last one "
            f"here: sort(x, axis=...) takes another."
        )
    return call(SORT, x, sort_options(descending=is_descending))
