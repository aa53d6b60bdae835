"""How nvcc and the architectures of CUDA devices are found; no device needed."""

import re

import pytest

from support import children, driver_double
from warp_bitonic_sort.errors import ToolError
from warp_bitonic_sort.jit.build import hints
from warp_bitonic_sort.targets import device_arch
from warp_bitonic_sort.targets.cuda import compiler as cuda_compiler


def test_find_nvcc_looks_in_cuda_home_then_path_then_toolkits(monkeypatch, tmp_path):
    program = tmp_path / "bin" / "nvcc"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho nvcc of a test\n")
    program.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    found = cuda_compiler.find_nvcc()
    assert found.program == program
    assert found.version() == "nvcc of a test"
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "nowhere"))
    assert cuda_compiler.find_nvcc() is None
    monkeypatch.delenv("CUDA_HOME")
    monkeypatch.setenv("PATH", str(program.parent))
    assert cuda_compiler.find_nvcc().origin == "nvcc on the PATH"
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    folders = [tmp_path / "nowhere", tmp_path]
    monkeypatch.setattr(cuda_compiler, "toolkit_folders", lambda: folders)
    assert cuda_compiler.find_nvcc().origin == f"the toolkit in {tmp_path}"
    folders.pop()
    assert cuda_compiler.find_nvcc() is None


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
def test_arch_for_picks_the_best_listed_arch_that_runs(asked, native, expected, monkeypatch):
    monkeypatch.delenv("GPU_ARCH", raising=False)
    if asked is not None:
        monkeypatch.setenv("GPU_ARCH", asked)
    assert device_arch("cuda", native) == expected


def test_arch_for_without_an_arch_that_runs_raises(monkeypatch):
    monkeypatch.setenv("GPU_ARCH", "sm_80,gfx942")
    with pytest.raises(ToolError, match=r"GPU_ARCH: none of sm_80, gfx942 runs on .* sm_90"):
        device_arch("cuda", "sm_90")
    for wrong in ("pascal", "90", "9.0", "sm_90a", "SM_90", "compute_90"):
        monkeypatch.setenv("GPU_ARCH", f"sm_80,{wrong}")
        with pytest.raises(ToolError, match=rf"expected native or a list .*'{wrong}'"):
            device_arch("cuda", "sm_90")


def test_first_error_of_unknown_architecture_has_a_hint():
    log = "nvcc fatal   : Unsupported gpu architecture 'compute_999'\n"
    line, hint = hints.first_error(log)
    assert line == log.strip()
    assert "toolkit does not know" in hint


@pytest.mark.compile
def test_native_archs_of_cuda_are_those_of_the_devices(tmp_path):
    driver_double.build("fake_cuda.cc", tmp_path / "libcuda.so.1")
    code = "from warp_bitonic_sort.targets import target_of as of; print(of('cuda').native_archs())"
    done = children.run(code, LD_LIBRARY_PATH=tmp_path)
    assert re.fullmatch(r"\['sm_\d+'(, 'sm_\d+')*\]\n", done.stdout), done.stderr
    (tmp_path / "libcuda.so.1").unlink()
    driver_double.build("fake_hiprtc.cc", tmp_path / "libcuda.so.1")
    done = children.run(code, LD_LIBRARY_PATH=tmp_path)
    assert done.stdout == "[]\n", done.stderr
