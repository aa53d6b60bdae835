"""Disks and folders that are full, read-only, or another user's."""

import json
import shutil
from pathlib import Path

import pytest

from support import children
from support.children import ANSWER, OTHER_ANSWER, OTHER_SORT, SORT

_SORT_TWICE = f"""
{SORT}
{OTHER_SORT}
from warp_bitonic_sort.jit.store import layers
print(*[each.root for each in layers._temporary.values()])
"""


def _sorts_as_nothing_can_be_written(folder, tmp_path, reason, **how):
    said = f"the cache folder {folder} cannot be written: {reason}"
    done = _sorts_from_a_temporary_folder(tmp_path, said, **how)
    assert "WARP_SORT_CACHE_DIR" in done.stderr


def _sorts_from_a_temporary_folder(tmp_path, reason, prelude="", **how):
    """Two kernels are built, with one warning; then the folder that they were built in is gone."""
    (tmp_path / "tmp").mkdir()
    done = children.run(prelude + _SORT_TWICE, TMPDIR=tmp_path / "tmp", **how)
    first, second, temporary = done.stdout.splitlines()
    assert (first, second) == (ANSWER, OTHER_ANSWER), done.stderr
    assert done.stderr.count("RuntimeWarning") == 1, done.stderr
    assert reason in done.stderr
    assert temporary in done.stderr
    assert Path(temporary).parent == tmp_path / "tmp"
    assert list((tmp_path / "tmp").iterdir()) == []
    return done


@pytest.mark.usefixtures("runtime_layer")
@pytest.mark.compile
def test_sort_without_a_home_folder_uses_a_temporary_one(tmp_path):
    home = tmp_path / "nowhere"
    how = {"HOME": home, "XDG_CACHE_HOME": None, "WARP_SORT_CACHE_DIR": None}
    folder = home / ".cache" / "warp_bitonic_sort" / "jit"
    reason = f"the home folder does not exist ({home})"
    _sorts_as_nothing_can_be_written(folder, tmp_path, reason, **how)
    assert not home.exists()


_DEFAULT = {"XDG_CACHE_HOME": None, "WARP_SORT_CACHE_DIR": None}


