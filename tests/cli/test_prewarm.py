"""The command ``prewarm``: it builds the kernels that sorts need, and reports each of them."""

import functools
import importlib.util
import json
import os
import re
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import warp_bitonic_sort
from support import children, driver_double
from support.children import ANSWER, KERNEL, NO_COMPILER
from support.descriptions import plan_sort
from warp_bitonic_sort import prewarm
from warp_bitonic_sort.cli import main
from warp_bitonic_sort.dtypes import DTYPES
from warp_bitonic_sort.errors import BuildError, CacheError, LockError, ToolError, TrustError
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.jit.store.files import digest
from warp_bitonic_sort.jit.store.store import Entry
from warp_bitonic_sort.kernels import RUNTIME
from warp_bitonic_sort.operations import OPERATIONS
from warp_bitonic_sort.targets import HOST, TARGETS, recipe_of
from warp_bitonic_sort.targets.common.host import find_compiler
from warp_bitonic_sort.targets.cpu.arch import CPU_ARCHS

_CPU = HOST.arch_for()


def invoke(*arguments):
    return CliRunner().invoke(main, ["prewarm", *map(str, arguments)])


def checked(file, *, complete=True):
    """Return the artifacts of a manifest, whose files it describes rightly."""
    said = json.loads(Path(file).read_text())
    assert said["complete"] is complete
    for each in said["artifacts"]:
        assert set(each) == {"name", "target", "arch", "path", "size", "digest", "error"}
        if each["error"] is None:
            data = Path(each["path"]).read_bytes()
            assert (len(data), digest(data)) == (each["size"], each["digest"])
            assert Path(each["path"]).name == recipe_of(each["target"]).product
            assert recipe_of(each["target"]).is_for(data, each["arch"])
        else:
            assert (each["path"], each["size"], each["digest"]) == (None, 0, None)
    assert complete is all(each["error"] is None for each in said["artifacts"])
    return {each["name"]: each for each in said["artifacts"]}


# -- what is built --------------------------------------------------------------------------------


def test_prewarm_fills_the_users_cache(half_cache):
    done = children.program("prewarm", "--length", "3")
    assert done.returncode == 0, done.stderr
    file = half_cache / "prewarm.json"
    assert done.stdout.startswith("4 of 4 artifacts are there (")
    assert done.stdout.endswith(f"): {file}\n")
    assert "Compiling" in done.stderr
    there = checked(file)
    assert sorted(there) == children.entries(half_cache)
    assert there[KERNEL.name]["arch"] == KERNEL.arch
    assert there["runtime"]["target"] == "runtime"
    sorted_ = children.run(**NO_COMPILER)
    assert (sorted_.stdout.strip(), sorted_.stderr) == (ANSWER, "")
    # Again, which compiles nothing; and what a layer has is not copied.
    again = children.program("prewarm", "--length", "3", **NO_COMPILER)
    assert again.returncode == 0, again.stderr
    assert checked(file) == there


def test_prewarm_off_a_terminal_prints_lines_of_progress(half_cache, monkeypatch):
    clock = types.SimpleNamespace(monotonic=iter([0, 4, 11, 19, 22, 31]).__next__)
    module = sys.modules["warp_bitonic_sort.cli.prewarm"]  # the name is the command's
    monkeypatch.setattr(module, "time", clock)

    def build(_wanted, _into, _jobs, done):
        for count in (1, 32, 8, 3, 0):
            done(count)
        return []

    monkeypatch.setattr(prewarm, "build", build)
    result = invoke("--length", "2-24")
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    total = int(re.fullmatch("Compiling what is missing of (.*) artifacts", lines[0])[1])
    assert total == 1 + 2 * 23 + 1
    assert lines[1:] == [f"  33 of {total}", f"  44 of {total}"]
    assert half_cache


def test_documents_give_the_number_of_artifacts_of_a_wheel():
    pytest.importorskip("hatchling")
    root = Path(__file__).parents[2]
    spec = importlib.util.spec_from_file_location("hatch_build", root / "hatch_build.py")
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    _, dtypes, _, lengths = hook._COMMON
    numbers = [number for first, last in re.findall(r"(\d+)(?:-(\d+))?", lengths)
               for number in range(int(first), int(last or first) + 1)]  # fmt: skip
    count = len(prewarm.kernels("cpu", _CPU, dtypes.split(","), numbers))
    levels = len(hook._LEVELS["x86_64"].split(","))
    said = f"{levels * count + 1} artifacts (on Arm {count + 1})"
    assert said in " ".join((root / "docs" / "without-a-compiler.md").read_text().split())


