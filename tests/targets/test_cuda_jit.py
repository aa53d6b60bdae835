"""Building and loading kernels for a CUDA device: what is compiled when, what a warm start skips.

What is the same for every kernel is in tests/jit.
"""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support.device_arrays import torch
from warp_bitonic_sort.targets.common.compiler import Compiler
from warp_bitonic_sort.targets.cuda import compiler as cuda_compiler

if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

# What importing torch and tvm_ffi and making a context do is not ours, so it is done before.
PROLOGUE = """
    import sys, torch, tvm_ffi
    x = torch.tensor([[3.0, 1.0, 2.0]], device="cuda")
    torch.cuda.synchronize()
    events = []
    sys.addaudithook(lambda name, args: events.append((name, args)))
    import warp_bitonic_sort as w
"""
SORT = f"{PROLOGUE}\n    print(w.sort(x).tolist())\n"
ANSWER = "[[1.0, 2.0, 3.0]]"


def run(code, **environment):
    """Run Python code in a new process."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def _compiler():
    """A C++ compiler that is no wrapper: a wrapper is run for its version every time."""
    for name in ("c++", "g++", "clang++"):
        found = shutil.which(name)
        if found and Compiler((found,), Path(found).resolve(), name).identity():
            return found
    pytest.skip("every C++ compiler here is a wrapper")


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A cache that holds the runtime and the kernel of SORT, and a count of what nvcc compiled."""
    folder = tmp_path_factory.mktemp("warm")
    (folder / "toolkit" / "bin").mkdir(parents=True)
    script = folder / "toolkit" / "bin" / "nvcc"
    script.write_text(
        f'#!/bin/sh\nfor a in "$@"; do case "$a" in *source.cu) echo "$a" >>{folder}/compiled;; '
        f'esac; done\nexec {cuda_compiler.find_nvcc().program} "$@"\n'
    )
    script.chmod(0o755)
    variables = {
        "WARP_SORT_CACHE_DIR": str(folder / "cache"),
        "CUDA_HOME": str(folder / "toolkit"),
        "CXX": _compiler(),
    }
    done = run(SORT, **variables)
    assert done.stdout.strip() == ANSWER, done.stderr
    return variables, folder


def test_first_call_compiles_only_its_kernel(warm):
    variables, folder = warm
    compiled = folder / "compiled"
    assert len(compiled.read_text().split()) == 1
    again = run(SORT, **variables)
    assert again.stdout.strip() == ANSWER, again.stderr
    # Rows that the same kernel sorts, and rows that need another.
    for length, count in ((4, 1), (40, 2)):
        code = f"{PROLOGUE}\n    print(w.sort(x[:, :1].repeat(1, {length})).sum().item())\n"
        more = run(code, **variables)
        assert more.stdout.strip() == f"{3.0 * length}", more.stderr
        assert len(compiled.read_text().split()) == count
    entries = folder.glob("cache/v1/entries/*/*/manifest.json")
    kinds = [Path(entry).parent.parent.name.split("_")[0] for entry in entries]
    assert sorted(kinds) == ["cuda", "cuda", "runtime"]


def _toolkit():
    """A toolkit whose nvcc is a program: every process runs a script for its version."""
    for program in (cuda_compiler.find_nvcc().program, Path("/usr/local/cuda/bin/nvcc").resolve()):
        if program.exists() and program.read_bytes()[:2] != b"#!":
            return program.parent.parent
    pytest.skip("every nvcc here is a script")


def test_warm_process_starts_no_tool_and_writes_nothing(warm):
    variables = {**warm[0], "CUDA_HOME": str(_toolkit())}
    # The cache hits, for this nvcc prints the same version; that answer is remembered.
    done = run(SORT, **variables)
    assert done.stdout.strip() == ANSWER, done.stderr
    code = f"""{PROLOGUE}
    first = w.sort(x)
    torch.cuda.synchronize()
    loaded = len(events)
    for name, args in events:
        assert name not in ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec"), args
        if name == "open" and "warp_bitonic_sort" not in str(args[0]):
            assert not (isinstance(args[2], int) and args[2] & 3), args
        assert name not in ("os.mkdir", "os.rename", "os.remove", "fcntl.flock"), args
    second = w.sort(x)
    torch.cuda.synchronize()
    assert events[loaded:] == [], events[loaded:]
    print(second.tolist())
    """
    done = run(code, **variables)
    assert done.stdout.strip() == ANSWER, done.stderr


def test_sort_without_nvcc_loads_a_cached_kernel(warm, tmp_path):
    """What was built is loaded on a machine that has no toolkit."""
    variables, _ = warm
    done = run(SORT, **{**variables, "CUDA_HOME": str(tmp_path)})
    assert done.stdout.strip() == ANSWER, done.stderr
    another = run(
        SORT.replace("[[3.0, 1.0, 2.0]]", "[[3.0] * 500]"),
        **{**variables, "CUDA_HOME": str(tmp_path)},
    )
    assert another.returncode != 0
    assert "CUDA_HOME" in another.stderr
    assert "holds neither bin/nvcc nor NVRTC" in another.stderr


def test_build_by_nvrtc_writes_nothing_to_the_drivers_cache(tmp_path):
    """For which it would start the driver, and write to the user's home."""
    variables = {"WARP_SORT_RTC": "1", "WARP_SORT_CACHE_DIR": str(tmp_path / "cache")}
    drivers = tmp_path / "driver"
    done = run(SORT, **variables, CUDA_CACHE_PATH=str(drivers), CXX=_compiler())
    assert done.stdout.strip() == ANSWER, done.stderr
    (manifest,) = tmp_path.glob("cache/v1/entries/cuda_*/*/manifest.json")
    assert "NVRTC" in manifest.read_text()
    assert not list(drivers.rglob("*"))
