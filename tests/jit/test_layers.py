"""Layers: what is found in which, and what is not loaded from there."""

import os
import shutil
from pathlib import Path

import pytest

import warp_bitonic_sort
from support import children, cubin
from support.children import ANSWER, KERNEL, NO_COMPILER, OTHER_ANSWER, OTHER_SORT, SORT
from support.descriptions import cuda_kernel
from warp_bitonic_sort import kernels
from warp_bitonic_sort.errors import ToolError
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.jit.store import layers
from warp_bitonic_sort.jit.store.key import build_text
from warp_bitonic_sort.jit.store.store import Store
from warp_bitonic_sort.targets.common.host import find_compiler

_WATCHED = """
    import sys, tvm_ffi, numpy as np
    events = []
    sys.addaudithook(lambda name, args: events.append((name, args)))
    import warp_bitonic_sort as w
    result = w.sort(np.float32([[3, 1, 2]])).tolist()
    for name, args in events:
        assert name not in ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec"), args
        if name == "open" and "warp_bitonic_sort" not in str(args[0]):
            assert not (isinstance(args[2], int) and args[2] & 3), args
        assert name not in ("os.mkdir", "os.rename", "os.remove", "fcntl.flock"), (name, args)
    print(result)
"""


@pytest.mark.parametrize("compiler", ["this machine's", "none", "one that cannot compile"])
def test_hit_in_a_layer_starts_no_tool_and_writes_nothing(
    whole_layer, fresh_cache, tmp_path, compiler
):
    tools = {
        "this machine's": {},
        "none": NO_COMPILER,
        "one that cannot compile": {"CXX": children.script(tmp_path / "c++", "exit 1")},
    }
    done = children.run(_WATCHED, WARP_SORT_CACHE_LAYERS=whole_layer, **tools[compiler])
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    assert not fresh_cache.exists()


def test_layer_that_another_compiler_filled_is_hit(fresh_cache, tmp_path):
    other = children.script(
        tmp_path / "c++", 'if [ "$1" = --version ]; then echo "c++ 99.0"; exit; fi\nexec $CXX "$@"'
    )
    first = children.run(WARP_SORT_CACHE_DIR=tmp_path / "layer", CXX=other)
    assert first.stdout.strip() == ANSWER, first.stderr
    done = children.run(WARP_SORT_CACHE_LAYERS=tmp_path / "layer")
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    assert not fresh_cache.exists()
    # As the user's own cache it is missed, for another compiler filled it.
    again = children.run(WARP_SORT_CACHE_DIR=tmp_path / "layer")
    assert again.stdout.strip() == ANSWER, again.stderr
    assert len(children.entries(tmp_path / "layer")) == 4


def test_build_searches_packaged_listed_and_user_layers_in_order(
    cache_copy, whole_layer, tmp_path, monkeypatch
):
    """The package's own, those that are listed in their order, the user's."""
    packaged, first, second = (
        children.copy(whole_layer, tmp_path / name) for name in ("packaged", "first", "second")
    )
    monkeypatch.setattr(layers, "PACKAGED", packaged)
    monkeypatch.setenv("WARP_SORT_CACHE_LAYERS", f"{first}{os.pathsep}{second}")
    for root in (packaged, first, second, cache_copy):
        found = loader.build([KERNEL])
        assert found[KERNEL.name].folder == children.folder_of(root, KERNEL)
        shutil.rmtree(children.folder_of(root, KERNEL))
    monkeypatch.setenv("CXX", "/nonexistent")
    with pytest.raises(ToolError):
        loader.build([KERNEL])


