"""Folders on file systems that are mounted noexec: where kernels are loaded from instead."""

import os
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from support import children, cubin
from support.children import ANSWER, KERNEL, NO_COMPILER, SORT
from support.descriptions import cuda_kernel
from warp_bitonic_sort import kernels
from warp_bitonic_sort.jit.store import layers, mounts
from warp_bitonic_sort.jit.store.key import build_text
from warp_bitonic_sort.jit.store.store import Store

_SAID = "is on a file system that is mounted noexec, so that no library can be loaded from there"


@pytest.fixture
def folder(tmp_path):
    """A folder to mount something on."""
    (tmp_path / "mount").mkdir()
    return tmp_path / "mount"


@pytest.fixture
def noexec(monkeypatch):
    """Have this process take some folders, and what is in them, for mounted noexec."""
    closed = []

    def statvfs(path):
        Path(path).stat()
        is_closed = any(f"{path}/".startswith(f"{each}/") for each in closed)
        return SimpleNamespace(f_flag=os.ST_NOEXEC if is_closed else 0)

    monkeypatch.setattr(mounts.os, "statvfs", statvfs)
    return closed


# -- recognised -----------------------------------------------------------------------------------


def test_is_noexec_of_a_folder_that_is_not_there_is_that_of_the_next_above(tmp_path, noexec):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "not" / "there", tmp_path / "file" / "in it"):
        assert not mounts.is_noexec(path)
    noexec.append(tmp_path)
    for path in (tmp_path, tmp_path / "not" / "there", tmp_path / "file" / "in it"):
        assert mounts.is_noexec(path)
    assert not mounts.is_noexec(tmp_path.parent)


def test_is_noexec_of_a_folder_that_cannot_be_asked_is_false(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(mounts.os, "statvfs", denied)
    assert not mounts.is_noexec(tmp_path)


def test_temporary_parent_is_the_first_that_is_not_noexec(tmp_path, noexec, monkeypatch):
    for name in ("usual", "closed", "other"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "usual"))
    monkeypatch.setattr(mounts, "_OTHERS", (str(tmp_path / "closed"), str(tmp_path / "other")))
    assert mounts.temporary_parent() == str(tmp_path / "usual")
    noexec += [tmp_path / "usual", tmp_path / "closed"]
    assert mounts.temporary_parent() == str(tmp_path / "other")
    noexec.append(tmp_path / "other")
    assert mounts.temporary_parent() is None


# -- the cache ------------------------------------------------------------------------------------

_HOME = {"WARP_SORT_CACHE_DIR": None, "XDG_CACHE_HOME": None}


@pytest.mark.parametrize("role", ["cache", "home"])
@pytest.mark.parametrize("is_warm", [False, True])
@pytest.mark.usefixtures("runtime_layer")
@pytest.mark.compile
def test_sort_with_a_noexec_cache_works_from_a_temporary_folder(
    folder, warm_cache, tmp_path, role, is_warm
):
    (tmp_path / "tmp").mkdir()
    how = {"WARP_SORT_CACHE_DIR": folder, "TMPDIR": tmp_path / "tmp"}
    root = folder
    if role == "home":
        how |= {**_HOME, "HOME": folder}
        root = folder / ".cache" / "warp_bitonic_sort" / "jit"
    before = children.noexec(folder, warm_cache if is_warm else None)
    done = children.run(before=before, **how)
    assert done.stdout.strip() == ANSWER, done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    assert f"the cache folder {root} {_SAID}. Set WARP_SORT_CACHE_DIR to a folder" in done.stderr
    assert f"into {tmp_path / 'tmp' / 'warp-sort-'}" in done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.usefixtures("runtime_layer")
@pytest.mark.compile
def test_sort_with_an_unwritable_cache_and_a_noexec_tmpdir_works(folder, tmp_path):
    (tmp_path / "file").touch()
    before = children.noexec(folder)
    done = children.run(before=before, TMPDIR=folder, WARP_SORT_CACHE_DIR=tmp_path / "file" / "in")
    assert done.stdout.strip() == ANSWER, done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    assert f"the cache folder {tmp_path}/file/in cannot be written" in done.stderr
    assert str(folder) not in done.stderr


def test_sort_where_nothing_can_be_executed_names_the_setting(folder):
    code = "from warp_bitonic_sort.jit.store import mounts; mounts._OTHERS = ()\n" + SORT
    how = {"WARP_SORT_CACHE_DIR": folder / "cache", "TMPDIR": folder}
    done = children.run(code, before=children.noexec(folder), **how)
    last = done.stderr.splitlines()[-1]
    assert f"CacheError: the cache folder {folder}/cache {_SAID}. Set WARP_SORT_CACHE_DIR" in last
    assert "RuntimeWarning" not in done.stderr


def test_sort_with_a_noexec_cache_and_no_compiler_says_why(folder, warm_cache):
    before = children.noexec(folder, warm_cache)
    done = children.run(before=before, WARP_SORT_CACHE_DIR=folder, **NO_COMPILER)
    last = done.stderr.splitlines()[-1]
    assert "ToolError: runtime" in last
    assert f"({folder} holds runtime on a file system that is mounted noexec" in last


