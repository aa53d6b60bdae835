"""Where nothing can be compiled: the command in the error, and kernels of lesser architectures."""

import pytest

from support import children
from support.children import ANSWER, KERNEL, NO_COMPILER, OTHER_SORT, SORT
from support.descriptions import cuda_kernel
from support.shared import filled_once
from warp_bitonic_sort.errors import ToolError
from warp_bitonic_sort.jit import loader, runtime
from warp_bitonic_sort.targets import HOST
from warp_bitonic_sort.targets.common.host import find_compiler


@pytest.mark.parametrize(
    ("operation", "arrays", "dtype", "length", "code_of"),
    [
        ("sort", "x", "int16", 4, ("none", "rows")),
        ("sort_pairs", "x, x", "int16", 4, ("index", "rows")),
        ("sort", "np.zeros((2, 2000))[:, ::2]", "float64", 1000, ("none", "strided")),
        ("sort", "np.zeros((5, 9), np.uint8).T", "uint8", 5, ("none", "columns")),
    ],
)
@pytest.mark.compile
def test_error_without_compiler_gives_the_prewarm_command(
    whole_layer, tmp_path, operation, arrays, dtype, length, code_of
):
    """The command in the error is run as it stands, and then the call works."""
    code = (
        "import numpy as np, warp_bitonic_sort as w; x = np.zeros((2, 4), np.int16); "
        f"w.{operation}({arrays})"
    )
    how = {"WARP_SORT_CACHE_DIR": tmp_path / "cache", **NO_COMPILER}
    done = children.run(code, WARP_SORT_CACHE_LAYERS=whole_layer, **how)
    last = done.stderr.splitlines()[-1]
    order = (
        f"--operation {operation} --backend cpu --arch {HOST.kernel_arch(KERNEL.arch, *code_of)} "
        f"--dtype {dtype} --length {length} --into FOLDER"
    )
    assert f"(warp-bitonic-sort prewarm {order})" in last
    children.copy(whole_layer, tmp_path / "made")  # it has a runtime
    arguments = [word.replace("FOLDER", str(tmp_path / "made")) for word in order.split()]
    assert children.program("prewarm", *arguments).returncode == 0
    done = children.run(code, WARP_SORT_CACHE_LAYERS=tmp_path / "made", **how)
    assert done.returncode == 0, done.stderr


def test_error_of_gpu_kernel_without_compiler_gives_the_prewarm_command(tmp_path, monkeypatch):
    monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setattr(runtime, "_loaded", object())
    kernel = cuda_kernel("ieee", 32, 4, 0, 0, "rows", "sm_90")
    order = "--operation sort --backend cuda --arch sm_90 --dtype float32 --length 3 --into FOLDER"
    with pytest.raises(ToolError, match=rf"\(warp-bitonic-sort prewarm {order}\)"):
        loader.open_kernel(kernel, "float32", 0, 3)


_has_lesser = pytest.mark.skipif(
    not HOST.lesser_archs(KERNEL.arch), reason="there is no lesser architecture"
)


@pytest.fixture(scope="module")
def lesser_layer(tmp_path_factory):
    """A layer of the least target's kernels; tests copy it, none changes it."""
    arch = HOST.lesser_archs(KERNEL.arch)[-1]

    def fill(folder):
        done = children.program("prewarm", "--length", "3-4", "--arch", arch, "--into", folder)
        assert done.returncode == 0, done.stderr

    return filled_once(tmp_path_factory, "lesser-layer", fill)


def _is_warned_of(arch, stderr):
    """Whether there is one warning, which names this machine's target and a lesser one."""
    said = f"RuntimeWarning: the kernel {KERNEL.name} is in no cache and cannot be compiled here. "
    return stderr.count("Warning") == 1 and f"{said}A slower kernel for {arch} is used" in stderr


@_has_lesser
def test_sort_without_compiler_uses_the_best_lesser_target(lesser_layer, fresh_cache, tmp_path):
    """The best target in a layer is used. With a compiler, this machine's own is built."""
    lesser = HOST.lesser_archs(KERNEL.arch)
    code = f"""
        {SORT}
        from pathlib import Path
        layer = str(Path({str(tmp_path)!r}, "layer"))
        print(*sorted({{line.split("/")[-3] for line in Path("/proc/self/maps").read_text().split()
                       if line.startswith(layer) and "cpu_all_none_" in line}}))
        print(w.sort(np.float32([[6, 5, 4, 3]])).tolist())
    """
    layer = children.copy(lesser_layer, tmp_path / "layer")
    how = {"WARP_SORT_CACHE_LAYERS": layer, **NO_COMPILER}
    for arch in reversed(lesser):
        filled = children.program("prewarm", "--length", 3, "--arch", arch, "--into", layer)
        assert filled.returncode == 0, filled.stderr
        done = children.run(code, **how)
        expected = [ANSWER, KERNEL._replace(arch=arch).name, "[[3.0, 4.0, 5.0, 6.0]]"]
        assert done.stdout.splitlines() == expected, done.stderr
        # Of the first such kernel alone, though the second is no better.
        assert _is_warned_of(arch, done.stderr), done.stderr
        assert f"--arch {KERNEL.arch} --dtype float32 --length 3 --into FOLDER" in done.stderr
    assert not fresh_cache.exists()
    missed = children.run(OTHER_SORT.replace("0]", "0, 5]"), **how)
    assert f"registers5_rows_{KERNEL.arch.replace('-', '_')} is in none of" in missed.stderr
    done = children.run(WARP_SORT_CACHE_LAYERS=layer)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    assert children.entries(fresh_cache) == [KERNEL.name]


@_has_lesser
@pytest.mark.parametrize("asked", [None, "g++"])
def test_sort_without_ninja_uses_a_lesser_target(lesser_layer, tmp_path, asked, fresh_cache):
    for name in ("c++", "g++"):
        (tmp_path / name).symlink_to(find_compiler().program)
    code = f"{children.NO_NINJA}\n{SORT}"
    how = {"WARP_SORT_CACHE_LAYERS": lesser_layer, "PATH": tmp_path, "CXX": asked}
    done = children.run(code, **how)
    assert done.stdout.strip() == ANSWER, done.stderr
    assert _is_warned_of(HOST.lesser_archs(KERNEL.arch)[-1], done.stderr), done.stderr
    assert children.entries(fresh_cache) == []


@_has_lesser
@pytest.mark.parametrize("asked", ["/nonexistent/g++", "false", 'g++ "'])
@pytest.mark.usefixtures("fresh_cache")
def test_sort_with_wrong_cxx_uses_no_lesser_target(lesser_layer, asked):
    """The user named a compiler: a slower kernel in silence would hide that it is wrong."""
    done = children.run(WARP_SORT_CACHE_LAYERS=lesser_layer, CXX=asked)
    assert done.stdout == ""
    assert "ToolError: " in done.stderr
    assert "CXX" in done.stderr.splitlines()[-1]
    assert "Warning" not in done.stderr
