"""The command ``prewarm`` where something fails: the error, the status, and what is left."""

import re
from pathlib import Path

import pytest

from support import children
from support.children import NO_COMPILER
from support.cpu_targets import FOREIGN
from support.prewarm_lists import checked
from warp_bitonic_sort import prewarm
from warp_bitonic_sort.errors import BuildError, CacheError, LockError, ToolError, TrustError
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.jit.store.store import Entry
from warp_bitonic_sort.kernels import MACHINE, RUNTIME
from warp_bitonic_sort.targets import HOST
from warp_bitonic_sort.targets.common.host import find_compiler

_CPU = HOST.arch_for()


def test_prewarm_with_a_failing_kernel_names_it_and_builds_the_rest(half_cache, tmp_path):
    compiler = children.script(
        tmp_path / "failing-c++",
        'case "$*" in *registers3_columns*/source.cc*) echo "x.cc:1: error: no"; exit 1;; esac\n'
        'exec $CXX "$@"',
    )
    done = children.program("prewarm", "--length", 3, CXX=compiler)
    assert done.returncode == 1
    assert done.stdout.startswith("3 of 4 artifacts are there")
    there = checked(half_cache / "prewarm.json", complete=False)
    (failed,) = [name for name, each in there.items() if each["error"] is not None]
    assert "registers3_columns" in failed
    assert f"Error: {failed}: compiling {failed} failed" in done.stderr
    assert "x.cc:1: error: no" in there[failed]["error"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", [LockError, CacheError, TrustError, ToolError, BuildError])
def test_error_that_hinders_every_kernel_is_met_once(monkeypatch, tmp_path, kind):
    """A BuildError may be of one kernel alone: then each kernel is tried."""
    (tmp_path / "library.so").touch()
    tried = []

    def fails(wanted, *_, **__):
        if wanted == [RUNTIME]:
            return {RUNTIME.name: Entry(tmp_path, RUNTIME.target, "")}
        tried.append(len(wanted))
        raise kind("so it is")

    monkeypatch.setattr(loader, "build", fails)
    wanted = prewarm.kernels("cpu", _CPU, ["float32"], [3, 4])
    outcomes = prewarm.build(wanted)
    assert [each.name for each in outcomes] == ["runtime", *(kernel.name for kernel in wanted)]
    assert {each.error for each in outcomes[1:]} == {"so it is"}
    each_alone = [1] * len(wanted) if kind is BuildError else []
    assert tried == [len(wanted), *each_alone]


def test_prewarm_of_target_unknown_to_the_compiler_names_it(half_cache, tmp_path):
    """Every kernel of the target has the error; those of other compilers are built."""
    folder = tmp_path / "toolkit"
    (folder / "bin").mkdir(parents=True)
    children.script(
        folder / "bin" / "nvcc",
        'if [ "$1" = --version ]; then echo "nvcc 99.0"; exit; fi\n'
        "echo \"nvcc fatal : Value 'sm_999' is not defined for option 'gpu-architecture'\"\n"
        "exit 1",
    )
    done = children.program(
        "prewarm", "--backend", "cuda,cpu", "--arch", "sm_999", "--length", "3", CUDA_HOME=folder
    )
    assert done.returncode == 1
    assert "Value 'sm_999' is not defined" in done.stderr
    assert "Hint: this CUDA toolkit does not know the architecture sm_999: install" in done.stderr
    assert "CUDA_HOME" in done.stderr
    there = checked(half_cache / "prewarm.json", complete=False)
    assert {each["arch"] for each in there.values() if each["error"]} == {"sm_999"}
    of_cpu = {kernel.arch for kernel in prewarm.kernels("cpu", _CPU, ["float32"], [3])}
    assert {each["arch"] for each in there.values() if not each["error"]} == {RUNTIME.arch, *of_cpu}


def test_prewarm_for_another_machine_by_a_compiler_for_this_one_fails(fresh_cache, tmp_path):
    layer = tmp_path / "layer"
    done = children.program("prewarm", "--length", 3, "--arch", FOREIGN, "--into", layer)
    assert done.returncode == 1
    assert f"what the compiler made is for {MACHINE}, not for {FOREIGN}" in done.stderr
    assert f"Use a compiler for {FOREIGN} (for a CPU, CXX names it)" in done.stderr
    assert "0 of 4 artifacts are there" in done.stdout
    assert children.entries(layer) == children.entries(fresh_cache) == []


def test_prewarm_into_folder_without_a_runtime_needs_a_compiler(whole_layer, tmp_path):
    """A layer's runtime does not count; the error gives the remedy."""
    how = {"WARP_SORT_CACHE_LAYERS": whole_layer, **NO_COMPILER}
    done = children.program("prewarm", "--length", 3, "--into", tmp_path / "new", **how)
    assert done.returncode == 1
    said = done.stderr.splitlines()[1]
    assert said.startswith("Error: runtime: runtime is in no cache, and cannot be compiled here")
    assert "needs its own runtime, built by a C++ compiler, even if a layer has one" in said
    assert said.endswith("Or fill it on another machine.")
    assert "WARP_SORT_CACHE_LAYERS" not in said
    layer = children.copy(whole_layer, tmp_path / "layer")
    done = children.program("prewarm", "--length", "3-4", "--into", layer, **how)
    assert "its own runtime" not in done.stderr
    assert "Or fill it on another machine." in done.stderr


def test_prewarm_failure_leaves_no_log_in_a_shared_folder(half_cache, tmp_path):
    compiler = children.script(
        tmp_path / "c++",
        'if [ "$1" = --version ]; then exec $CXX "$@"; fi\necho "x.cc:1: error: no" >&2; exit 1',
    )
    layer = tmp_path / "layer"
    done = children.program("prewarm", "--length", 3, "--into", layer, CXX=compiler)
    assert done.returncode == 1
    (log,) = re.findall("^Whole log: (.*)$", done.stderr, re.MULTILINE)
    assert half_cache in Path(log).parents
    assert "x.cc:1: error: no" in Path(log).read_text()
    assert not (layer / "v1" / "logs").exists()


def test_prewarm_without_compiler_builds_nothing(fresh_cache, tmp_path):
    file = tmp_path / "list.json"
    done = children.program("prewarm", "--length", 3, "--manifest", file, **NO_COMPILER)
    assert done.returncode == 1
    assert "no C++ compiler" in done.stderr
    assert "0 of 4 artifacts are there" in done.stdout
    assert len(checked(file, complete=False)) == 4
    assert children.entries(fresh_cache) == []


def test_prewarm_whose_runtime_fails_tries_nothing_else(fresh_cache, tmp_path):
    """Equal errors are printed once."""
    compiler = children.script(
        tmp_path / "c++",
        'if [ "$1" = --version ]; then exec $CXX "$@"; fi\necho "x.cc:1: error: no" >&2; exit 1',
    )
    done = children.program("prewarm", "--length", "2-5", CXX=compiler)
    assert done.returncode == 1
    assert done.stderr.count("First error: x.cc:1: error: no") == 1
    assert "(and 8 more with the same error): it was not tried" in done.stderr
    assert len(list((fresh_cache / "v1" / "logs").iterdir())) == 1


@pytest.mark.parametrize("backend", ["cpu", "cuda"])
def test_prewarm_into_layer_with_options_in_cxx_is_refused(fresh_cache, tmp_path, backend):
    """Readers of the folder would not find such kernels. The runtime is always part of it."""
    asked = f"{find_compiler().program} -static-libstdc++ -D 'A B'"
    arch = _CPU if backend == "cpu" else "sm_90"
    layer, file = tmp_path / "layer", tmp_path / "list.json"
    order = ["prewarm", "--backend", backend, "--arch", arch, "--length", 3, "--manifest", file]
    done = children.program(*order, "--into", layer, CXX=asked)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Error: CXX: {asked!r} has options (-static-libstdc++ -D 'A B')" in done.stderr
    assert "Unset CXX" in done.stderr
    assert "script" in done.stderr
    assert "Traceback" not in done.stderr
    for path in (layer, file, fresh_cache):
        assert not path.exists()


def test_prewarm_into_layer_by_a_script_that_adds_options_works(half_cache, tmp_path):
    """The error proposes such a script. The user's own cache takes options as before."""
    script = children.script(tmp_path / "c++", 'exec $CXX "$@" -DSOMETHING')
    layer = tmp_path / "layer"
    done = children.program("prewarm", "--length", 33, "--into", layer, CXX=script)
    assert done.returncode == 0, done.stderr
    code = children.SORT.replace("[[3, 1, 2]]", "[[2] * 33]")
    done = children.run(code, WARP_SORT_CACHE_LAYERS=layer, **NO_COMPILER)
    assert (done.returncode, done.stderr) == (0, "")
    done = children.program("prewarm", "--length", 33, CXX=f"{script} -O0")
    assert done.returncode == 0, done.stderr
    assert len(children.entries(half_cache)) == 3


def test_prewarm_of_hip_layer_with_ck_dir_is_refused(fresh_cache, tmp_path):
    """CK_DIR is part of the keys: a reader without it would find none of the kernels."""
    layer = tmp_path / "layer"
    order = ["prewarm", "--backend", "hip,cpu", "--arch", "gfx942", "--length", 3, "--into", layer]
    done = children.program(*order, CK_DIR=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Error: CK_DIR: it is set to {str(tmp_path)!r}, and" in done.stderr
    assert "Unset CK_DIR" in done.stderr
    assert not layer.exists()
    assert not fresh_cache.exists()


def test_prewarm_of_cpu_layer_ignores_ck_dir(whole_layer, tmp_path):
    layer = children.copy(whole_layer, tmp_path / "layer")
    done = children.program("prewarm", "--length", 3, "--into", layer, CK_DIR=tmp_path / "none")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("into", [False, True])
def test_prewarm_into_unwritable_folder_fails(tmp_path, into):
    """A sort may use a temporary folder, which ends with the process; prewarm may not."""
    (tmp_path / "file").touch()
    folder, file = tmp_path / "file" / "cache", tmp_path / "list.json"
    option = ["--into", folder] if into else []
    done = children.program(
        "prewarm", "--length", 3, "--manifest", file, *option, WARP_SORT_CACHE_DIR=folder
    )
    assert done.returncode == 1, done.stdout
    assert f"the cache folder {folder} cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    setting = "--into" if into else "WARP_SORT_CACHE_DIR"
    assert f"Set {setting} to a folder that this user can write." in done.stderr
    assert len(checked(file, complete=False)) == 4
    # Nor is where the list would go by itself, which does not hide the cause.
    done = children.program("prewarm", "--length", 3, *option, WARP_SORT_CACHE_DIR=folder)
    assert done.returncode == 1, done.stdout
    assert f"the cache folder {folder} cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_prewarm_into_complete_read_only_folder_names_the_list(whole_layer, tmp_path):
    """Only writing the list can fail. The error names it, not its temporary file."""
    layer = children.copy(whole_layer, tmp_path / "layer")
    before = children.read_only(layer)
    done = children.program("prewarm", "--length", 3, "--into", layer, before=before)
    assert done.returncode == 1, done.stdout
    said = f"--into {layer}: the list of artifacts, {layer}/prewarm.json, cannot be written: "
    assert f"Error: {said}Read-only file system" in done.stderr
    assert ".tmp" not in done.stderr


def test_prewarm_on_a_full_disk_names_the_requested_folder(half_cache, tmp_path):
    layer = tmp_path / "layer"
    layer.mkdir()
    done = children.program(
        "prewarm", "--length", 3, "--into", layer, before=children.full(layer, "200k")
    )
    assert done.returncode == 1, done.stdout
    assert f"the cache folder {layer} cannot be written: No space left" in done.stderr
    assert "WARP_SORT_CACHE_DIR" not in done.stderr
    assert half_cache


def test_prewarm_with_manifest_in_no_folder_builds_nothing(cache_copy, tmp_path):
    done = children.program("prewarm", "--length", 3, "--manifest", tmp_path / "none" / "list.json")
    assert done.returncode == 2
    assert f"there is no folder {tmp_path / 'none'}" in done.stderr
    assert len(children.entries(cache_copy)) == 2, "before anything is built"


def test_manifest_that_was_not_written_is_not_named(tmp_path):
    (tmp_path / "file").touch()
    folder = tmp_path / "cache"
    (folder / "prewarm.json").mkdir(parents=True)
    compiler = children.script(
        tmp_path / "c++", 'if [ "$1" = --version ]; then exec $CXX "$@"; fi\nexit 1'
    )
    done = children.program("prewarm", "--length", 3, CXX=compiler, WARP_SORT_CACHE_DIR=folder)
    assert done.returncode == 1
    assert done.stdout == "0 of 4 artifacts are there (0.0 MB)\n"
    assert "prewarm.json" not in done.stderr