def test_prewarm_into_a_noexec_folder_names_it(folder, tmp_path):
    arguments = ["prewarm", "--length", "3", "--into", str(folder / "layer")]
    code = f"from warp_bitonic_sort.cli import main; main({arguments!r})"
    done = children.run(code, before=children.noexec(folder), WARP_SORT_CACHE_DIR=tmp_path / "own")
    assert done.returncode == 1
    assert f"the cache folder {folder}/layer {_SAID}. Set --into" in done.stderr


@pytest.mark.parametrize("artifact", [kernels.RUNTIME, KERNEL], ids=["runtime", "kernel"])
@pytest.mark.compile
def test_library_that_a_policy_does_not_let_map_is_built_in_a_temporary_folder(
    folder, whole_layer, tmp_path, artifact
):
    """statvfs does not show such a policy; only dlopen fails."""
    layer = children.copy(whole_layer, tmp_path / "layer")
    shutil.rmtree(children.folder_of(layer, artifact))
    code = f"""
        import os, types
        os.statvfs = lambda _: types.SimpleNamespace(f_flag=0)
        {SORT}
    """
    how = {"WARP_SORT_CACHE_LAYERS": layer, "WARP_SORT_CACHE_DIR": folder}
    done = children.run(code, before=children.noexec(folder), **how)
    assert done.stdout.strip() == ANSWER, done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    assert f"{artifact.name}/library.so cannot be executed: " in done.stderr
    assert "failed to map segment from shared object" in done.stderr
    assert "Set WARP_SORT_CACHE_DIR to a folder on another file system" in done.stderr


def test_gpu_kernels_are_found_in_a_noexec_cache(tmp_path, noexec):
    noexec.append(tmp_path)
    kernel = cuda_kernel("ieee", 32, 4, 0, 0, "rows", "sm_90")
    entry = children.publish_product(Store(tmp_path), kernel, cubin.cubin(cubin.constant(), 90))
    assert Store(tmp_path).find(kernel, build_text(kernel), "c++ 1") == entry


# -- layers ---------------------------------------------------------------------------------------


def test_noexec_layer_is_left_out_with_one_warning(folder, whole_layer, half_cache):
    code = f"{SORT}\n{children.OTHER_SORT}"
    before = children.noexec(folder, whole_layer)
    done = children.run(code, before=before, WARP_SORT_CACHE_LAYERS=folder)
    assert done.stdout.split("\n")[:2] == [ANSWER, children.OTHER_ANSWER], done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    assert f"the layer {folder} {_SAID}: only its kernels for GPUs are used" in done.stderr
    assert len(children.entries(half_cache)) == 3


def test_noexec_layer_without_a_compiler_is_named_with_the_reason(folder, whole_layer, fresh_cache):
    before = children.noexec(folder, whole_layer)
    done = children.run(before=before, WARP_SORT_CACHE_LAYERS=folder, **NO_COMPILER)
    last = done.stderr.splitlines()[-1]
    assert f"{folder} is left out, for it is on a noexec file system" in last
    assert not fresh_cache.exists()


def test_gpu_kernels_of_a_noexec_layer_are_used(tmp_path, noexec, monkeypatch):
    kernel = cuda_kernel("ieee", 32, 4, 0, 0, "rows", "sm_90")
    entry = children.publish_product(Store(tmp_path), kernel, cubin.cubin(cubin.constant(), 90))
    noexec.append(tmp_path)
    monkeypatch.setenv("WARP_SORT_CACHE_LAYERS", str(tmp_path))
    monkeypatch.setattr(layers, "_unusable", set())
    with pytest.warns(RuntimeWarning, match="only its kernels for GPUs are used"):
        layers.look_up([kernels.RUNTIME], layers.all_layers(), [])
    assert layers.look_up([kernel], layers.all_layers(), []) == {kernel.name: entry}


# -- doctor ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["WARP_SORT_CACHE_DIR", "WARP_SORT_CACHE_LAYERS"])
def test_doctor_reports_a_noexec_folder(folder, warm_cache, tmp_path, role):
    code = "from warp_bitonic_sort.cli import main; main(['doctor', '--no-build'])"
    how = {"WARP_SORT_CACHE_DIR": tmp_path / "cache", role: folder}
    done = children.run(code, before=children.noexec(folder, warm_cache), **how)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{folder} is on a file system that is mounted noexec" in done.stdout
    assert "  Fix: " in done.stdout
    assert "another file system" in done.stdout
    assert done.stderr == ""


def test_doctor_says_that_nothing_works_where_nothing_can_be_executed(folder):
    code = "from warp_bitonic_sort.jit.store import mounts; mounts._OTHERS = ()\n"
    code += "from warp_bitonic_sort.cli import main; main(['doctor', '--no-build'])"
    how = {"WARP_SORT_CACHE_DIR": folder / "cache", "TMPDIR": folder}
    done = children.run(code, before=children.noexec(folder), **how)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "kernels are compiled nowhere" in done.stdout