def test_prewarm_of_what_a_layer_has_builds_nothing(whole_layer, fresh_cache, tmp_path):
    file = tmp_path / "list.json"
    done = children.program(
        "prewarm", "--length", 3, "--manifest", file, WARP_SORT_CACHE_LAYERS=whole_layer
    )
    assert done.returncode == 0, done.stderr
    assert all(str(whole_layer) in each["path"] for each in checked(file).values())
    assert children.entries(fresh_cache) == []


def test_prewarm_into_folder_makes_it_complete(whole_layer, fresh_cache):
    """Other caches and layers do not count, and no temporary file is left."""
    there = checked(whole_layer / "prewarm.json")
    assert sorted(there) == children.entries(whole_layer)
    assert sorted(path.name for path in (whole_layer / "v1").iterdir()) == ["entries", "tools"]
    assert children.leftovers(whole_layer) == ["prewarm.json"]
    code = """
        import numpy as np, warp_bitonic_sort as w
        rows = np.float32([[3, 1, 2]] * 9)
        spread = np.zeros((9, 6), np.float32)[:, ::2]
        spread[:] = rows
        for x in (rows, np.asfortranarray(rows), spread):
            print(w.sort(x).tolist() == np.sort(rows).tolist())
        print(w.sort(rows.T, axis=0).T.tolist() == np.sort(rows).tolist())
    """
    done = children.run(code, WARP_SORT_CACHE_LAYERS=whole_layer, **NO_COMPILER)
    assert (done.stdout.split(), done.stderr) == (["True"] * 4, "")
    assert not fresh_cache.exists()


@pytest.mark.compile
def test_prewarm_into_folder_copies_what_a_layer_has(whole_layer, tmp_path):
    done = children.program(
        "prewarm", "--length", 3, "--into", tmp_path / "more", WARP_SORT_CACHE_LAYERS=whole_layer
    )
    assert done.returncode == 0, done.stderr
    assert children.entries(tmp_path / "more") == children.entries(whole_layer)


def test_prewarm_into_relative_folder_lists_absolute_paths(whole_layer, tmp_path, monkeypatch):
    children.copy(whole_layer, tmp_path / "layer")
    monkeypatch.chdir(tmp_path)
    done = children.program("prewarm", "--length", 3, "--into", "layer", "--manifest", "list.json")
    assert done.returncode == 0, done.stderr
    there = checked(tmp_path / "list.json")
    assert all(each["path"].startswith(f"{tmp_path}/layer/") for each in there.values())