@pytest.fixture
def foreign_home(tmp_path, monkeypatch):
    """A home of another user's: root keeps one with sudo, or finds the host's in a container."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".cache").mkdir(parents=True)
    return tmp_path / "home"


def _give_away(home):
    if children.IS_ROOT:
        children.own(home, children.ALICE)
        return {"user": 0}
    return {"user": children.BOB}


@pytest.mark.skipif(not children.IS_ROOT, reason="root alone has another user's home")
@pytest.mark.parametrize("is_warm", [False, True])
@pytest.mark.usefixtures("runtime_layer")
@pytest.mark.compile
def test_sort_in_home_of_another_user_uses_a_temporary_folder(
    foreign_home, warm_cache, tmp_path, is_warm
):
    """Nothing is loaded from there, and nothing is written there."""
    folder = foreign_home / ".cache" / "warp_bitonic_sort" / "jit"
    if is_warm:
        folder.parent.mkdir()
        children.copy(warm_cache, folder)
    how = {**_give_away(foreign_home), **_DEFAULT}
    before = sorted(foreign_home.rglob("*"))
    compiler, compiled = children.counting(tmp_path)
    reason = f"nothing is loaded from {folder}: "
    done = _sorts_from_a_temporary_folder(tmp_path, reason, CXX=compiler, **how)
    assert "belongs to another user" in done.stderr
    assert "WARP_SORT_TRUSTED_DIRS" in done.stderr
    assert len(compiled()) == 2
    assert sorted(foreign_home.rglob("*")) == before
    trusting = children.run(CXX=compiler, WARP_SORT_TRUSTED_DIRS=foreign_home, **how)
    assert (trusting.stdout.strip(), trusting.stderr) == (ANSWER, "")
    assert len(children.entries(folder)) == (2 if is_warm else 1)


@pytest.mark.parametrize("variable", ["WARP_SORT_CACHE_DIR", "XDG_CACHE_HOME"])
@pytest.mark.parametrize("is_layer", [False, True])
def test_sort_with_named_folder_of_another_user_raises(
    foreign_home, whole_layer, variable, is_layer
):
    """A folder that the user named is never replaced silently."""
    named = children.copy(whole_layer, foreign_home / "named")
    how = {**_give_away(foreign_home), **_DEFAULT}
    how["WARP_SORT_CACHE_LAYERS" if is_layer else variable] = named
    done = children.run(**how)
    assert done.stdout == ""
    assert f"TrustError: nothing is loaded from {named}" in done.stderr.splitlines()[-1]
    assert "RuntimeWarning" not in done.stderr


@pytest.mark.parametrize("is_named", [False, True])
def test_doctor_blocks_on_a_named_folder_of_another_user_only(foreign_home, is_named):
    given = _give_away(foreign_home)
    how = {**_DEFAULT, "WARP_SORT_CACHE_DIR": foreign_home / "named"} if is_named else _DEFAULT
    done = children.program("doctor", "--no-build", "--json", **given, **how)
    (problem,) = (
        each for each in json.loads(done.stdout)["problems"] if "nothing is" in each["what"]
    )
    assert "belongs to another user" in problem["what"]
    assert problem["blocking"] is is_named


def test_sort_reads_no_compiler_answers_of_another_user(foreign_home, warm_cache):
    """Not even in an empty cache: the compiler's version is looked up first."""
    children.copy(warm_cache, foreign_home / "named")
    shutil.rmtree(foreign_home / "named" / "v1" / "entries")
    code = f"""
        import json
        from warp_bitonic_sort.jit.store import store
        answers, read = [], store.read_json
        store.read_json = lambda file: (answers.append(file), read(file))[1]
        try:
            {SORT}
        finally:
            print(answers)
    """
    how = {**_give_away(foreign_home), "WARP_SORT_CACHE_DIR": foreign_home / "named"}
    done = children.run(code, **how)
    assert "TrustError: nothing is loaded from" in done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not children.IS_ROOT, reason="root alone has another user's home")
@pytest.mark.usefixtures("runtime_layer")
@pytest.mark.compile
def test_threads_in_home_of_another_user_warn_once(foreign_home):
    """All of them go on in the same temporary folder, and one warns."""
    code = """
        import warnings
        from concurrent.futures import ThreadPoolExecutor
        import numpy as np, warp_bitonic_sort as w
        with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(4) as pool:
            warnings.simplefilter("always")
            rows = [np.float32([[3, 1, 2, 0][:n]]) for n in (2, 3, 2, 3)]
            assert all((y == np.sort(x)).all() for x, y in zip(rows, pool.map(w.sort, rows)))
        assert len(caught) == 1, caught
        print("done")
    """
    done = children.run(code, **_give_away(foreign_home), **_DEFAULT)
    assert done.stdout.strip() == "done", done.stderr


_UNLISTED = """
import pwd
def getpwuid(number):
    raise KeyError(number)
pwd.getpwuid = getpwuid
"""


