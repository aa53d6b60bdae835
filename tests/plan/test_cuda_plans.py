"""Plans of sorts on CUDA devices: the layout for each length, and what falls back."""

import pytest

from support.descriptions import plan_sort
from warp_bitonic_sort import arrays, dtypes


def cuda_plan(shape, axis=-1, strides=None, out_strides=None, dtype="float32", **options):
    dense = arrays.dense_strides(shape)
    strides = strides or dense
    axis %= len(shape)
    return plan_sort(
        dtypes.DTYPES[dtype],
        shape,
        strides,
        out_strides or strides,
        axis,
        "sm_90",
        **options,
    )


def test_plan_without_capabilities_uses_kernels_only():
    """An unknown library on a device can neither copy nor sort."""
    for shape in ((5, 1), (1,)):
        assert cuda_plan(shape).route == "copy"
        assert cuda_plan(shape, capabilities=()).route == "kernel"
    assert cuda_plan((5, 0), capabilities=()).route == "copy"
    assert cuda_plan((0, 17000), capabilities=()).route == "copy"
    with pytest.raises(NotImplementedError, match=r"rows have length 17000.*torch\.from_dlpack"):
        cuda_plan((5, 17000), capabilities=())


@pytest.mark.parametrize("name", ["int8", "float16", "float32", "float64"])
def test_plan_of_every_length_on_cuda_has_a_layout_that_holds_it(name):
    """Every length gets a kernel that takes it, by rows or by columns."""
    most = 512 if name == "float64" else 1024
    for length in range(2, 2000):
        for shape, axis in (((100, length), 1), ((length, 100), 0), ((3, length, 7), 1)):
            made = cuda_plan(shape, axis, dtype=name)
            assert made.kernel.layout.capacity >= length
            assert made.kernel.access == ("columns" if axis != len(shape) - 1 and length <= most
                                          else "rows")  # fmt: skip
            assert made.transposes == (axis != len(shape) - 1 and length > most)
    assert not cuda_plan((5000, 100), 0, dtype=name, capabilities={"sort"}).transposes


def test_plan_of_rows_beyond_an_archs_memory_falls_back():
    for arch, dtype, longest in (
        ("sm_75", "float32", 8192),
        ("sm_75", "int64", 4096),
        ("sm_86", "float32", 16384),
        ("sm_86", "int64", 8192),
        ("sm_90", "int64", 16384),
        ("sm_120", "float64", 8192),
        ("sm_999", "float16", 16384),
    ):
        for length, route in ((longest, "kernel"), (longest + 1, "fallback")):
            made = plan_sort(dtypes.DTYPES[dtype], (3, length), (length, 1), (length, 1), 1, arch)
            assert made.route == route, (arch, dtype, length)


def test_plan_of_short_unaligned_rows_on_cuda_uses_one_thread_a_row():
    assert cuda_plan((100, 25)).kernel.layout.name == "registers32"
    assert cuda_plan((4, 25, 25)).kernel.layout.name == "registers32"
    assert cuda_plan((100, 24)).kernel.layout.name == "lanes2_registers16"
    assert cuda_plan((100, 24), dtype="float16").kernel.layout.name == "lanes2_registers16"
    assert cuda_plan((100, 25), strides=(26, 1)).kernel.layout.name == "lanes2_registers16"
    assert cuda_plan((100, 25), out_strides=(26, 1)).kernel.layout.name == "lanes2_registers16"
    assert cuda_plan((100, 33)).kernel.layout.name == "lanes4_registers16"
