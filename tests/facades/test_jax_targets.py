"""Kernels as targets of XLA: when they are built, and what programs for a GPU call.

A double of CUDA's driver is enough to lower a program; no GPU runs it. NVRTC compiles its kernels.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from support import driver_double
from support.cuda_double import LIBRARY, Driver, open_both
from support.driver_double import array, driven
from support.host_cupy import OnDevice
from warp_bitonic_sort import jax as wbs
from warp_bitonic_sort.jax import _targets
from warp_bitonic_sort.jit import loader

double = driver_double.fixture("fake_cuda.cc", LIBRARY)
A = jnp.asarray(np.random.default_rng(8).random((4, 11)), jnp.float32)


def test_kernel_is_opened_while_lowering_and_registered_once(monkeypatch):
    opened = []

    def open_kernel(kernel, *arguments, **options):
        opened.append(kernel.name)
        return original(kernel, *arguments, **options)

    original = loader.open_kernel
    monkeypatch.setattr(loader, "open_kernel", open_kernel)
    a = jnp.zeros((4, 29))  # a length of this test alone
    compiled = jax.jit(lambda a: wbs.sort(a, stable=False)).lower(a).compile()
    assert len(opened) == 1
    compiled(a)
    jax.jit(lambda a: wbs.sort(a * 2, stable=False))(a)
    jax.jit(lambda a: wbs.sort(a[:3], descending=True, stable=False))(a)
    assert len(opened) == 1


def test_names_of_targets_tell_kernel_and_dtype():
    def target(function, a=A):
        text = jax.jit(function).lower(a).as_text()
        return text.split("custom_call @")[1].split("(")[0]

    assert target(lambda a: wbs.sort(a, stable=False)).endswith(".float32")
    assert "none_ieee32_registers11_rows" in target(lambda a: wbs.sort(a, stable=False))
    assert target(wbs.argsort).endswith(".float32.index")
    assert target(wbs.sort, A.astype("int32")).endswith(".int32")


@pytest.mark.parametrize("platform", ["rocm", "tpu"])
def test_platform_without_kernels_gets_the_sort_of_xla(platform):
    for function in (wbs.sort, wbs.argsort, lambda a: wbs.top_k(a, 2)):
        text = jax.jit(function).trace(A).lower(lowering_platforms=(platform,)).as_text()
        assert "warp_bitonic_sort." not in text
        assert "stablehlo.sort" in text or "chlo.top_k" in text


@driven()
def test_program_for_cuda_calls_kernels_that_are_open_on_the_device(folder):
    del folder
    _targets._device_numbers = lambda _platform: [0]
    registered, register = [], _targets.jax_tvm_ffi.register_ffi_target

    def recorded(name, function, arguments, platform):
        registered.append((function, arguments, platform))
        return register(name, function, arguments, platform=platform)

    _targets.jax_tvm_ffi.register_ffi_target = recorded

    def lowered(function, a=A):
        traced = jax.jit(function).trace(a)
        return traced.lower(lowering_platforms=("cuda",)).as_text()

    for function, name in (
        (lambda a: wbs.sort(a, stable=False), "cuda_all_none_ieee32"),
        (wbs.argsort, "cuda_all_index_ieee32"),
        (lambda a: wbs.top_k(a, 2), "cuda_first2_index_ieee32"),
    ):
        text = lowered(function)
        assert f"custom_call @warp_bitonic_sort.{name}" in text
        assert "sm_80" in text
        assert "stablehlo.sort" not in text
    # The kernel that finds the first elements wants them contiguous.
    text = lowered(lambda a: wbs.top_k(a, 2, axis=0), A.T)
    assert "custom_call @warp_bitonic_sort.cuda_first2_index_ieee32" in text
    assert "stablehlo.transpose" in text
    driver = Driver()
    assert driver.report()["calls"]["cuModuleLoadData"] == 3
    # XLA is told to pass its stream last.
    x, indices = OnDevice(array(4, 11)), OnDevice(np.zeros((4, 11), np.int32))
    function, arguments, platform = registered[1]
    assert platform == "gpu"
    assert arguments[-1] == "ctx.stream"
    function(x, indices, 1, False, False, 0x123)
    assert driver.launches()[-1]["stream"] == 0x123


@driven()
def test_dispatch_calls_the_kernel_of_the_tensors_device(folder):
    driver, kernels = Driver(), open_both(folder)
    call = loader.runtime().dispatch_by_device(kernels, False)
    x = array(10, 8)
    for number in (1, 0, 1):
        out = np.zeros_like(x)
        call(OnDevice(x, number), OnDevice(out, number), -1, False, False, 0x123)
        np.testing.assert_array_equal(out, np.sort(x))
        launch = driver.launches()[-1]
        assert launch["module_device"] == number
        assert launch["stream"] == 0x123
    only = loader.runtime().dispatch_by_device([None, kernels[1]], False)
    with pytest.raises(ValueError, match="^x: expected a tensor on a device .* got CUDA device 0"):
        only(OnDevice(x), OnDevice(out), -1, False, False, 0)


if __name__ == "__main__":
    driver_double.run_body(globals())
