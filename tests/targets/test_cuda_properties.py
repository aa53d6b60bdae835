"""What `sort` promises of every array, on tensors drawn at random on a CUDA device.

Rows are as long as any kernel takes, so all kernels that are opened are those of `cuda_kernels`.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import oracle
from support.descriptions import cpu_kernel, gpu_cells
from support.device_arrays import TORCH, WORDS, bits_to_device, check, to_device, to_host, torch
from warp_bitonic_sort import sort
from warp_bitonic_sort.dtypes import DTYPES
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.targets import HOST
from warp_bitonic_sort.targets.cpu.layouts import MAX_LENGTH

if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("cuda_kernels")

names = st.sampled_from(list(TORCH))
orders = st.sampled_from([(False, "largest"), (False, "last"), (True, "largest"), (True, "last")])
seeds = st.integers(0, 2**32)
# Where one layout ends and the next begins, for every width of keys.
EDGES = sorted(
    {
        edge + d
        for bits in (8, 16, 32, 64)
        for registers, lane_bits, warp_bits, _ in gpu_cells(bits, "sm_90")
        for edge in [registers << lane_bits << warp_bits]
        for d in (-1, 0, 1)
        if edge + d <= MAX_LENGTH
    }
)


@st.composite
def rows(draw):
    """(shape, axis): up to four dimensions, some empty; one may be as long as rows can be."""
    rank = draw(st.integers(1, 4))
    long = draw(st.sampled_from(["edge", "some", "none"]))
    sizes = st.integers(1, 3) if long == "edge" else st.integers(0, 9)
    shape = draw(st.lists(sizes, min_size=rank, max_size=rank))
    axis = draw(st.integers(0, rank - 1))
    if long != "none":
        # Mostly the rows are long, now and then there are many.
        at = draw(st.sampled_from([axis, axis, axis, 0]))
        shape[at] = draw(st.integers(10, 90) if long == "some" else st.sampled_from(EDGES))
    return tuple(shape), axis - draw(st.sampled_from([0, rank]))


@st.composite
def grids(draw, shape):
    """A layout whose elements are all distinct: (offset, strides) in elements."""
    strides = [1] * len(shape)
    reach = 1
    for dim in draw(st.permutations(range(len(shape)))):
        step = draw(st.sampled_from([1, 1, 1, 2, 3])) if reach < 5000 else 1
        strides[dim] = reach * step + draw(st.sampled_from([0, 0, 0, 1, 5]))
        reach += strides[dim] * (max(shape[dim], 1) - 1)
    return draw(st.integers(0, 17)), tuple(strides)


@st.composite
def layouts(draw, shape):
    """A layout to read: distinct elements, or windows that overlap, rows that are one row."""
    if draw(st.integers(0, 4)):
        return draw(grids(shape))
    return draw(st.integers(0, 17)), tuple(draw(st.integers(0, 5)) for _ in shape)


def elements_of(shape, offset, strides):
    """How many elements a flat array needs to hold a layout and a red zone behind it."""
    return offset + 1 + 17 + sum(max(n - 1, 0) * s for n, s in zip(shape, strides, strict=True))


def windows(flat, bits, shape, offset, strides):
    """The same view of a flat array on the host and of its bits on the device."""
    size = flat.itemsize
    host = np.ndarray(
        shape, flat.dtype, flat.view(np.uint8), offset * size, tuple(s * size for s in strides)
    )
    return host, torch.as_strided(bits, shape, strides, offset).view(TORCH[flat.dtype.name])


def poison(x):
    """Leave memory as large as x with the allocator: the next result of this size lies there."""
    torch.full((x.numel() * x.element_size(),), 0x5A, dtype=torch.uint8, device=x.device)


def same_but_for_nans(a, b):
    """Assert that two results are one, bit for bit, NaNs in any order among themselves."""
    if a.dtype.name in oracle.FLOATS:
        nans = oracle.is_nan(a)
        np.testing.assert_array_equal(oracle.is_nan(b), nans)
        a, b = (np.where(nans, 0, oracle.bits(x)) for x in (a, b))
    np.testing.assert_array_equal(a, b)


@settings(max_examples=1000)
@given(st.data(), names, rows(), orders, seeds)
def test_sort_of_any_layout_equals_the_oracle(data, name, row, order, seed):
    """Any view is sorted along any axis into a result whose memory was poisoned; x stays."""
    shape, axis = row
    layout = data.draw(layouts(shape))
    flat = oracle.random(name, elements_of(shape, *layout), np.random.default_rng(seed))
    bits = bits_to_device(flat)
    before = bits.clone()
    host, x = windows(flat, bits, shape, *layout)
    poison(x)
    result = sort(x, axis=axis, descending=order[0], nan=order[1])
    assert result.device == x.device
    check(host, result, axis, *order)
    assert torch.equal(bits, before), "the input was written"


@settings(max_examples=1000)
@given(st.data(), names, rows(), orders, seeds)
def test_sort_into_out_of_any_layout_leaves_bytes_around_out_unchanged(
    data, name, row, order, seed
):
    """The result goes into a strided window of a larger tensor, of which nothing else changes."""
    shape, axis = row
    rng = np.random.default_rng(seed)
    read, written = data.draw(layouts(shape)), data.draw(grids(shape))
    flat = oracle.random(name, elements_of(shape, *read), rng)
    host, x = windows(flat, bits_to_device(flat), shape, *read)
    around = oracle.random(name, elements_of(shape, *written), rng)
    around_bits = bits_to_device(around)
    window, out = windows(around, around_bits, shape, *written)
    assert sort(x, axis=axis, descending=order[0], nan=order[1], out=out) is out
    check(host, out, axis, *order)
    window[...] = to_host(out, around.dtype)
    np.testing.assert_array_equal(
        oracle.bits(to_host(around_bits, around.dtype)), oracle.bits(around), "bytes around out"
    )


@settings(max_examples=500)
@given(st.data(), names, rows(), orders, seeds)
def test_sort_in_place_in_any_layout_equals_the_oracle(data, name, row, order, seed):
    shape, axis = row
    layout = data.draw(grids(shape))
    around = oracle.random(name, elements_of(shape, *layout), np.random.default_rng(seed))
    bits = bits_to_device(around)
    window, x = windows(around, bits, shape, *layout)
    before = window.copy()
    assert sort(x, axis=axis, descending=order[0], nan=order[1], out=x) is x
    check(before, x, axis, *order)
    window[...] = to_host(x, around.dtype)
    np.testing.assert_array_equal(
        oracle.bits(to_host(bits, around.dtype)), oracle.bits(around), "bytes around x"
    )


@settings(max_examples=300)
@given(names, rows(), orders, seeds)
def test_sort_of_sorted_rows_changes_nothing(name, row, order, seed):
    shape, axis = row
    x = to_device(oracle.random(name, shape, np.random.default_rng(seed)))
    once = sort(x, axis=axis, descending=order[0], nan=order[1])
    twice = sort(once, axis=axis, descending=order[0], nan=order[1])
    dtype = np.dtype(oracle.ALL[name])
    same_but_for_nans(to_host(twice, dtype), to_host(once, dtype))


@pytest.fixture(scope="module")
def tile_kernels():
    """One kernel of the CPU for every class of keys, which takes any length."""
    classes = sorted({(DTYPES[name].codec, DTYPES[name].bits) for name in TORCH})
    arch = HOST.arch_for()
    loader.build(cpu_kernel(codec, bits, 0, "strided", arch) for codec, bits in classes)


@pytest.mark.usefixtures("tile_kernels")
@settings(max_examples=300)
@given(names, rows(), orders, seeds)
def test_sort_on_the_device_equals_the_cpus(name, row, order, seed):
    """Bit for bit, though one sorts in lanes and the other in a tile."""
    shape, axis = row
    # No element has a neighbour in memory, so that the CPU's kernel is the tile kernel always.
    wide = oracle.random(name, (*shape, 2), np.random.default_rng(seed))
    x, out = wide[..., 0], np.empty_like(wide)[..., 0]
    sort(x, axis=axis, descending=order[0], nan=order[1], out=out)
    result = sort(to_device(x), axis=axis, descending=order[0], nan=order[1])
    same_but_for_nans(to_host(result, x.dtype), out)


@pytest.mark.parametrize("name", [n for n in TORCH if n in oracle.FLOATS])
@pytest.mark.parametrize("length", [4, 24, 64, 300, 2500])
def test_sort_keeps_nan_payloads_at_both_ends(name, length):
    """Rows of nothing but NaNs, of both signs and with every small payload, stay what they are."""
    dtype = np.dtype(oracle.FLOATS[name])
    width = min(16, dtype.itemsize * 8)
    every = np.arange(1 << width, dtype=np.uint64) << (dtype.itemsize * 8 - width)
    values = every.astype(f"u{dtype.itemsize}").view(dtype)
    nans = np.resize(values[oracle.is_nan(values)], (16, length))
    numbers = np.resize(values[~oracle.is_nan(values)], (16, length))
    for x in (nans, np.concatenate([nans, numbers], axis=1)):
        for order in ((False, "largest"), (False, "last"), (True, "largest"), (True, "last")):
            check(x, sort(to_device(x), descending=order[0], nan=order[1]), -1, *order)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("length", [8, 50, 700])
def test_sort_orders_subnormals_by_value(name, length):
    """They are neither flushed to zero nor equal to one another."""
    dtype = np.dtype(oracle.FLOATS[name])
    fraction = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}[name]
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 1 << fraction, (33, length), dtype=np.uint64)
    bits |= rng.integers(0, 2, bits.shape, dtype=np.uint64) << (dtype.itemsize * 8 - 1)
    x = bits.astype(f"u{dtype.itemsize}").view(dtype)
    for descending in (False, True):
        check(x, sort(to_device(x), descending=descending), -1, descending)


@pytest.mark.parametrize("name", [n for n in TORCH if np.dtype(oracle.ALL[n]).itemsize == 1])
def test_sort_of_every_pattern_of_one_byte_equals_the_oracle(name):
    values = np.arange(2 if name == "bool" else 256, dtype=np.uint8).view(oracle.ALL[name])
    rng = np.random.default_rng(2)
    x = np.stack([rng.permutation(values) for _ in range(40)])
    for order in ((False, "largest"), (False, "last"), (True, "largest"), (True, "last")):
        check(x, sort(to_device(x), descending=order[0], nan=order[1]), -1, *order)


def test_kernels_opened_here_were_built_before(cuda_kernels):
    """Nothing that this file drew made a kernel of its own."""
    x = torch.zeros(3, 20, dtype=WORDS[4], device="cuda")
    sort(x)
    built = {kernel.name for kernel in cuda_kernels}
    opened = {name for name in loader.open_kernels() if name.startswith("cuda_all_none_")}
    assert opened, "a kernel is open"
    assert opened <= built
