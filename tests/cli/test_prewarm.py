"""The command ``prewarm``: it fills caches and layers, and lists the artifacts."""

import importlib.util
import json
import os
import re
import shutil
from pathlib import Path

import pytest

from support import children
from support.children import ANSWER, KERNEL, NO_COMPILER
from support.cpu_targets import FOREIGN
from support.prewarm_lists import checked
from warp_bitonic_sort import prewarm
from warp_bitonic_sort.kernels import RUNTIME
from warp_bitonic_sort.targets import HOST

_CPU = HOST.arch_for()


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


def test_documents_give_the_number_of_artifacts_of_a_wheel():
    pytest.importorskip("hatchling")
    root = Path(__file__).parents[2]
    spec = importlib.util.spec_from_file_location("hatch_build", root / "hatch_build.py")
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    levels = hook._LEVELS["x86_64"].split(",")
    kernels = set()
    for options in hook._COMMON:
        _, operations, _, dtypes, _, lengths = options.split()
        numbers = [number for first, last in re.findall(r"(\d+)(?:-(\d+))?", lengths)
                   for number in range(int(first), int(last or first) + 1)]  # fmt: skip
        for arch in levels:
            kernels.update(
                prewarm.kernels("cpu", arch, dtypes.split(","), numbers, operations.split(","))
            )
    of_one = {kernel for kernel in kernels if kernel.arch == levels[0]}
    said = f"{len(kernels) + 1} artifacts (on Arm {len(of_one) + 1})"
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


def test_prewarm_for_another_machine_loads_nothing_and_keeps_the_layer_of_this_one(
    whole_layer, tmp_path
):
    """A library whose header names another machine is one that does not load here."""
    machine = {"x86-64": "\\076", "aarch64": "\\267"}[FOREIGN]
    renamed = f"printf '{machine}' | dd of=\"$product\" bs=1 seek=18 conv=notrunc status=none"
    compiler = children.script(
        tmp_path / "c++",
        'if [ "$1" = --version ]; then exec $CXX "$@"; fi\n'
        '$CXX "$@" || exit\n'
        f'while [ "$1" != -o ]; do shift; done; product=$2; {renamed}',
    )
    layer = children.copy(whole_layer, tmp_path / "layer")
    order = ("prewarm", "--length", 3, "--arch", FOREIGN, "--into", layer)
    done = children.program(*order, CXX=compiler)
    assert done.returncode == 0, done.stderr
    there = checked(layer / "prewarm.json")
    assert {each["arch"] for each in there.values()} == {FOREIGN}
    assert "runtime" in there
    assert len(children.entries(layer)) == len(children.entries(whole_layer)) + len(there)
    assert children.leftovers(layer) == ["prewarm.json"]
    # Again, by a compiler that cannot build for the other machine: all is found.
    assert children.program(*order).returncode == 0
    done = children.run(WARP_SORT_CACHE_LAYERS=layer, **NO_COMPILER)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")


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
    assert {RUNTIME.arch, *(kernel.arch for kernel in wanted)} == {
        each["arch"] for each in there.values()
    }
    assert children.leftovers(folder / "layer") == []


@pytest.mark.compile
def test_prewarm_without_a_gpu_builds_cuda_kernels(nvcc, tmp_path):
    assert nvcc
    _gpu_layer(tmp_path, "cuda", "sm_90")


@pytest.mark.compile
def test_prewarm_without_a_gpu_builds_hip_kernels(hip_compiler, tmp_path):
    hip_compiler("gfx942")
    _gpu_layer(tmp_path, "hip", "gfx942")


def test_prewarm_with_nothing_to_build_makes_no_cache(whole_layer, fresh_cache):
    """Layers have every artifact: no cache is made for the list alone."""
    done = children.program("prewarm", "--length", 3, WARP_SORT_CACHE_LAYERS=whole_layer)
    assert done.returncode == 0, done.stderr
    assert re.search("^4 of 4 artifacts are there .*MB\\)$", done.stdout)
    assert not fresh_cache.exists()


def test_prewarm_into_complete_folder_builds_nothing_elsewhere(whole_layer, fresh_cache, tmp_path):
    """The folder's own runtime checks its kernels; the user's cache stays empty."""
    folder = children.copy(whole_layer, tmp_path / "layer")
    done = children.program("prewarm", "--length", 3, "--into", folder)
    assert done.returncode == 0, done.stderr
    assert not fresh_cache.exists()


@pytest.mark.parametrize("umask", [0, 0o077])
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