@pytest.mark.usefixtures("runtime_layer")
@pytest.mark.compile
def test_sort_of_user_without_a_home_uses_a_temporary_folder(tmp_path, monkeypatch):
    """Without HOME or an entry in the user database. The current folder stays empty."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    how = {"HOME": None, "XDG_CACHE_HOME": None, "WARP_SORT_CACHE_DIR": None}
    folder = Path("/nonexistent/.cache/warp_bitonic_sort/jit")
    reason = "the home folder does not exist (/nonexistent)"
    _sorts_as_nothing_can_be_written(folder, tmp_path, reason, prelude=_UNLISTED, **how)
    code = "from warp_bitonic_sort.cli import main; main(['doctor', '--no-build'])"
    done = children.run(_UNLISTED + code, **how)
    assert f"the cache folder {folder} cannot be written ({reason})" in done.stdout, done.stderr
    assert list((tmp_path / "here").iterdir()) == []


def test_sort_in_read_only_cache_builds_in_a_temporary_folder(half_cache, tmp_path):
    """It is read, too: the runtime is in it."""
    before = children.read_only(half_cache)
    how = {"before": before, "WARP_SORT_TRUSTED_DIRS": tmp_path}
    compiler, compiled = children.counting(tmp_path)
    reason = "Read-only file system"
    _sorts_as_nothing_can_be_written(half_cache, tmp_path, reason, CXX=compiler, **how)
    assert "runtime" not in compiled()
    assert len(compiled()) == 2


def test_hit_in_a_read_only_cache_gives_no_warning(cache_copy, tmp_path):
    before = children.read_only(cache_copy)
    for compiler in ({}, {"CXX": children.counting(tmp_path)[0]}, children.NO_COMPILER):
        done = children.run(before=before, WARP_SORT_TRUSTED_DIRS=tmp_path, **compiler)
        assert (done.stdout.strip(), done.stderr) == (ANSWER, "")


# What does not fit: the first file, what is staged, and the library.
@pytest.mark.parametrize("size", ["4k", "16k", "40k"])
@pytest.mark.compile
def test_sort_on_a_full_disk_builds_in_a_temporary_folder(tmp_path, size):
    folder = tmp_path / "disk"
    folder.mkdir()
    how = {"before": children.full(folder, size), "WARP_SORT_TRUSTED_DIRS": tmp_path}
    how["WARP_SORT_CACHE_DIR"] = folder
    _sorts_as_nothing_can_be_written(folder, tmp_path, "No space left on device", **how)


@pytest.mark.usefixtures("runtime_layer")
@pytest.mark.compile
def test_forked_child_leaves_the_temporary_folder_to_its_parent(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir()
    code = f"""
        import os, sys, warnings
        warnings.simplefilter("ignore")
        {SORT}
        from pathlib import Path
        from warp_bitonic_sort.jit.store import layers
        (cache,) = layers._temporary.values()
        sys.stdout.flush()  # or the child prints it again
        child = os.fork()
        if child == 0:
            sys.exit()
        os.waitpid(child, 0)
        print(cache.root.is_dir())
        {OTHER_SORT}
    """
    done = children.run(
        code, TMPDIR=tmp_path / "tmp", WARP_SORT_CACHE_DIR=tmp_path / "file" / "cache"
    )
    assert done.stdout.splitlines() == [ANSWER, "True", OTHER_ANSWER], done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("fork", ["os.fork", "multiprocessing"])
@pytest.mark.usefixtures("runtime_layer")
@pytest.mark.compile
def test_forked_child_has_a_temporary_folder_of_its_own(tmp_path, fork):
    """It may outlive its parent, whose folder it neither fills nor makes again; both go."""
    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir()
    code = f"""
        import multiprocessing, os, sys, warnings
        warnings.simplefilter("ignore")
        {SORT}
        from warp_bitonic_sort.jit.store import layers
        (ours,) = (each.root for each in layers._temporary.values())
        def child():
            import shutil
            shutil.rmtree(ours)  # as the parent does when it ends
            {OTHER_SORT}
            (theirs,) = {{each.root for each in layers._temporary.values()}} - {{ours}}
            print(theirs.is_dir(), ours.exists(), flush=True)
        child.__module__ = "__main__"
        sys.stdout.flush()
        if {fork == "os.fork"}:
            number = os.fork()
            if number == 0:
                child()
                sys.exit()
            assert os.waitpid(number, 0)[1] == 0
        else:
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
            process.join()
            assert process.exitcode == 0
        print(os.listdir({str(tmp_path / "tmp")!r}))
    """
    done = children.run(
        code, TMPDIR=tmp_path / "tmp", WARP_SORT_CACHE_DIR=tmp_path / "file" / "cache"
    )
    assert done.stdout.splitlines() == [ANSWER, OTHER_ANSWER, "True False", "[]"], done.stderr
