"""Entries that are damaged, and libraries that do not load on this system."""

import os
import shutil

import pytest

from support import children
from support.children import ANSWER, KERNEL
from warp_bitonic_sort import kernels
from warp_bitonic_sort.jit.store import inventory

# -- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 63, 4096])
def test_truncated_library_is_built_again_and_nothing_else(cache_copy, tmp_path, keep):
    compiler, compiled = children.counting(tmp_path)
    library = children.folder_of(cache_copy, KERNEL) / "library.so"
    library.write_bytes(library.read_bytes()[:keep])
    done = children.run(CXX=compiler)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    assert compiled() == [KERNEL.name]
    children.assert_sound(cache_copy, count=2)


def test_entry_that_is_a_file_is_replaced(cache_copy):
    folder = children.folder_of(cache_copy, KERNEL)
    shutil.rmtree(folder)
    folder.write_text("in the way")
    done = children.run()
    assert done.stdout.strip() == ANSWER, done.stderr
    children.assert_sound(cache_copy, count=2)


@pytest.mark.parametrize("file", ["library.so", "manifest.json"])
def test_pipe_in_place_of_a_file_is_not_waited_for(cache_copy, tmp_path, file):
    """A pipe that is never written to counts as a missing file."""
    path = children.folder_of(cache_copy, KERNEL) / file
    (item,) = (each for each in inventory.entries(cache_copy) if each.name == KERNEL.name)
    path.unlink()
    os.mkfifo(path)
    done = children.run(**children.NO_COMPILER)
    last = done.stderr.splitlines()[-1]
    assert f"ToolError: {KERNEL.name} is in none of {cache_copy}" in last
    assert "cannot be read" in inventory.verify(item)
    compiler, compiled = children.counting(tmp_path)
    done = children.run(CXX=compiler)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    assert compiled() == [KERNEL.name]
    children.assert_sound(cache_copy, count=2)


# -- libraries of another system -------------------------------------------------------------------


_BOTH_LIBRARIES = pytest.mark.parametrize(
    "artifact", [kernels.RUNTIME, KERNEL], ids=["runtime", "kernel"]
)


@_BOTH_LIBRARIES
@pytest.mark.compile
def test_library_that_does_not_load_is_built_again_and_replaced(cache_copy, tmp_path, artifact):
    """For example, a newer system that shares the home has built it."""
    children.break_library(cache_copy, artifact)
    compiler, compiled = children.counting(tmp_path)
    for _ in range(2):
        done = children.run(CXX=compiler)
        assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
        assert compiled() == [artifact.name]
    children.assert_sound(cache_copy, count=2)


@pytest.mark.compile
def test_unloadable_runtime_beside_a_missing_kernel_is_built_again(half_cache):
    """The kernel is compiled before the runtime is loaded."""
    children.break_library(half_cache, kernels.RUNTIME)
    done = children.run()
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    children.assert_sound(half_cache, count=2)


@_BOTH_LIBRARIES
def test_unloadable_library_without_compiler_raises_and_stays(cache_copy, artifact):
    """It stays, for another machine may be able to load it."""
    children.break_library(cache_copy, artifact)
    done = children.run(**children.NO_COMPILER)
    library = children.folder_of(cache_copy, artifact) / "library.so"
    last = done.stderr.splitlines()[-1]
    assert f"ToolError: {artifact.name} is in none of {cache_copy} ({library} does not load" in last
    assert "libstdc++.so.9" in last
    children.assert_sound(cache_copy, count=2)


@pytest.mark.parametrize("into", [False, True])
@_BOTH_LIBRARIES
@pytest.mark.compile
def test_prewarm_builds_an_unloadable_library_again(
    whole_layer, tmp_path, monkeypatch, artifact, into
):
    root = children.copy(whole_layer, tmp_path / "cache")
    children.break_library(root, artifact)
    count = len(children.entries(root))
    monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(tmp_path / "none" if into else root))
    done = children.program("prewarm", "--length", 3, *(["--into", root] if into else []))
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "none").exists()
    children.assert_sound(root, count=count)
    done = children.run(WARP_SORT_CACHE_DIR=root, **children.NO_COMPILER)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")


@pytest.mark.compile
def test_new_runtime_that_does_not_load_raises_at_once(cache_copy, tmp_path):
    """A second build would fail alike."""
    children.break_library(cache_copy, kernels.RUNTIME)
    log = tmp_path / "compiled"
    compiler = children.script(
        tmp_path / "c++",
        f"""$CXX "$@" || exit 1
        case "$*" in *runtime/source.cc*)
            echo runtime >>{log}
            sed -i 's/libstdc++.so.6/libstdc++.so.9/' runtime/library.so;;
        esac""",
    )
    done = children.run(CXX=compiler)
    last = done.stderr.splitlines()[-1]
    assert "BuildError: the runtime" in "\n".join(done.stderr.splitlines()[-3:])
    assert "was built but does not load" in done.stderr
    assert "and try again" in last
    assert log.read_text().split() == ["runtime"]


@pytest.mark.parametrize("how", ["processes", "threads"])
@pytest.mark.compile
def test_crowd_with_an_unloadable_runtime_builds_it_once(cache_copy, tmp_path, how):
    """One builds it again, and the others load the result."""
    children.break_library(cache_copy, kernels.RUNTIME)
    compiler, compiled = children.counting(tmp_path)
    if how == "threads":
        done = children.run(children.SORT_ON_THREADS.format(lengths=[3]), CXX=compiler)
        assert (done.stdout.strip(), done.stderr) == ("32", "")
    else:
        crowd = [children.start(CXX=compiler, WARP_SORT_CACHE_DIR=cache_copy) for _ in range(6)]
        for process in crowd:
            out, err = process.communicate(timeout=120)
            assert (out.strip(), err) == (ANSWER, "")
    assert compiled() == ["runtime"]
    children.assert_sound(cache_copy, count=2)
