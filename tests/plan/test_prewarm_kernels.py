"""`prewarm.kernels`: every kernel that a sort of these rows may need, and no more architectures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import warp_bitonic_sort
from support.descriptions import plan_sort
from warp_bitonic_sort import prewarm
from warp_bitonic_sort.arrays import CPU_DEVICE, Description, Device
from warp_bitonic_sort.dtypes import DTYPES
from warp_bitonic_sort.errors import ToolError
from warp_bitonic_sort.kernels import MEDIANS, RUNTIME
from warp_bitonic_sort.operations._planning import found_of, planned
from warp_bitonic_sort.operations.order_statistics import MEDIAN
from warp_bitonic_sort.operations.top_k import TOP_K
from warp_bitonic_sort.plan import plan
from warp_bitonic_sort.targets import HOST, target_with

_CPU = HOST.arch_for()


_MAX_ROWS = 300


@st.composite
def arrays(draw, longest):
    """An array of rows in some layout, its axis, and the strides of what it is sorted into."""
    dtype = draw(st.sampled_from(list(DTYPES)))
    length = draw(st.integers(2, 40) | st.integers(2, longest))
    rows = draw(st.integers(1, 8) | st.integers(1, _MAX_ROWS))
    more = draw(st.integers(1, 3))
    layout = draw(st.sampled_from(["rows", "padded", "strided", "columns", "batches", "middle"]))
    word = np.empty(1, np.int8)

    def like(shape, *strides):
        return np.lib.stride_tricks.as_strided(word, shape, strides)

    x, axis = {
        "rows": (like((rows, length), length, 1), 1),
        "padded": (like((rows, length), length + more, 1), 1),
        "strided": (like((rows, length), length * (1 + more), 1 + more), 1),
        "columns": (like((length, rows), rows, 1), 0),
        "batches": (like((more, rows, length), rows * length, length, 1), 2),
        "middle": (like((more, length, rows), length * rows, rows, 1), 1),
    }[layout]
    out = draw(st.sampled_from(["as x", "dense"]))
    dense = np.empty(x.shape, np.int8).strides
    return dtype, x.shape, x.strides, x.strides if out == "as x" else dense, axis


@pytest.mark.parametrize("backend", ["cpu", "cuda", "hip"])
@pytest.mark.parametrize("dtype", ["int8", "float16", "float32", "float64"])
def test_longest_is_the_last_length_with_a_kernel(backend, dtype):
    arch = {"cpu": _CPU, "cuda": "sm_90", "hip": "gfx942"}[backend]
    longest = prewarm.longest(backend, arch, dtype)
    assert prewarm.kernels(backend, arch, [dtype], [longest]) != []
    assert prewarm.kernels(backend, arch, [dtype], [longest + 1]) == []


@settings(max_examples=300)
@given(arrays(20_000))
def test_kernels_include_what_any_cpu_sort_needs(array):
    dtype, shape, x_strides, out_strides, axis = array
    asked = plan_sort(DTYPES[dtype], shape, x_strides, out_strides, axis, _CPU)
    built = prewarm.kernels("cpu", _CPU, [dtype], [shape[axis]])
    assert asked.kernel is None or asked.kernel in built


@settings(max_examples=300)
@given(
    arrays(70_000),
    st.sampled_from(["sm_80", "sm_90", "sm_120", "gfx90a", "gfx942", "gfx1100", "gfx11-generic"]),
    st.sampled_from([(), ("sort",), ("sort", "transpose")]),
)
def test_kernels_include_what_any_gpu_sort_needs(array, arch, capabilities):
    dtype, shape, x_strides, out_strides, axis = array
    backend = "cuda" if arch.startswith("sm") else "hip"
    try:
        asked = plan_sort(DTYPES[dtype], shape, x_strides, out_strides, axis, arch, capabilities)
    except NotImplementedError:
        return
    if asked.transposes:
        # The library copies the array first, and it is sorted in that layout.
        moved = (*shape[:axis], *shape[axis + 1 :], shape[axis])
        dense = np.empty(moved, np.int8).strides
        asked = plan_sort(DTYPES[dtype], moved, dense, dense, len(moved) - 1, arch, capabilities)
    built = prewarm.kernels(backend, arch, [dtype], [shape[axis]])
    assert asked.kernel is None or asked.kernel in built


@settings(max_examples=300)
@given(
    arrays(200_000),
    st.integers(1, 300),
    st.sampled_from([_CPU, "sm_80", "sm_90", "sm_120", "gfx942", "gfx1100"]),
    st.sampled_from([("sort",), ("sort", "transpose")]),
)
def test_kernels_for_top_k_include_what_any_k_needs(array, k, arch, capabilities):
    """Rows that lie apart are copied together on a GPU, which changes their strides alone.

    A library that does not copy them gets whole rows, unless they are along the last axis.
    """
    dtype, shape, x_strides, _, axis = array
    length, target = shape[axis], target_with(arch)
    table, bits = target.layouts(arch), DTYPES[dtype].bits
    device = CPU_DEVICE if target.is_host else Device(target.name, 0, arch)
    x = Description("jax", dtype, shape, x_strides, device, frozenset(capabilities))
    selection = found_of(TOP_K, x, axis, min(k, length)).selection
    if length > table.longest("index", bits, selection):
        return
    if selection != "all" and not target.is_host and axis != len(shape) - 1:
        shape, axis = (*shape[:axis], *shape[axis + 1 :], length), len(shape) - 1
        x_strides = np.empty(shape, np.int8).strides
    strides = [x_strides] * 3
    asked = plan(
        selection, "index", DTYPES[dtype], shape, strides, axis, target, arch, x.capabilities
    )
    built = prewarm.kernels(target.name, arch, [dtype], [length], ["top_k"])
    assert asked.kernel in built


@settings(max_examples=300)
@given(
    arrays(70_000),
    st.sampled_from(MEDIANS),
    st.sampled_from(["sm_80", "sm_90", "sm_120", "gfx90a", "gfx942", "gfx1100"]),
    st.sampled_from([(), ("sort",), ("sort", "transpose")]),
)
def test_kernels_for_median_include_what_any_gpu_call_needs(array, part, arch, capabilities):
    dtype, shape, x_strides, out_strides, axis = array
    target = target_with(arch)
    built = prewarm.kernels(target.name, arch, [dtype], [shape[axis]], ["median"])
    device = Device(target.name, 0, arch)
    x = Description("jax", dtype, shape, x_strides, device, frozenset(capabilities))
    found = found_of(MEDIAN, x, axis, part)
    if dtype.startswith("float8"):
        assert built == []
        with pytest.raises(TypeError, match="median does not compute with float8"):
            planned(MEDIAN, x, [out_strides], axis, found=found)
        return
    try:
        asked, _ = planned(MEDIAN, x, [out_strides], axis, found=found)
    except NotImplementedError:
        return
    assert asked.kernel is None or asked.kernel in built


@settings(max_examples=60)
@given(
    st.sampled_from([name for name in DTYPES if hasattr(np, name)]),
    st.integers(2, 100),
    st.integers(1, 9),
    st.sampled_from(["C", "F", "every other"]),
    st.sampled_from([0, 1]),
)
def test_kernels_include_what_explain_names(dtype, length, rows, layout, axis):
    shape = (length, rows) if axis == 0 else (rows, length)
    x = np.zeros(tuple(2 * size for size in shape), dtype)[::2, ::2]
    if layout != "every other":
        x = np.zeros(shape, dtype, order=layout)
    said = warp_bitonic_sort.explain(x, axis=axis)
    names = [kernel.name for kernel in prewarm.kernels("cpu", _CPU, [dtype], [length])]
    assert said.kernel in names


@pytest.mark.parametrize(
    ("backend", "arch", "length", "payloads"),
    [
        ("cpu", _CPU, 9, {"index"}),
        ("cuda", "sm_90", 4096, {"index", "value32", "value64"}),
        ("hip", "gfx1201", 4096, {"index", "value32"}),  # 64 bits exceed the shared memory
        ("hip", "gfx942", 9, {"index", "value32", "value64"}),
    ],
)
def test_kernels_for_pairs_include_those_with_values_of_gpus(backend, arch, length, payloads):
    built = prewarm.kernels(backend, arch, ["float32"], [length], ["sort_pairs"])
    assert {kernel.payload for kernel in built} == payloads
    assert {kernel.access for kernel in built if kernel.payload != "index"} <= {"rows"}


def test_kernels_of_a_wrong_target_raise():
    with pytest.raises(ToolError, match="'sm_90' is not an architecture of hip"):
        prewarm.kernels("hip", "sm_90", ["float32"], [3])
    with pytest.raises(ToolError, match="expected one of .*got 'z80'"):
        prewarm.kernels("cpu", "z80", ["float32"], [3])
    assert prewarm.kernels("cpu", _CPU, ["float32"], [1, 10**6]) == []
    assert RUNTIME not in prewarm.kernels("cpu", _CPU, ["float32"], [3])