def _gpu_layer(folder, backend, arch):
    file = folder / "list.json"
    done = children.program(
        "prewarm", "--backend", f"{backend},cpu", "--arch", arch, "--length", "2", "--into",
        folder / "layer", "--manifest", file
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    there = checked(file)
    wanted = prewarm.kernels(backend, arch, ["float32"], [2])
    wanted += prewarm.kernels("cpu", _CPU, ["float32"], [2])
    assert set(there) == {"runtime", *(kernel.name for kernel in wanted)}
    assert {arch, _CPU, "host"} == {each["arch"] for each in there.values()}
    assert children.leftovers(folder / "layer") == []


@pytest.mark.compile
def test_prewarm_without_a_gpu_builds_cuda_kernels(nvcc, tmp_path):
    assert nvcc
    _gpu_layer(tmp_path, "cuda", "sm_90")


@pytest.mark.compile
def test_prewarm_without_a_gpu_builds_hip_kernels(hip_compiler, tmp_path):
    hip_compiler("gfx942")
    _gpu_layer(tmp_path, "hip", "gfx942")


# -- what fails -----------------------------------------------------------------------------------


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
    assert {each["arch"] for each in there.values() if not each["error"]} == {"host", _CPU}


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


def test_prewarm_with_nothing_to_build_makes_no_cache(whole_layer, fresh_cache):
    """Layers have every artifact: no cache is made for the list alone."""
    done = children.program("prewarm", "--length", 3, WARP_SORT_CACHE_LAYERS=whole_layer)
    assert done.returncode == 0, done.stderr
    assert re.search("^4 of 4 artifacts are there .*MB\\)$", done.stdout)
    assert not fresh_cache.exists()


def test_prewarm_of_rows_that_no_kernel_sorts_is_refused(fresh_cache):
    done = children.program("prewarm", "--length", 20000)
    assert done.returncode == 2
    assert "Left out: sort of rows of 20000. No kernel for cpu takes them" in done.stderr
    assert "nothing is left to compile: the lines above say why." in done.stderr
    assert not fresh_cache.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--length", "2-16384"], []),
        (
            ["--length", "2-20000"],
            ["sort of rows of 16385-20000. No kernel for cpu takes them; NumPy does"],
        ),
        (
            ["--length", "16386,3,16384-16385,30000", "--dtype", "int8,float64"],
            ["sort of rows of 16385-16386,30000. No kernel for cpu takes them; NumPy does"],
        ),
        (
            ["--length", "32,20000", "--operation", "argsort,sort"],
            [
                "argsort of rows of 20000. No kernel for cpu takes them; NumPy does",
                "sort of rows of 20000. No kernel for cpu takes them; NumPy does",
            ],
        ),
        (
            ["--backend", "cpu,cuda,hip", "--arch", "sm_90,gfx942", "--length", "3,9000,20000",
             "--dtype", "float32,float64"],
            [
                "sort of rows of 20000. No kernel for cpu takes them; NumPy does",
                "sort of rows of 20000. No kernel for cuda takes them; the array's own library "
                "does",
                "sort of rows of 20000 of float32. No kernel for hip takes them; the array's own "
                "library does",
                "sort of rows of 9000,20000 of float64. No kernel for hip takes them; the array's "
                "own library does",
            ],
        ),
    ],
)  # fmt: skip
def test_prewarm_names_lengths_that_no_kernel_sorts(options, said, fresh_cache, monkeypatch):
    asked = []
    monkeypatch.setattr(prewarm, "build", lambda wanted, *_: asked.extend(wanted) or [])
    result = invoke(*options)
    assert result.exit_code == 0, result.output
    assert asked != []
    told = [line for line in result.stderr.splitlines() if line.startswith("Left out")]
    assert told == [f"Left out: {each}." for each in said]
    assert not fresh_cache.exists()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_prewarm_of_an_operation_builds_its_kernels(operation, fresh_cache, monkeypatch):
    asked = []
    monkeypatch.setattr(prewarm, "build", lambda wanted, *_: asked.extend(wanted) or [])
    result = invoke("--length", "3", "--operation", operation)
    assert result.exit_code == 0, result.output
    assert {(kernel.selection, kernel.payload) for kernel in asked} == {
        (OPERATIONS[operation].selection, OPERATIONS[operation].payload)
    }
    assert asked == prewarm.kernels("cpu", _CPU, ["float32"], [3], [operation])
    assert not fresh_cache.exists()


def test_prewarm_of_all_operations_builds_each_kernel_once(fresh_cache, monkeypatch):
    asked = []
    monkeypatch.setattr(prewarm, "build", lambda wanted, *_: asked.extend(wanted) or [])
    result = invoke("--length", "3", "--operation", "all")
    assert result.exit_code == 0, result.output
    assert asked == prewarm.kernels("cpu", _CPU, ["float32"], [3], OPERATIONS)
    assert len(asked) == len(set(asked))
    assert not fresh_cache.exists()


def test_operation_without_kernels_for_a_back_end_is_left_out(fresh_cache, monkeypatch):
    longest, asked = prewarm.longest, []

    def longest_but_for_cuda(backend, arch, dtype, operation):
        is_missing = (backend, operation) == ("cuda", "argsort")
        return 0 if is_missing else longest(backend, arch, dtype, operation)

    monkeypatch.setattr(prewarm, "longest", longest_but_for_cuda)
    monkeypatch.setattr(prewarm, "build", lambda wanted, *_: asked.extend(wanted) or [])
    options = ["--length", "3,20000", "--dtype", "float32,int8", "--arch", "sm_90"]
    result = invoke(*options, "--backend", "cpu,cuda", "--operation", "sort,argsort")
    assert result.exit_code == 0, result.output
    told = "Left out: argsort. No kernel for cuda does it yet."
    assert told in result.stderr.splitlines()
    assert {(kernel.target, kernel.payload) for kernel in asked} == {
        ("cpu", "none"), ("cpu", "index"), ("cuda", "none"),
    }  # fmt: skip
    result = invoke(*options, "--backend", "cuda", "--operation", "argsort")
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith(f"{told}\n")
    assert "nothing is left to compile: the lines above say why." in result.stderr
    assert not fresh_cache.exists()


