"""Every operation of the table: its kernel in `explain` and `prewarm`, and its outputs."""

import numpy as np
import pytest

import warp_bitonic_sort
from support import oracle
from support.covering import pairwise
from warp_bitonic_sort import prewarm
from warp_bitonic_sort.operations import OPERATIONS
from warp_bitonic_sort.targets import HOST

ORDERS = [(False, "largest"), (False, "last"), (True, "largest"), (True, "last")]
ROWS, LENGTH, K = 7, 9, 2


def array(name, access):
    """Return random rows in a layout, and the axis to sort along."""
    x = oracle.random(name, (ROWS, LENGTH), np.random.default_rng(1))
    if access == "columns":
        return np.ascontiguousarray(x.T), 0
    if access == "strided":
        spread = np.zeros((ROWS, 2 * LENGTH), x.dtype)[:, ::2]
        spread[:] = x
        return spread, 1
    return x, 1


def dtype_of(operation, output, x):
    if operation.computes and x.dtype.kind in "biu":
        return np.dtype(np.float64)
    return {"keys": x.dtype, "index": np.dtype(np.int64)}[output.role]


@pytest.mark.parametrize(
    ("name", "dtype", "order", "access"),
    pairwise(
        list(OPERATIONS),
        list(oracle.ALL),
        ORDERS,
        ["rows", "columns", "strided"],
        allowed=lambda name, dtype, *_: (
            not (OPERATIONS[name].computes and dtype.startswith("float8"))
        ),
    ),
)
def test_operation_has_the_kernel_and_outputs_of_its_record(name, dtype, order, access):
    operation = OPERATIONS[name]
    x, axis = array(dtype, access)
    descending, nan = order[0], operation.nan_modes[ORDERS.index(order) % 2]
    options = {"axis": axis, "descending": descending, "nan": nan}
    needs_k = operation.lowest_k is not None
    k = {"k": K} if needs_k else {}

    said = warp_bitonic_sort.explain(x, operation=name, **options, **k)
    assert (said.operation, said.route) == (name, "kernel")
    selection = "first" if operation.finds_first else operation.selection
    assert f"_{selection}_{operation.payload}_" in said.kernel
    built = prewarm.kernels("cpu", HOST.arch_for(), [dtype], [LENGTH], [name])
    assert said.kernel in [kernel.name for kernel in built]

    # Values that sort_pairs carries along look like indices.
    arguments = [x, np.arange(x.size).reshape(x.shape)] if name == "sort_pairs" else [x]
    shape = list(x.shape)
    if needs_k:
        del options["descending"]
        arguments.append(K)
        shape[axis : axis + 1] = [K] if name == "top_k" else []
    if operation.computes:
        del options["descending"], shape[axis]
        arguments += [0.5] if name == "quantile" else []
    result = getattr(warp_bitonic_sort, name)(*arguments, **options)
    outputs = [result] if operation.result is None else result
    assert operation.result is None or type(result) is operation.result
    assert [(output.dtype, output.shape) for output in outputs] == [
        (dtype_of(operation, output, x), tuple(shape)) for output in operation.outputs
    ]
