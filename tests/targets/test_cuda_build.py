"""CUDA kernels as nvcc makes them: for every architecture, without spilling; no device needed."""

import concurrent.futures
import os
import re
import subprocess
import sys

import pytest

from support import gpu_code
from support.descriptions import cuda_kernel
from warp_bitonic_sort import plan
from warp_bitonic_sort.errors import ToolError
from warp_bitonic_sort.jit import finders, ninja, toolchain
from warp_bitonic_sort.kernels import Kernel

CLASSES = [("integer", 8), ("fnuz", 8), ("ieee", 16), ("integer", 32), ("ieee", 32),
           ("integer", 64), ("ieee", 64)]  # fmt: skip


def _compile(nvcc: str, kernel: Kernel, folder) -> str:
    """What is wrong with a kernel, or nothing."""
    source = folder / f"{kernel.name}.cu"
    source.write_text(kernel.source())
    command = [nvcc, *toolchain.compile_flags(kernel), "-Xptxas=-v", f"-I{toolchain.INCLUDE_DIR}"]
    done = subprocess.run(
        [*command, str(source), "-o", str(source.with_suffix(".cubin"))],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        return f"{kernel.name}: {done.stdout}{done.stderr[:2000]}"
    wrong = gpu_code.wrong_shared_memory(kernel, source.with_suffix(".cubin").read_bytes())
    if wrong:
        return wrong
    reports = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores", done.stderr)
    assert reports, done.stderr
    if any(report != ("0", "0") for report in reports):
        return f"{kernel.name} uses local memory: {reports}"
    return ""


def _check(nvcc: str, kernels, folder) -> None:
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong = "\n".join(filter(None, pool.map(lambda k: _compile(nvcc, k, folder), kernels)))
    assert not wrong, wrong


def test_no_kernel_uses_local_memory(nvcc, tmp_path):
    _check(
        nvcc,
        [
            cuda_kernel(codec, bits, *layout, "sm_90")
            for codec, bits in CLASSES
            for layout in plan.cuda_layouts(bits)
        ],
        tmp_path,
    )


def _some(bits: int, arch: str):
    """The longest layout of rows, one with waves, two without, one of a thread, and two columns."""
    rows = [(*layout, "rows") for layout in plan.row_layouts(bits, arch)]
    waves = next(layout for layout in rows if layout[2])
    threads = [layout for layout in plan.cuda_layouts(bits) if layout[1] == 0 and layout[0] > 8]
    columns = [layout for layout in plan.cuda_layouts(bits) if layout[3] == "columns"]
    return {rows[-1], waves, rows[3], rows[6], threads[0], columns[1], columns[-2]}


@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_86", "sm_89", "sm_100", "sm_120"])
def test_other_architectures(nvcc, arch, tmp_path):
    _check(
        nvcc,
        [
            cuda_kernel(codec, bits, *layout, arch)
            for codec, bits in CLASSES
            for layout in _some(bits, arch)
        ],
        tmp_path,
    )


@pytest.mark.parametrize(
    ("there", "outcome"), [("", "1 skipped"), ("/there/nvcc", "has /there/nvcc, and the package")]
)
def test_a_missing_nvcc_skips_tests_only_where_there_is_none(there, outcome):
    environment = {"CUDA_HOME": "/nowhere", "WARP_SORT_TESTS_NVCC": there}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", f"{__file__}::test_other_architectures[sm_75]"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert outcome in ran.stdout
    assert ran.returncode == (1 if there else 0)


def test_where_nvcc_is_looked_for(monkeypatch, tmp_path):
    program = tmp_path / "bin" / "nvcc"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho nvcc of a test\n")
    program.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    found = finders.find_nvcc()
    assert found.path == program
    assert found.version() == "nvcc of a test"
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(ToolError, match=r"CUDA_HOME: .*nowhere' holds no bin/nvcc"):
        finders.find_nvcc()
    monkeypatch.delenv("CUDA_HOME")
    monkeypatch.setenv("PATH", str(program.parent))
    assert finders.find_nvcc().why == "nvcc on the PATH"
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    folders = [tmp_path / "nowhere", tmp_path]
    monkeypatch.setattr(toolchain, "toolkit_folders", lambda: folders)
    assert finders.find_nvcc().why == f"the toolkit in {tmp_path}"
    folders.pop()
    with pytest.raises(ToolError, match="no CUDA compiler: .* set CUDA_HOME to where it is"):
        finders.find_nvcc()


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
    for wrong in ("pascal", "90", "9.0", "sm_90a", "SM_90", "compute_90"):
        monkeypatch.setenv("GPU_ARCH", f"sm_80,{wrong}")
        with pytest.raises(ToolError, match=rf"expected native or a list .*'{wrong}'"):
            toolchain.cuda_arch("sm_90")


def test_an_unknown_architecture_has_a_hint():
    log = "nvcc fatal   : Unsupported gpu architecture 'compute_999'\n"
    line, hint = ninja.first_error(log)
    assert line == log.strip()
    assert "toolkit does not know" in hint
