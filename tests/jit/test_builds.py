"""Building and loading: what is compiled when, and what a warm start leaves out."""

import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from support import children
from support.children import ANSWER, SORT, entries, run
from warp_bitonic_sort.targets.common.host import find_compiler

COMPILER = find_compiler()


@pytest.mark.compile
def test_first_call_builds_only_the_runtime_and_its_kernel(fresh_cache, tmp_path):
    script, compiled = children.counting(tmp_path)
    done = run(CXX=script, WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert done.stdout.strip() == ANSWER
    assert compiled() == [children.KERNEL.name, "runtime"]
    assert len(entries(fresh_cache)) == 2
    assert list((fresh_cache / "v1" / "staging").iterdir()) == []
    assert done.stderr == "", "a build is quiet without a terminal"
    # Another specialization compiles itself alone; nothing else compiles again.
    more = run(SORT.replace("[3, 1, 2]", "[3, 1, 2, 0]"), CXX=script,
               WARP_SORT_CACHE_DIR=str(fresh_cache))  # fmt: skip
    assert more.stdout.strip() == "[[0.0, 1.0, 2.0, 3.0]]"
    assert len(compiled()) == 3
    again = run(CXX=script, WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert again.stdout.strip() == ANSWER
    assert len(compiled()) == 3


def test_warm_process_starts_no_tool_and_writes_nothing(warm_cache):
    # What importing tvm_ffi does is not ours, so it is imported before the hook listens.
    code = """
        import sys, tvm_ffi, numpy as np
        events = []
        sys.addaudithook(lambda name, args: events.append((name, args)))
        import warp_bitonic_sort as w
        x = np.float32([[3, 1, 2]])
        first = w.sort(x)
        loaded = len(events)
        for name, args in events:
            assert name not in ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec"), args
            if name == "open" and "warp_bitonic_sort" not in str(args[0]):
                assert not (isinstance(args[2], int) and args[2] & 3), args
            assert name not in ("os.mkdir", "os.rename", "os.remove", "fcntl.flock"), args
        second = w.sort(x)
        assert events[loaded:] == [], events[loaded:]
        print(second.tolist())
    """
    done = run(code, WARP_SORT_CACHE_DIR=str(warm_cache))
    assert done.stdout.strip() == ANSWER, done.stderr


@pytest.mark.parametrize("variable", ["WARP_SORT_CACHE_DIR", "WARP_SORT_CACHE_LAYERS", "PACKAGED"])
def test_warm_start_imports_nothing_that_only_a_build_or_a_command_needs(
    warm_cache, tmp_path, variable
):
    code = """
        import os, pathlib, sys, numpy as np, tvm_ffi
        import warp_bitonic_sort as w
        if "PACKAGED" in os.environ:
            w.jit.store.layers.PACKAGED = pathlib.Path(os.environ["PACKAGED"])
        w.sort(np.float32([[3, 1, 2]]))
        ours = "warp_bitonic_sort."
        print(*(name.removeprefix(ours) for name in sys.modules if name.startswith(ours)))
    """
    folders = {"WARP_SORT_CACHE_DIR": str(tmp_path / "empty"), variable: str(warm_cache)}
    done = run(code, **folders)
    modules = set(done.stdout.split())
    assert "arrays._numpy" in modules, done.stderr
    needless = {"jit.store.maintenance", "jit.store.inventory", "prewarm", "cli"}
    needless |= {"targets.cuda", "targets.hip", "targets.rtc", "targets.common.gpu_layouts"}
    if variable != "WARP_SORT_CACHE_DIR" or COMPILER.identity() is not None:
        # A script is run for its version.
        needless.add("jit.build")
        assert len(modules) <= 58, (
            "a start takes longer with each module: merge some, or import later"
        )
    assert not needless & modules


def test_open_kernel_calls_refuse_first(half_cache):
    """It is called with the runtime loaded. A later kernel is not even built."""
    code = """
        import os
        from warp_bitonic_sort.jit import loader
        from warp_bitonic_sort.targets import HOST
        from warp_bitonic_sort.kernels import Kernel, Layout
        entries, arch = os.environ["WARP_SORT_CACHE_DIR"] + "/v1/entries", HOST.arch_for()
        first, second = (
            Kernel("cpu", arch, "all", "none", "ieee", 32, Layout(n), "rows") for n in (3, 4)
        )
        def refuse():
            loader.runtime()
            raise ValueError(len(os.listdir(entries)))
        for kernel in (first, second):
            for _ in range(2):
                try:
                    loader.open_kernel(kernel, "float32", refuse=refuse)
                except ValueError as error:
                    print(error, loader.open_kernels())
        loader.open_kernel(first, "float32")
        loader.open_kernel(first, "float32", refuse=refuse)
    """
    done = run(code, WARP_SORT_CACHE_DIR=str(half_cache))
    assert done.stdout.split("\n") == ["2 []"] * 4 + [""], done.stderr
    assert done.stderr == ""


def test_sort_in_read_only_cache_uses_its_kernel(cache_copy):
    for path in [cache_copy, *cache_copy.rglob("*")]:
        path.chmod(stat.S_IRUSR | (stat.S_IXUSR if path.is_dir() else 0))
    try:
        done = run(WARP_SORT_CACHE_DIR=str(cache_copy))
        assert done.stdout.strip() == ANSWER, done.stderr
    finally:
        for path in [cache_copy, *cache_copy.rglob("*")]:
            path.chmod(stat.S_IRWXU)


def test_verbose_shows_commands_and_output(fresh_cache):
    done = run(WARP_SORT_JIT_VERBOSE="1", WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert done.stdout.strip() == ANSWER
    assert "-std=c++17" in done.stderr
    assert "-o runtime/library.so" in done.stderr
    (said,) = re.findall("^warp_bitonic_sort: compiling with (.*)$", done.stderr, re.MULTILINE)
    assert said.startswith(f"{shlex.join(COMPILER.command)} ({COMPILER.origin}; ")


def test_max_jobs_of_one_compiles_one_after_the_other(fresh_cache, tmp_path):
    """With MAX_JOBS=1 the runtime and the kernel are compiled one after the other."""
    log = tmp_path / "spans"
    script = tmp_path / "slow-c++"
    real = " ".join(COMPILER.command)
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *source.cc*) echo start >>{log}; {real} "$@"; s=$?; '
        f'echo end >>{log}; exit $s;; esac\nexec {real} "$@"\n'
    )
    script.chmod(0o755)
    done = run(MAX_JOBS="1", CXX=str(script), WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert done.stdout.strip() == ANSWER, done.stderr
    assert log.read_text().split() == ["start", "end", "start", "end"]


@pytest.mark.parametrize("linker", ["bfd", "gold", "lld"])
def test_build_with_each_linker_loads(fresh_cache, linker):
    compiler = f"{shlex.join(COMPILER.command)} -fuse-ld={linker}"
    asked = f"{compiler} -Wl,--version -o {fresh_cache}.out"
    if subprocess.run(shlex.split(asked), capture_output=True).returncode != 0:
        pytest.skip(f"no {linker}")  # the default linker needs no option
    done = run(CXX=compiler, WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert done.stdout.strip() == ANSWER, done.stderr


def test_build_with_relative_cxx_loads(half_cache, tmp_path):
    script, compiled = children.counting(tmp_path)
    code = f"import os; os.chdir({str(Path(script).parent)!r}); {SORT}"
    done = run(code, CXX=f"./{Path(script).name}", WARP_SORT_CACHE_DIR=str(half_cache))
    assert done.stdout.strip() == ANSWER, done.stderr
    assert len(compiled()) == 1


@pytest.mark.parametrize("tools", [{"PATH": "/nonexistent", "CXX": None}, {"CXX": "/nonexistent"}])
def test_hit_needs_no_compiler(warm_cache, tools):
    """A cached kernel is used without a compiler; a missing one raises."""
    done = run(WARP_SORT_CACHE_DIR=str(warm_cache), **tools)
    assert done.stdout.strip() == ANSWER, done.stderr
    more = run(
        SORT.replace("[3, 1, 2]", "[3, 1, 2, 0]"), WARP_SORT_CACHE_DIR=str(warm_cache), **tools
    )
    assert "ToolError" in more.stderr
