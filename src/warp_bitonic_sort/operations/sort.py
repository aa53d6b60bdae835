"""`sort`: the values of each row in order; and the package's historical entry.

Invariant: arguments are checked here and in `_arguments`; all else is `_call`'s.
"""

from __future__ import annotations

from typing import Any, NoReturn

from .. import arrays
from ._arguments import Nan, expected_bool, named_only, sort_options, unnamed_error
from ._call import call
from ._operation import Operation

SORT = Operation("sort", "all", "none", ("values",))


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
        float64 or float8 (e4m3fn, e5m2, e4m3fnuz, e5m2fnuz). Any shape and strides, and, in CPU
        memory, any address (on a device only those of whole elements, as there usually are); it
        may be read-only and is never written.
    axis : int, default -1
        The axis to sort along. A 0-d array counts as one row of one element.
    descending : bool, default False
        Whether the largest value comes first.
    stable : bool, default False
        Accepted for the sake of code written for other libraries. Values that compare equal are
        the same bits, but for -0.0 and 0.0: these are always ordered, -0.0 before 0.0 (after it
        when descending), so a values-only result is the same whether stable or not.
    nan : {"largest", "last"}, default "largest"
        Where NaNs of either sign go: they count as the largest value (last ascending, first
        descending), or come last in either direction. Their bits survive.
    out : array, optional
        Where the result goes: an array of x's kind, shape and dtype that can be written, whose
        strides nest so that no two elements share memory. It may be x, or overlap it.
    dim : int, optional
        Another name for axis.

    Returns
    -------
    array
        The sorted values, one array of x's kind (a plain `numpy.ndarray` for its subclasses, a
        `tvm_ffi.Tensor` for a library that makes no array of its own from DLPack): a permutation of
        each row, bit for bit. It is `out` where that was given. No indices come with it.

    Raises
    ------
    TypeError
        An argument of the wrong type, or a dtype that cannot be sorted.
    ValueError
        An axis out of range, an unknown `nan`, an out of another shape.
    NotImplementedError
        x is on a device whose back end is not built yet, or its rows are longer than a kernel sorts
        and it is on a device and of a library that is not named above.
    MemoryError
        There is no memory for the result (libraries that make it themselves raise what they do).
    RuntimeError
        The kernel could not be built; the message ends with the first error and a hint.

    Notes
    -----
    On a device, PyTorch's and CuPy's arrays (and `tvm_ffi.Tensor`) are sorted in the stream that is
    current in their library, without waiting. A sort of JAX's arrays, and of other libraries', is
    ordered behind what makes x on the device too, but the call returns when the kernel is done:
    they do not say which of their streams would have to wait for it.

    Rows of up to 16384 elements are sorted by bitonic networks [1]_ whose leaves are the smallest
    known networks of up to 32 keys [2]_, many rows at once; longer ones by np.sort, or
    the array's library on a device, on keys that make the same promises. `explain` says which.

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
    """Sort the last axis of an array, largest first unless told otherwise; return values only.

    The historical entry of this package; `sort` does the same and more.

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
    TypeError, ValueError, NotImplementedError, RuntimeError
        As `sort` does.
    """
    if type(is_descending) is not bool:
        raise TypeError(
            f"{expected_bool('is_descending', is_descending)} The axis is always the last one "
            f"here: sort(x, axis=...) takes another."
        )
    return call(SORT, x, sort_options(descending=is_descending))