def test_sort_with_missing_or_empty_layers_works(cache_copy, tmp_path):
    (tmp_path / "empty").mkdir()
    listed = os.pathsep.join(map(str, (tmp_path / "nowhere", "", tmp_path / "empty")))
    done = children.run(WARP_SORT_CACHE_LAYERS=listed)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    assert not (tmp_path / "nowhere").exists()
    assert len(children.entries(cache_copy)) == 2


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        ("nowhere", "does not exist"),
        ("empty", "holds no kernels"),
        ("file", "is no folder"),
        ("layer/v1", "is the inside of a layer: name {}/layer"),
    ],
)
def test_listed_folder_that_is_no_layer_is_named(whole_layer, fresh_cache, tmp_path, folder, said):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    children.copy(whole_layer, tmp_path / "layer")
    listed = tmp_path / folder
    done = children.run(WARP_SORT_CACHE_LAYERS=listed, **NO_COMPILER)
    reason = f"WARP_SORT_CACHE_LAYERS: {listed} {said.format(tmp_path)}"
    assert f"are in no cache ({reason}), and cannot be compiled" in done.stderr.splitlines()[-1]
    done = children.program("doctor", "--no-build", WARP_SORT_CACHE_LAYERS=listed)
    assert f"Note 1: {reason}\n" in done.stdout
    assert not fresh_cache.exists()


@pytest.mark.parametrize(
    ("file", "artifact"),
    [
        ("include/warp_bitonic_sort/network/bitonic.hpp", KERNEL),
        ("runtime/tvm_api.cc", kernels.RUNTIME),
        ("runtime/ffi.hpp", kernels.RUNTIME),
        ("driver/cpu.hpp", kernels.RUNTIME),
    ],
)
def test_layer_is_missed_after_a_source_of_the_package_changed(
    whole_layer, fresh_cache, tmp_path, file, artifact
):
    tree = tmp_path / "tree"
    package = Path(warp_bitonic_sort.__file__).parent
    shutil.copytree(package, tree / "warp_bitonic_sort")
    how = {"PYTHONPATH": tree, "WARP_SORT_CACHE_LAYERS": whole_layer, **NO_COMPILER}
    hit = children.run(f"{SORT}; print(w.__file__)", **how)
    assert hit.stdout.splitlines() == [ANSWER, str(tree / "warp_bitonic_sort" / "__init__.py")]
    with (tree / "warp_bitonic_sort" / "csrc" / file).open("a") as source:
        source.write("// changed\n")
    missed = children.run(**how)
    said = f"{whole_layer} holds it made of other sources or with other flags"
    assert f"ToolError: {artifact.name} is usable in none of {whole_layer} ({said}" in missed.stderr
    assert not fresh_cache.exists()


@pytest.mark.parametrize("artifact", [kernels.RUNTIME, KERNEL], ids=["runtime", "kernel"])
@pytest.mark.parametrize("as_layer", [False, True])
def test_error_of_a_damaged_entry_says_damaged(cache_copy, artifact, as_layer, tmp_path):
    with (children.folder_of(cache_copy, artifact) / "library.so").open("ab") as file:
        file.write(b"!")
    how = NO_COMPILER
    if as_layer:
        how = {"WARP_SORT_CACHE_LAYERS": cache_copy, "WARP_SORT_CACHE_DIR": tmp_path, **how}
    last = children.run(**how).stderr.splitlines()[-1]
    assert f"ToolError: {artifact.name} is usable in none of {cache_copy} (" in last
    assert f"({cache_copy} holds it damaged: " in last
    assert "its bytes have changed; warp-bitonic-sort cache verify lists what is)" in last
    # The error of a damaged runtime and a missing kernel names the damage.
    other = KERNEL if artifact is kernels.RUNTIME else artifact
    shutil.rmtree(children.folder_of(cache_copy, other))
    if artifact is kernels.RUNTIME:
        last = children.run(**how).stderr.splitlines()[-1]
        assert f"runtime and {KERNEL.name} are usable in none of {cache_copy} (" in last
        assert f"({cache_copy} holds runtime damaged: " in last


def test_error_of_an_unloadable_layer_does_not_say_damaged(whole_layer, fresh_cache, tmp_path):
    layer = children.copy(whole_layer, tmp_path / "layer")
    children.break_library(layer, kernels.RUNTIME)
    done = children.run(WARP_SORT_CACHE_LAYERS=layer, **NO_COMPILER)
    last = done.stderr.splitlines()[-1]
    library = children.folder_of(layer, kernels.RUNTIME) / "library.so"
    assert f"are in none of {layer} ({library} does not load: " in last
    assert "damaged" not in last
    assert not fresh_cache.exists()


