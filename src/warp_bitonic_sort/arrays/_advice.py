"""Advice for objects that `sort` does not accept, by library.

Invariant: no library is imported. A class is recognized by its module and name, or by those of one
of its bases.
"""

from __future__ import annotations

import re

from ._checks import type_name

# For tensors without values, and for calls that PyTorch records.
TRACED = "use the functions of warp_bitonic_sort.torch there, which are operators of PyTorch"

_ARROW = (
    "pyarrow.array(sort(x.to_numpy(zero_copy_only=False))) sorts its values; nulls become NaN, and "
    "integers with nulls become floats (x.drop_null() leaves them out)"
)
_POLARS = (
    "import warp_bitonic_sort.polars, whose expressions, such as polars.all().wbs.sort(), sort the "
    "rows of Array and List columns"
)
_XARRAY = (
    "warp_bitonic_sort.xarray has sort, argsort, top_k, median and quantile for it, as in "
    "warp_bitonic_sort.xarray.sort(x, dim), which keep coordinates and attributes"
)
# What arrays of each library are called, and its function that converts arrays of other libraries.
_CONVERTERS = {
    "numpy": ("a NumPy array", "numpy.asarray"),
    "torch": ("a PyTorch tensor", "torch.as_tensor"),
    "jax": ("a JAX array", "jax.numpy.asarray"),
    "cupy": ("a CuPy array", "cupy.asarray"),
}
# The first entry that fits a class counts. Each text ends a sentence on the argument x.
_ADVICE = {
    "dask.array": (
        "warp_bitonic_sort.dask has sort, argsort, sort_with_indices, top_k, median and quantile "
        "for it, as in warp_bitonic_sort.dask.sort(x, axis=axis), which compute nothing yet; "
        "numpy.asarray(x) would load all of it"
    ),
    "dask.dataframe": "x.to_dask_array(lengths=True) makes a Dask array, without index and names",
    "xarray.core.dataarray": f"{_XARRAY}; x.to_numpy() has the values",
    "xarray.core.dataset": _XARRAY,
    "xarray": (
        "the functions of warp_bitonic_sort.xarray take DataArrays and Datasets; x.map(function) "
        "calls one for each group of a GroupBy"
    ),
    "polars.lazyframe": f"x.collect() makes a DataFrame; {_POLARS}",
    "polars": (
        "x.to_numpy() has the values, without column names; nulls become NaN, and integers with "
        f"nulls become floats; {_POLARS}"
    ),
    "ray.data": (
        'warp_bitonic_sort.ray.sort(x, "name") sorts the arrays of a column; x.sort("name") puts '
        "the rows of the dataset in order"
    ),
    "pyspark.sql": (
        "x.mapInArrow(function, schema) passes rows to a function; docs/guides/spark.md has one "
        "that sorts them"
    ),
    "pandas": (
        "x.to_numpy() has the values, without index and column names; missing values become NaN "
        "or objects, unless na_value and dtype say otherwise"
    ),
    "cudf": "x.to_cupy() has the values, without index and column names; it refuses nulls",
    "pyarrow.lib.Table": 'a table holds several columns; sort one of them, as x["name"].to_numpy()',
    "pyarrow.lib.RecordBatch": "a batch holds several columns; sort one, as x.column(0).to_numpy()",
    "pyarrow.lib.Tensor": "x.to_numpy() has the values",
    "pyarrow.lib.FixedShapeTensorArray": "x.to_numpy_ndarray() has the values; it refuses nulls",
    "pyarrow.lib.Array": _ARROW,
    "pyarrow.lib.ChunkedArray": _ARROW,
    "numpy.ma": (
        "a masked array would lose its mask; x.filled(numpy.nan) makes masked floats NaN, which "
        'sort puts last, and which nan="omit" or nan="last" leaves out of other results; convert '
        "integers to floats before"
    ),
    "scipy.sparse": "x.toarray() has all values, the zeros that are not stored too",
    "cupyx.scipy.sparse": "x.toarray() has all values, the zeros that are not stored too",
    "sparse": "x.todense() has all values, those that are not stored too",
    "jax.experimental.sparse": "x.todense() has all values, the zeros that are not stored too",
    "PIL": (
        "numpy.asarray(x) has the pixels, of shape (height, width) or (height, width, channels), "
        "where axis=-1 would sort the channels of each pixel"
    ),
    "h5py": "x[...] reads all of it into a NumPy array, x[:1000] its first rows",
    "zarr": "x[...] reads all of it into a NumPy array, x[:1000] its first rows",
    "tensorflow": (
        "tensorflow.convert_to_tensor(sort(x.numpy())) sorts its values; in tensorflow.function, "
        "call sort by tensorflow.numpy_function"
    ),
    "mlx": "mlx.core.array(sort(numpy.asarray(x))) sorts its values",
    "pint": "sort(x.magnitude) * x.units sorts its values and keeps the unit",
    "jax.ShapeDtypeStruct": "it has no values; explain(x.shape, dtype=x.dtype) tells of its sort",
    "jax._src.core.Ref": "x[...] reads it into an array",
    "torch.fx.proxy.Proxy": (
        'it stands for a value while torch.fx traces; torch.fx.wrap("sort") in the module that '
        "calls sort records the call"
    ),
    "torch._subclasses": f"it has no values, for the call is traced or simulated; {TRACED}",
    "torch.nested": "sort each of x.unbind()",
    "torch.masked": "a masked tensor would lose its mask; x.to_tensor(value) fills it",
    "torch.distributed.tensor": (
        "x.to_local() is this process's part, which holds whole rows only if the sorted dimension "
        "is not sharded; x.full_tensor() is all of it"
    ),
    "torch.nn.parameter.UninitializedTensorMixin": "it has no values before its module is called",
}


def check_listed(kind: type, argument: str) -> None:
    """Raise TypeError for the objects of a class that has an entry here."""
    for base in kind.__mro__:
        path = f"{base.__module__}.{base.__qualname__}."
        for start, advice in _ADVICE.items():
            if path.startswith(f"{start}."):
                raise TypeError(
                    f"{argument}: {kind.__module__}.{kind.__qualname__} cannot be sorted as it is; "
                    f"{about(argument, advice)}."
                )


def about(argument: str, advice: str) -> str:
    """Return advice on an argument x as advice on an argument of another name."""
    return re.sub(r"\bx\b", argument, advice)


def other_library(array: object, like: object, kind: str, argument: str) -> TypeError:
    """Return the error for an array of another library than the keys.

    Parameters
    ----------
    array, like : array
        The array, and the keys.
    kind : str
        The library of the keys, as in `Description`.
    argument : str
        The name of the array in messages.
    """
    if kind not in _CONVERTERS:
        expected, advice = f"a {type_name(like)}", ""
    else:
        expected, convert = _CONVERTERS[kind]
        advice = f"; pass {convert}({argument})"
    return TypeError(f"{argument}: expected {expected} as keys is, got {type_name(array)}{advice}.")