@pytest.mark.parametrize("backend", ["cpu", "cuda", "hip"])
@pytest.mark.parametrize("dtype", ["int8", "float16", "float32", "float64"])
def test_longest_is_the_last_length_with_a_kernel(backend, dtype):
    arch = {"cpu": _CPU, "cuda": "sm_90", "hip": "gfx942"}[backend]
    longest = prewarm.longest(backend, arch, dtype)
    assert prewarm.kernels(backend, arch, [dtype], [longest]) != []
    assert prewarm.kernels(backend, arch, [dtype], [longest + 1]) == []


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--length"),
        (["--length", ""], "2-32,64"),
        (["--length", "1"], "'1' is neither a length of at least 2 nor a range"),
        (["--length", "9-3"], "'9-3'"),
        (["--length", "0-3"], "'0-3'"),
        (["--length", "3-"], "'3-'"),
        (["--length", "three"], "'three'"),
        (["--length", "12345678"], "'12345678'"),
        (["--length", "3", "--backend", "vulkan"], "'vulkan' is not one of cpu, cuda, hip"),
        (["--length", "3", "--backend", ","], "expected a list of cpu, cuda, hip"),
        (["--length", "3", "--dtype", "float33"], "'float33' is not one of"),
        (["--length", "3", "--dtype", ""], "expected a list of"),
        (["--length", "3", "--operation", "median"], "'median' is not one of sort, argsort"),
        (["--length", "3", "--operation", ""], "expected a list of sort, argsort"),
        (["--length", "3", "--arch", "z80"], "'z80' is neither a CPU target"),
        (["--length", "3", "--arch", "gfx803"], "'gfx803'"),
        (["--length", "3", "--arch", "sm_90a"], "'sm_90a' names features"),
        (["--length", "3", "--arch", "sm_90a"], "use sm_90."),
        (["--length", "3", "--arch", "sm_120f"], "use sm_120."),
        (["--length", "3", "--arch", "gfx942:xnack-"], "use gfx942."),
        (["--length", "3", "--arch", "sm_90b"], "'sm_90b' is neither a CPU target"),
        (["--length", "3", "--arch", "sm_90"], "--backend does not list cuda"),
        (
            ["--length", "3", "--backend", "cuda"],
            "--backend cuda needs a target in --arch, such as sm_90",
        ),
        (["--length", "3", "--backend", "hip", "--arch", "sm_90"], "does not list cuda"),
        (["--length", "3", "--jobs", "0"], "0"),
        (["--length", "3", "--into", __file__], "is a file"),
        (["--length", "3", "--into", ""], "'--into': expected a path, got an empty one"),
        (["--length", "3", "--manifest", "/"], "/"),
        (["--length", "3", "--manifest", ""], "'--manifest': expected a path, got an empty one"),
        (["--length", "3", "more"], "more"),
    ],
)
def test_prewarm_with_wrong_command_line_says_what_is_wrong(
    arguments, said, fresh_cache, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.output.split())
    assert not fresh_cache.exists()
    assert list(tmp_path.iterdir()) == []


def test_prewarm_of_foreign_cpu_target_is_refused(fresh_cache):
    other = "x86-64" if _CPU == "aarch64" else "aarch64"
    result = invoke("--length", 3, "--arch", other)
    assert result.exit_code == 2, "as the command line is wrong"
    assert "--arch: this machine" in result.output
    assert f"does not build for '{other}'" in result.output
    assert not fresh_cache.exists()


def test_prewarm_help_has_examples_and_exit_status():
    result = invoke("--help")
    assert result.exit_code == 0
    for part in ("Examples", "Exit status", "warp-bitonic-sort prewarm", "WARP_SORT_CACHE_LAYERS"):
        assert part in result.output
    assert max(map(len, result.output.splitlines())) <= 80


# -- what sorts ask for ---------------------------------------------------------------------------

_MAX_ROWS = 300