def _with_tvm_ffi(version):
    return (
        "import importlib.metadata as metadata\n"
        "real = metadata.version\n"
        f"metadata.version = lambda name: {version!r} if name == 'apache-tvm-ffi' else real(name)\n"
    )


def test_another_tvm_ffi_of_the_same_series_hits_a_layer_and_no_other(whole_layer, fresh_cache):
    for version, is_hit in (("0.1.99", True), ("0.1.99rc1", True), ("0.2.0", False)):
        code = _with_tvm_ffi(version) + SORT
        done = children.run(code, WARP_SORT_CACHE_LAYERS=whole_layer, **NO_COMPILER)
        if is_hit:
            assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
        else:
            assert f"ToolError: runtime is usable in none of {whole_layer} (" in done.stderr
    assert not fresh_cache.exists()


@pytest.mark.compile
def test_another_tvm_ffi_misses_the_users_own_cache(cache_copy, tmp_path):
    compiler, compiled = children.counting(tmp_path)
    done = children.run(_with_tvm_ffi("0.1.99") + SORT, CXX=compiler)
    assert done.stdout.strip() == ANSWER, done.stderr
    assert compiled() == ["runtime"]
    assert len(children.entries(cache_copy)) == 3


def test_error_of_a_missing_kernel_names_the_searched_folders(whole_layer, cache_copy):
    missing = "cpu_all_none_ieee32_registers4_rows_"
    done = children.run(OTHER_SORT, WARP_SORT_CACHE_LAYERS=whole_layer, **NO_COMPILER)
    last = done.stderr.splitlines()[-1]
    assert f"ToolError: {missing}" in last
    assert f" is in none of {whole_layer}, {cache_copy}, and cannot be compiled here: " in last
    assert "no C++ compiler" in last
    assert "Install one" in last
    assert "warp-bitonic-sort prewarm" in last
    assert "WARP_SORT_CACHE_LAYERS" in last
    assert "runtime" not in last


_EXPLAIN = """
    import sys
    import warp_bitonic_sort as w
    ran = []
    sys.addaudithook(lambda name, _: ran.append(name) if name == "subprocess.Popen" else None)
    for length in (3, 4):
        said = w.explain((5, length))
        print(said.cached, said.missing, str(said).splitlines()[1].partition(" (")[2])
    assert not ran
"""
_NOT_YET = "None False not compiled yet, as far as is known: a call compiles it, or says why not)"


def test_explain_of_a_missing_kernel_says_so(whole_layer, fresh_cache):
    """Neither in a cache, nor can it be compiled."""
    held = f"{whole_layer} False compiled, in {whole_layer})"
    done = children.run(_EXPLAIN, WARP_SORT_CACHE_LAYERS=whole_layer, **NO_COMPILER)
    gone = "None True not compiled, and it cannot be compiled here)"
    assert done.stdout.splitlines() == [held, gone], done.stderr
    done = children.run(_EXPLAIN)
    assert done.stdout.splitlines() == [_NOT_YET] * 2, done.stderr
    done = children.run(_EXPLAIN, WARP_SORT_CACHE_LAYERS=whole_layer)
    assert done.stdout.splitlines() == [held, _NOT_YET], done.stderr
    assert not fresh_cache.exists()


def test_explain_of_a_kernel_in_the_users_cache_says_so(cache_copy, tmp_path):
    held = f"{cache_copy} False compiled, in {cache_copy})"
    done = children.run(_EXPLAIN)
    assert done.stdout.splitlines() == [held, _NOT_YET], done.stderr
    # Another compiler of the same version, whose answer its first build has remembered.
    program = Path(shutil.which(find_compiler().command[0]))
    compiler = tmp_path / program.name
    compiler.symlink_to(program)
    done = children.run(OTHER_SORT, CXX=compiler)
    assert done.stdout.strip() == OTHER_ANSWER, done.stderr
    done = children.run(_EXPLAIN, CXX=compiler)
    assert done.stdout.splitlines()[0] == held, done.stderr


def test_explain_of_a_kernel_that_is_refused_does_not_say_that_it_is_there(cache_copy):
    children.own(cache_copy, children.ALICE)
    done = children.run(_EXPLAIN, user=children.BOB)
    assert done.stdout.splitlines() == [_NOT_YET] * 2, done.stderr


