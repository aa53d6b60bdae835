"""CUDA kernels as nvcc makes them: for every architecture, without spilling; no device needed."""

import concurrent.futures
import os
import re
import subprocess

import pytest

from warp_bitonic_sort import plan
from warp_bitonic_sort.jit import ninja, toolchain
from warp_bitonic_sort.jit.errors import ToolError
from warp_bitonic_sort.jit.spec import CudaKernel


def _nvcc() -> str | None:
    """The nvcc that kernels would be built with: the package must not miss one that is there."""
    try:
        return str(toolchain.find_nvcc().path)
    except ToolError:
        return None


NVCC = _nvcc()
needs_nvcc = pytest.mark.skipif(NVCC is None, reason="no nvcc")

CLASSES = [("bits", 8), ("fnuz", 8), ("floating", 16), ("bits", 32), ("floating", 32),
           ("bits", 64), ("floating", 64)]  # fmt: skip


def _compile(kernel: CudaKernel, folder) -> str:
    """What is wrong with a kernel, or nothing."""
    source = folder / f"{kernel.name}.cu"
    source.write_text(kernel.source())
    command = [NVCC, *toolchain.compile_flags(kernel), "-Xptxas=-v", f"-I{toolchain.INCLUDE_DIR}"]
    done = subprocess.run(
        [*command, str(source), "-o", str(source.with_suffix(".cubin"))],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        return f"{kernel.name}: {done.stdout}{done.stderr[:2000]}"
    reports = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores", done.stderr)
    assert reports, done.stderr
    if any(report != ("0", "0") for report in reports):
        return f"{kernel.name} uses local memory: {reports}"
    return ""


def _check(kernels, folder) -> None:
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = [
            text for text in pool.map(lambda kernel: _compile(kernel, folder), kernels) if text
        ]
    assert not wrong, "\n".join(wrong)


@needs_nvcc
def test_no_kernel_uses_local_memory(tmp_path):
    _check(
        [
            CudaKernel(codec, bits, *layout, "sm_90")
            for codec, bits in CLASSES
            for layout in plan.cuda_layouts(bits)
        ],
        tmp_path,
    )


@needs_nvcc
@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_86", "sm_89", "sm_100", "sm_120"])
def test_other_architectures(arch, tmp_path):
    _check(
        [
            CudaKernel(codec, bits, *layout, arch)
            for codec, bits in CLASSES
            for layout in (plan.cuda_layouts(bits)[3], plan.cuda_layouts(bits)[7])
        ],
        tmp_path,
    )


def test_where_nvcc_is_looked_for(monkeypatch, tmp_path):
    program = tmp_path / "bin" / "nvcc"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho nvcc of a test\n")
    program.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    found = toolchain.find_nvcc()
    assert found.path == program
    assert found.version() == "nvcc of a test"
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(ToolError, match=r"CUDA_HOME: .*nowhere' holds no bin/nvcc"):
        toolchain.find_nvcc()
    monkeypatch.delenv("CUDA_HOME")
    monkeypatch.setenv("PATH", str(program.parent))
    assert toolchain.find_nvcc().why == "nvcc on the PATH"


@pytest.mark.parametrize(
    ("asked", "native", "expected"),
    [
        (None, "sm_90", "sm_90"),
        ("native", "sm_86", "sm_86"),
        ("sm_80,sm_90", "sm_90", "sm_90"),
        ("sm_80;gfx942", "sm_86", "sm_80"),
        ("sm_80,sm_86", "sm_89", "sm_86"),
    ],
)
def test_gpu_arch(asked, native, expected, monkeypatch):
    monkeypatch.delenv("GPU_ARCH", raising=False)
    if asked is not None:
        monkeypatch.setenv("GPU_ARCH", asked)
    assert toolchain.cuda_arch(native) == expected


def test_gpu_arch_that_does_not_run(monkeypatch):
    monkeypatch.setenv("GPU_ARCH", "sm_80,gfx942")
    with pytest.raises(ToolError, match=r"GPU_ARCH: none of sm_80, gfx942 runs on .* sm_90"):
        toolchain.cuda_arch("sm_90")
    monkeypatch.setenv("GPU_ARCH", "sm_80,pascal")
    with pytest.raises(ToolError, match=r"expected native or a list .*'pascal'"):
        toolchain.cuda_arch("sm_90")


def test_an_unknown_architecture_has_a_hint():
    log = "nvcc fatal   : Unsupported gpu architecture 'compute_999'\n"
    line, hint = ninja.first_error(log)
    assert line == log.strip()
    assert "toolkit does not know" in hint