@st.composite
def arrays(draw, longest):
    """An array of rows in some layout, its axis, and the strides of what it is sorted into."""
    dtype = draw(st.sampled_from(list(DTYPES)))
    length = draw(st.integers(2, 40) | st.integers(2, longest))
    rows = draw(st.integers(1, 8) | st.integers(1, _MAX_ROWS))
    more = draw(st.integers(1, 3))
    layout = draw(st.sampled_from(["rows", "padded", "strided", "columns", "batches", "middle"]))
    word = np.empty(1, np.int8)

    def like(shape, *strides):
        return np.lib.stride_tricks.as_strided(word, shape, strides)

    x, axis = {
        "rows": (like((rows, length), length, 1), 1),
        "padded": (like((rows, length), length + more, 1), 1),
        "strided": (like((rows, length), length * (1 + more), 1 + more), 1),
        "columns": (like((length, rows), rows, 1), 0),
        "batches": (like((more, rows, length), rows * length, length, 1), 2),
        "middle": (like((more, length, rows), length * rows, rows, 1), 1),
    }[layout]
    out = draw(st.sampled_from(["as x", "dense"]))
    dense = np.empty(x.shape, np.int8).strides
    return dtype, x.shape, x.strides, x.strides if out == "as x" else dense, axis


@settings(max_examples=300)
@given(arrays(20_000))
def test_kernels_include_what_any_cpu_sort_needs(array):
    dtype, shape, x_strides, out_strides, axis = array
    asked = plan_sort(DTYPES[dtype], shape, x_strides, out_strides, axis, _CPU)
    built = prewarm.kernels("cpu", _CPU, [dtype], [shape[axis]])
    assert asked.kernel is None or asked.kernel in built


@settings(max_examples=300)
@given(
    arrays(70_000),
    st.sampled_from(["sm_80", "sm_90", "sm_120", "gfx90a", "gfx942", "gfx1100", "gfx11-generic"]),
    st.sampled_from([(), ("sort",), ("sort", "transpose")]),
)
def test_kernels_include_what_any_gpu_sort_needs(array, arch, capabilities):
    dtype, shape, x_strides, out_strides, axis = array
    backend = "cuda" if arch.startswith("sm") else "hip"
    try:
        asked = plan_sort(DTYPES[dtype], shape, x_strides, out_strides, axis, arch, capabilities)
    except NotImplementedError:
        return
    if asked.transposes:
        # The library copies the array first, and it is sorted in that layout.
        moved = (*shape[:axis], *shape[axis + 1 :], shape[axis])
        dense = np.empty(moved, np.int8).strides
        asked = plan_sort(DTYPES[dtype], moved, dense, dense, len(moved) - 1, arch, capabilities)
    built = prewarm.kernels(backend, arch, [dtype], [shape[axis]])
    assert asked.kernel is None or asked.kernel in built


@settings(max_examples=60)
@given(
    st.sampled_from([name for name in DTYPES if hasattr(np, name)]),
    st.integers(2, 100),
    st.integers(1, 9),
    st.sampled_from(["C", "F", "every other"]),
    st.sampled_from([0, 1]),
)
def test_kernels_include_what_explain_names(dtype, length, rows, layout, axis):
    shape = (length, rows) if axis == 0 else (rows, length)
    x = np.zeros(tuple(2 * size for size in shape), dtype)[::2, ::2]
    if layout != "every other":
        x = np.zeros(shape, dtype, order=layout)
    said = warp_bitonic_sort.explain(x, axis=axis)
    names = [kernel.name for kernel in prewarm.kernels("cpu", _CPU, [dtype], [length])]
    assert said.kernel in names


def test_kernels_of_a_wrong_target_raise():
    with pytest.raises(ToolError, match="'sm_90' is not an architecture of hip"):
        prewarm.kernels("hip", "sm_90", ["float32"], [3])
    with pytest.raises(ToolError, match="expected one of .*got 'z80'"):
        prewarm.kernels("cpu", "z80", ["float32"], [3])
    assert prewarm.kernels("cpu", _CPU, ["float32"], [1, 10**6]) == []
    assert RUNTIME not in prewarm.kernels("cpu", _CPU, ["float32"], [3])


def test_prewarm_into_complete_folder_builds_nothing_elsewhere(whole_layer, fresh_cache, tmp_path):
    """The folder's own runtime checks its kernels; the user's cache stays empty."""
    folder = children.copy(whole_layer, tmp_path / "layer")
    done = children.program("prewarm", "--length", 3, "--into", folder)
    assert done.returncode == 0, done.stderr
    assert not fresh_cache.exists()


