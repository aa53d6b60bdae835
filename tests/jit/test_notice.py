"""The notice of a build under way: what a terminal or a notebook shows, and what stays silent."""

import os
import pty
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support import children
from support.descriptions import cpu_kernel, cuda_kernel
from warp_bitonic_sort.jit.build import child, notice
from warp_bitonic_sort.kernels import RUNTIME

FLOATS = cpu_kernel("ieee", 32, 25, "rows", "x86-64-avx2")
# Told once a build takes over a second.
SLOW = 'case "$*" in *source.cc*) sleep 2;; esac\nexec $CXX "$@"'


@pytest.mark.parametrize(
    ("artifacts", "told"),
    [
        ([FLOATS], "a kernel for rows of 25 floats of 32 bits on x86-64-avx2"),
        (
            [RUNTIME, cpu_kernel("integer", 8, 3, "rows", "generic")],
            "the runtime and a kernel for rows of 3 integers of 8 bits on generic",
        ),
        (
            [cpu_kernel("ieee", 64, 0, "strided", "generic")],
            "a kernel for long or strided rows of floats of 64 bits on generic",
        ),
        (
            [cuda_kernel("fnuz", 8, 8, 2, 0, "rows", "sm_90")],
            "a kernel for rows of up to 32 floats of 8 bits on sm_90",
        ),
        (
            [FLOATS._replace(payload="index")],
            "a kernel for rows of 25 floats of 32 bits with indices on x86-64-avx2",
        ),
        (
            [cuda_kernel("ieee", 32, 8, 2, 0, "rows", "sm_90")._replace(payload="value64")],
            "a kernel for rows of up to 32 floats of 32 bits with values of 64 bits on sm_90",
        ),
        ([RUNTIME], "the runtime"),
        ([RUNTIME, FLOATS, FLOATS], "the runtime and 2 kernels"),
    ],
)
def test_compiling_says_what_and_where_it_is_kept(artifacts, told, monkeypatch):
    monkeypatch.setenv("HOME", "/home/anybody")
    kept = notice.compiling(artifacts, Path("/home/anybody/.cache/kernels"))
    assert kept == f"compiling {told} (on first use; kept in ~/.cache/kernels)"
    assert notice.compiling(artifacts, Path("/opt/kernels")).endswith("kept in /opt/kernels)")


@pytest.mark.parametrize(("seconds", "count"), [(0, 0), (2.2, 1)])
def test_run_of_a_long_child_calls_back_once(seconds, count, monkeypatch):
    if count == 0:
        monkeypatch.setattr(child, "_PERIOD", 60.0)  # a loaded machine may take a second for it
    told = []
    command = ["/bin/sh", "-c", f"sleep {seconds}; echo done"]
    assert child.run(command, dict(os.environ), lambda: told.append(1)) == ("done\n", 0)
    assert len(told) == count


@pytest.mark.parametrize("name", ["python-of-an-app", "pythonista", "python3.gone"])
def test_build_where_the_executable_is_no_python_runs_ninja_itself(tmp_path, monkeypatch, name):
    program = tmp_path / name
    if not name.endswith("gone"):
        program.write_text("#!/bin/sh\necho another program\n")
        program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    done = child.run(["/bin/sh", "-c", "echo ninja"], dict(os.environ), lambda: None)
    assert done == ("ninja\n", 0)


def slow_sort(tmp_path, stderr, prologue="", **changes):
    """Start a sort whose compiler takes over a second."""
    compiler = children.script(tmp_path / "slow-c++", SLOW)
    return subprocess.Popen(
        children.command(f"{textwrap.dedent(prologue)}\n{children.SORT}"),
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=children.environment(CXX=compiler, HOME=tmp_path, **changes),
        text=True,
    )


def test_slow_build_on_a_terminal_prints_one_line(half_cache, tmp_path):
    master, slave = pty.openpty()
    with slow_sort(tmp_path, slave) as process:
        os.close(slave)
        shown = b""
        while not shown.endswith(b"\n"):
            shown += os.read(master, 4096)
        assert process.communicate()[0].strip() == children.ANSWER
        with pytest.raises(OSError, match="Input/output error"):  # Linux's end of file
            os.read(master, 1)
    os.close(master)
    arch = children.KERNEL.arch
    assert shown.decode() == (
        f"warp_bitonic_sort: compiling a kernel for rows of 3 floats of 32 bits on {arch} (on "
        f"first use; kept in ~/{half_cache.relative_to(tmp_path)})\r\n"
    )


@pytest.mark.parametrize(
    ("prologue", "variable", "told"),
    [
        ("", "", ""),
        (
            """
            import types
            shell = type("ZMQInteractiveShell", (), {})()
            sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: shell)
            """,
            "",
            "warp_bitonic_sort: compiling a kernel for rows of 3 floats",
        ),
        ("import sys; sys.stderr = None", "1", ""),
    ],
)
def test_slow_build_prints_a_line_in_a_notebook_only(
    half_cache, tmp_path, prologue, variable, told
):
    how = {"WARP_SORT_JIT_VERBOSE": variable}
    with slow_sort(tmp_path, subprocess.PIPE, prologue, **how) as process:
        out, error = process.communicate()
    assert out.strip() == children.ANSWER
    assert error.startswith(told)
    assert error.count("\n") == bool(told)
    assert half_cache