def test_sort_of_what_no_layer_has_builds_into_the_users_cache(whole_layer, fresh_cache):
    before = sorted(whole_layer.rglob("*"))
    done = children.run(OTHER_SORT, WARP_SORT_CACHE_LAYERS=whole_layer)
    assert (done.stdout.strip(), done.stderr) == (OTHER_ANSWER, "")
    assert [name.rpartition("_rows")[0] for name in children.entries(fresh_cache)] == [
        "cpu_all_none_ieee32_registers4"
    ]
    assert sorted(whole_layer.rglob("*")) == before


@pytest.mark.parametrize("code", [SORT, OTHER_SORT])
@pytest.mark.compile
def test_layer_whose_runtime_does_not_load_is_left_out(whole_layer, fresh_cache, tmp_path, code):
    """It may have been built where the C++ library has another name."""
    layer = children.copy(whole_layer, tmp_path / "layer")
    children.break_library(layer, kernels.RUNTIME)
    done = children.run(code, WARP_SORT_CACHE_LAYERS=layer)
    assert done.stdout.strip() == (ANSWER if code == SORT else OTHER_ANSWER), done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    assert f"the runtime in the layer {layer} does not load on this machine" in done.stderr
    assert "libstdc++.so.9" in done.stderr
    assert len(children.entries(fresh_cache)) == 2


@pytest.mark.compile
def test_threads_with_a_runtime_that_does_not_load_warn_once(whole_layer, fresh_cache, tmp_path):
    """One warning is given, and all threads go on without the layer."""
    layer = children.copy(whole_layer, tmp_path / "layer")
    children.break_library(layer, kernels.RUNTIME)
    code = """
        import threading, numpy as np, warp_bitonic_sort as w
        from concurrent.futures import ThreadPoolExecutor
        from warp_bitonic_sort.jit import runtime
        load, barrier = runtime.load, threading.Barrier(4)
        def at_once(entry, is_new=False):
            if entry.folder.parents[3].name == "layer":
                barrier.wait()  # all have found it, and none has loaded it
            return load(entry, is_new)
        runtime.load = at_once
        with ThreadPoolExecutor(4) as pool:
            rows = [np.float32([[3, 1, 2]])] * 4
            assert all((y == [[1, 2, 3]]).all() for y in pool.map(w.sort, rows))
        print("done")
    """
    done = children.run(code, WARP_SORT_CACHE_LAYERS=layer)
    assert done.stdout.strip() == "done", done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    assert len(children.entries(fresh_cache)) == 2


def test_layer_filled_with_options_is_missed_without_them(fresh_cache, tmp_path):
    """Options change the code, as -march=native does."""
    compiler = " ".join(find_compiler().command)
    first = children.run(WARP_SORT_CACHE_DIR=tmp_path / "layer", CXX=f"{compiler} -DSOMETHING")
    assert first.stdout.strip() == ANSWER, first.stderr
    done = children.run(WARP_SORT_CACHE_LAYERS=tmp_path / "layer")
    assert done.stdout.strip() == ANSWER, done.stderr
    assert len(children.entries(fresh_cache)) == 2


def test_gpu_kernels_of_a_layer_whose_runtime_does_not_load_are_found(tmp_path, monkeypatch):
    """Another runtime can load them, for they are no libraries of this machine."""
    kernel = cuda_kernel("ieee", 32, 4, 0, 0, "rows", "sm_90")
    entry = children.publish_product(Store(tmp_path), kernel, cubin.cubin(cubin.constant(), 90))
    monkeypatch.setenv("WARP_SORT_CACHE_LAYERS", str(tmp_path))
    monkeypatch.setattr(layers, "_unusable", set())
    library = tmp_path / "v1" / "entries" / "runtime" / "0" / "library.so"
    with pytest.warns(RuntimeWarning, match="only its kernels for GPUs are used"):
        assert layers.disable_layer(library, "no such library")
    for artifact, found in ((kernel, entry), (KERNEL, None), (kernels.RUNTIME, None)):
        text = build_text(artifact)
        assert [layer.find(artifact, text, None) for layer in layers.all_layers()][-1] == found