@pytest.mark.parametrize("umask", [0, 0o027, 0o077])
@pytest.mark.usefixtures("half_cache")
@pytest.mark.compile
def test_prewarm_into_layer_lets_other_users_read_it(tmp_path, umask):
    """Whatever the umask is. Only its owner can write it."""
    layer = tmp_path / "a new folder" / "layer"
    code = f"""
        import os
        os.umask({umask})
        from warp_bitonic_sort.cli import main
        main(["prewarm", "--length", "33", "--into", {str(layer)!r}])
    """
    done = children.run(code)
    assert done.returncode == 0, done.stderr
    for path in [layer.parent, layer, *layer.rglob("*")]:
        wanted = 0o755 if path.is_dir() else 0o644
        assert path.stat().st_mode & 0o7777 == wanted, path


def test_prewarm_into_layer_takes_no_lock(half_cache, tmp_path):
    """Any user who may read its folders could hold its locks for ever."""
    layer = children.copy(half_cache, tmp_path / "layer")
    shutil.rmtree(layer / "v1" / "locks")
    code = f"""
        import sys
        def audit(name, args):
            assert name != "fcntl.flock", args
        sys.addaudithook(audit)
        from warp_bitonic_sort.cli import main
        main(["prewarm", "--length", "33", "--into", {str(layer)!r}])
    """
    done = children.run(code)
    assert done.returncode == 0, done.stderr
    assert list(layer.rglob("*lock*")) == []


def test_manifest_through_a_link_is_written_to_its_target(whole_layer, tmp_path):
    """The link's target is written, and the link stays."""
    layer = children.copy(whole_layer, tmp_path / "layer")
    home = tmp_path / "home"
    (home / "there").mkdir(parents=True)
    link, target = home / "list.json", home / "there" / "list.json"
    link.symlink_to("there/list.json")
    for _ in range(2):
        done = children.program("prewarm", "--length", 3, "--into", layer, "--manifest", link)
        assert done.returncode == 0, done.stderr
        assert link.is_symlink()
        assert len(checked(target)) == 4
        assert sorted(path.name for path in home.rglob("*")) == [
            "list.json", "list.json", "there",
        ]  # fmt: skip


def test_manifest_into_a_stream_is_written_through(whole_layer, tmp_path):
    """A device or a pipe is written through, and stays what it is."""
    # Like /dev/stdout, which a failing test could replace.
    layer = children.copy(whole_layer, tmp_path / "layer")
    out = tmp_path / "stdout"
    out.symlink_to("/proc/self/fd/1")
    done = children.program("prewarm", "--length", 3, "--into", layer, "--manifest", out)
    assert done.returncode == 0, done.stderr
    assert out.is_symlink()
    first, second = done.stdout.splitlines()
    assert len(json.loads(first)["artifacts"]) == 4
    assert second.startswith("4 of 4 artifacts are there (")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        prewarm.write_manifest([], pipe)
        assert json.loads(os.read(reader, 1000)) == {"complete": True, "artifacts": []}
    finally:
        os.close(reader)
    assert pipe.is_fifo()


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


def test_prewarm_help_lists_the_targets():
    text = invoke("--help").output
    for target in (*CPU_ARCHS, "sm_90", "gfx942", "gfx9-4-generic", "native"):
        assert target in text
    assert max(map(len, text.splitlines())) <= 80


def test_prewarm_for_native_builds_for_the_machines_devices(half_cache, monkeypatch):
    """For each listed back end, and together with named architectures."""
    devices = {"cuda": ["sm_80", "sm_90"], "hip": ["gfx942"], "cpu": [HOST.native_archs()[0]]}
    asked = []
    for name, target in TARGETS.items():
        monkeypatch.setattr(target, "native_archs", functools.partial(devices.__getitem__, name))
    monkeypatch.setattr(prewarm, "build", lambda wanted, *_: asked.extend(wanted) or [])
    for backends, archs, wanted in (
        ("cpu", "native", devices["cpu"]),
        ("cuda,cpu", "native", ["sm_80", "sm_90", *devices["cpu"]]),
        ("cuda,hip", "native,sm_90,sm_120", ["sm_80", "sm_90", "sm_120", "gfx942"]),
    ):
        asked.clear()
        result = invoke("--backend", backends, "--arch", archs, "--length", 3)
        assert result.exit_code == 0, result.output
        assert {kernel.arch for kernel in asked} == set(wanted)
    devices["hip"] = []
    result = invoke("--backend", "hip", "--arch", "native", "--length", 3)
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert "--arch native: no device of the back end hip is found here. Name a target" in said
    assert "gfx942" in said
    assert half_cache


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
