"""What can happen to a build and to its cache: crowds, kills, damage, disks, forks and locks."""

import errno
import fcntl
import json
import os
import shutil
import signal
import sys
import textwrap
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import warp_bitonic_sort
from support import children
from support.children import ANSWER, KERNEL, OTHER_ANSWER, OTHER_SORT, SORT
from warp_bitonic_sort import kernels
from warp_bitonic_sort.cli import main
from warp_bitonic_sort.jit.build import child
from warp_bitonic_sort.jit.store import inventory, locks, maintenance, publish

# -- crowds ---------------------------------------------------------------------------------------


def test_sixteen_cold_processes_compile_once(fresh_cache, tmp_path):
    compiler, compiled = children.counting(tmp_path)
    crowd = [children.start(CXX=compiler, WARP_SORT_CACHE_DIR=fresh_cache) for _ in range(16)]
    for process in crowd:
        out, err = process.communicate(timeout=120)
        assert (out.strip(), err) == (ANSWER, "")
    assert compiled() == sorted(["runtime", KERNEL.name])
    children.assert_sound(fresh_cache, count=2)


_THREADS = """
    import threading, numpy as np, warp_bitonic_sort as w
    rows = [np.float32([[3, 1, 2, 4, 0][:n]]) for n in {lengths}]
    rows *= 32 // len(rows)
    start, right = threading.Barrier(32), []
    def work(x):
        start.wait()
        right.append(w.sort(x).tolist() == np.sort(x).tolist())
    threads = [threading.Thread(target=work, args=(x,)) for x in rows]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(right.count(True))
"""


@pytest.mark.parametrize("lengths", [[3], [2, 3, 4, 5]])
def test_thirty_two_threads_compile_each_kernel_once(half_cache, tmp_path, lengths):
    compiler, compiled = children.counting(tmp_path)
    done = children.run(_THREADS.format(lengths=lengths), CXX=compiler)
    assert (done.stdout.strip(), done.stderr) == ("32", "")
    assert len(compiled()) == len(set(compiled())) == len(lengths)
    children.assert_sound(half_cache, count=1 + len(lengths))


# -- kills ----------------------------------------------------------------------------------------

_MORTAL = """
import os, pathlib, signal
from warp_bitonic_sort.jit.build import ninja
from warp_bitonic_sort.jit.store import files, locks, maintenance, publish
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
"""
_DIE_BY_NAME = """
replace = os.replace
os.replace = lambda a, b: die() if str(b).endswith({end!r}) else replace(a, b)
"""
_PHASES = {
    "the lock is held, and its holder half written": _DIE_BY_NAME.format(end=".holder"),
    "the lock is held": "publish.staging = die",
    "the staging folder has no lock yet": "locks.try_acquire = die",
    "everything is staged": "ninja.run = die",
    "the compiler is running": "os.environ['VICTIM'] = str(os.getpid())",
    "everything is compiled": "publish.publish = die",
    "the manifest is half written": _DIE_BY_NAME.format(end="manifest.json"),
    "the entry is about to be renamed": "pathlib.Path.rename = die",
    "the entry was renamed": (
        "rename = pathlib.Path.rename\n"
        "pathlib.Path.rename = lambda self, target: (rename(self, target), die())"
    ),
}


# Says that it builds, and does not go on.
_WAITING = """
import sys
from warp_bitonic_sort.jit.build import ninja
ninja.run = lambda *_: (print("builds", flush=True), sys.stdin.read())
"""


def _wait_for_orphans(folder):
    """Wait until no process works in a folder: ninja outlives whoever ran it for a moment."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        links = [link for link in Path("/proc").glob("[0-9]*/cwd") if _leads_into(link, folder)]
        if not links:
            return
        time.sleep(0.02)
    pytest.fail(f"processes still work in {folder}: {links}")


def _leads_into(link, folder):
    try:
        return str(link.readlink()).startswith(str(folder))
    except OSError:
        return False


def _prune(*arguments):
    result = CliRunner().invoke(main, ["cache", "prune", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("phase", _PHASES)
def test_a_build_that_is_killed_hinders_nobody(half_cache, tmp_path, phase):
    compiler = children.script(
        tmp_path / "killing-c++",
        'case "$*" in *source.cc*) [ -n "$VICTIM" ] && kill -9 $VICTIM && exit 1;; esac\n'
        'exec $CXX "$@"',
    )
    killed = children.run(f"{_MORTAL}\n{_PHASES[phase]}\n{SORT}", CXX=compiler)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    _wait_for_orphans(half_cache)
    assert children.leftovers(half_cache) != [], "a kill leaves something"
    assert len(children.entries(half_cache)) == (2 if phase == "the entry was renamed" else 1)

    done = children.run(CXX=compiler)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    children.assert_sound(half_cache, count=2)

    _prune()
    children.grow_old(half_cache, hours=25)  # a folder without a lock is left alone for a day
    _prune()
    assert children.leftovers(half_cache) == []
    children.assert_sound(half_cache, count=2)
    again = children.run(CXX="/nonexistent")
    assert (again.stdout.strip(), again.stderr) == (ANSWER, "")


def test_a_build_removes_what_killed_ones_left(half_cache, tmp_path):
    """Nobody has to prune; but what is new, or somebody works in, is left alone."""
    compiler, _ = children.counting(tmp_path)
    staging = half_cache / "v1" / "staging"
    for _ in range(3):
        killed = children.run(f"{_MORTAL}\nninja.run = die\n{SORT}", CXX=compiler)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    new = children.run(CXX=compiler)
    assert (new.stdout.strip(), new.stderr) == (ANSWER, "")
    assert len(list(staging.iterdir())) == 3, "they are new"
    with children.start(f"{_WAITING}\n{SORT}", CXX=f"{compiler} -O0") as busy:
        assert busy.stdout.readline() == "builds\n", busy.stderr.read()
        children.grow_old(staging)
        done = children.run(OTHER_SORT, CXX=compiler)
        assert (done.stdout.strip(), done.stderr) == (OTHER_ANSWER, "")
        (left,) = staging.iterdir()
        assert left.name.startswith(f"{busy.pid}-")
        busy.kill()
    assert children.run(OTHER_SORT, CXX=compiler).stdout.strip() == OTHER_ANSWER
    assert list(staging.iterdir()) == [left], "what is found takes no look"
    children.assert_sound(half_cache, count=3)


@pytest.mark.parametrize("fault", ["unreadable", "undeletable"])
def test_what_cannot_be_removed_in_passing_is_no_error(half_cache, fault):
    litter = half_cache / "v1" / "staging" / f"{publish.staging_prefix()}litter"
    litter.mkdir(parents=True)
    (litter / publish.OWNER_LOCK).touch()
    children.grow_old(litter)
    broken = {
        "unreadable": "def broken(path):\n    raise PermissionError(13, 'no', str(path))\n"
        "maintenance._folders_in = broken",
        "undeletable": "maintenance._remove = die",
    }
    code = "from warp_bitonic_sort.jit.store import maintenance\n"
    code += "def die(*_):\n    raise OSError(28, 'No space left on device')\n"
    done = children.run(f"{code}{broken[fault]}\n{SORT}")
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    assert litter.exists()


def test_a_newborn_build_is_not_pruned(half_cache):
    killed = children.run(f"{_MORTAL}\nlocks.try_acquire = die\n{SORT}")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (newborn,) = (half_cache / "v1" / "staging").iterdir()
    _prune()
    assert newborn.is_dir()


@pytest.fixture
def sleeping_compiler(tmp_path):
    """A compiler that notes the number of its process and sleeps, and the file of the numbers."""
    numbers = tmp_path / "numbers"
    compiler = children.script(
        tmp_path / "sleeping-c++",
        f'case "$*" in *source.cc*) echo $$ >>{numbers}; sleep 300;; esac\nexec $CXX "$@"',
    )
    return compiler, numbers


def _groups_of_compilers(file, process):
    """The process groups of the compilers that run, once there is one."""
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text().endswith("\n")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return {os.getpgid(int(word)) for word in file.read_text().split()}


def _are_gone(groups, seconds=20):
    """Whether all processes of some groups end within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not groups & {_group_of(file) for file in Path("/proc").glob("[0-9]*/stat")}:
            return True
        time.sleep(0.02)
    return False


def _group_of(file):
    """The process group of a process that still runs."""
    try:
        state, _, group = file.read_text().rpartition(")")[2].split()[:3]
    except OSError:
        return None
    return None if state == "Z" else int(group)


_IN_A_THREAD = f"""
import threading
thread = threading.Thread(target=lambda: exec({SORT!r}))
thread.start()
thread.join()
"""


@pytest.mark.parametrize(
    ("code", "number"),
    [
        (SORT, signal.SIGKILL),
        (SORT, signal.SIGTERM),
        (f"import signal; signal.signal(2, signal.default_int_handler)\n{SORT}", signal.SIGINT),
        (_IN_A_THREAD, signal.SIGKILL),
    ],
    ids=["SIGKILL", "SIGTERM", "SIGINT", "SIGKILL in a thread"],
)
@pytest.mark.usefixtures("half_cache")
def test_compilers_end_with_a_killed_process(sleeping_compiler, code, number):
    compiler, file = sleeping_compiler
    with children.start(code, CXX=compiler) as process:
        groups = _groups_of_compilers(file, process)
        process.send_signal(number)
        process.communicate(timeout=60)
        assert _are_gone(groups)


@pytest.mark.usefixtures("half_cache")
def test_build_that_an_exception_interrupts_ends_its_compilers(sleeping_compiler):
    compiler, file = sleeping_compiler
    code = f"""
        import signal
        def late(*_):
            raise TimeoutError("too late")
        signal.signal(signal.SIGALRM, late)
        {SORT}
    """
    with children.start(code, CXX=compiler) as process:
        groups = _groups_of_compilers(file, process)
        process.send_signal(signal.SIGALRM)
        _, err = process.communicate(timeout=60)
        assert "TimeoutError: too late" in err.splitlines()[-1]
        assert _are_gone(groups, seconds=1)


@pytest.mark.parametrize("executable", [sys.executable, "/opt/application"])
def test_run_of_a_program_that_does_not_run_gives_the_reason(tmp_path, monkeypatch, executable):
    monkeypatch.setattr(sys, "executable", executable)
    (tmp_path / "ninja").write_bytes(b"\x7fELF")
    (tmp_path / "ninja").chmod(0o755)
    for program, number in (("ninja", errno.ENOEXEC), ("nothing", errno.ENOENT)):
        with pytest.raises(child.NotRunError, match=os.strerror(number)):
            child.run([str(tmp_path / program)], os.environ)


@pytest.mark.parametrize("executable", ["/opt/application", "", None])
def test_run_in_an_embedded_python_starts_no_application(monkeypatch, executable):
    monkeypatch.setattr(sys, "executable", executable)
    assert child.run(["/bin/sh", "-c", "echo $0 $PPID; exit 3"], os.environ) == (
        f"/bin/sh {os.getpid()}\n",
        3,
    )


# -- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 63, 4096])
def test_a_truncated_library_is_built_again_and_nothing_else(cache_copy, tmp_path, keep):
    compiler, compiled = children.counting(tmp_path)
    library = children.folder_of(cache_copy, KERNEL) / "library.so"
    library.write_bytes(library.read_bytes()[:keep])
    done = children.run(CXX=compiler)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    assert compiled() == [KERNEL.name]
    children.assert_sound(cache_copy, count=2)


def test_an_entry_that_is_a_file_is_replaced(cache_copy):
    folder = children.folder_of(cache_copy, KERNEL)
    shutil.rmtree(folder)
    folder.write_text("in the way")
    done = children.run()
    assert done.stdout.strip() == ANSWER, done.stderr
    children.assert_sound(cache_copy, count=2)


@pytest.mark.parametrize("file", ["library.so", "manifest.json"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(cache_copy, tmp_path, file):
    """Nobody may ever write to it: it is as good as not there."""
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


# -- libraries of another system ------------------------------------------------------------------


_BOTH_LIBRARIES = pytest.mark.parametrize(
    "artifact", [kernels.RUNTIME, KERNEL], ids=["runtime", "kernel"]
)


@_BOTH_LIBRARIES
@pytest.mark.compile
def test_what_does_not_load_is_built_again_and_replaced(cache_copy, tmp_path, artifact):
    """A home that is shared with an older system, say, has what only the newer one can load."""
    children.break_library(cache_copy, artifact)
    compiler, compiled = children.counting(tmp_path)
    for _ in range(2):
        done = children.run(CXX=compiler)
        assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
        assert compiled() == [artifact.name]
    children.assert_sound(cache_copy, count=2)


@pytest.mark.compile
def test_a_runtime_that_does_not_load_beside_a_kernel_that_is_missing(half_cache):
    """The kernel was compiled before anybody has tried the runtime."""
    children.break_library(half_cache, kernels.RUNTIME)
    done = children.run()
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    children.assert_sound(half_cache, count=2)


@_BOTH_LIBRARIES
def test_what_does_not_load_and_cannot_be_built(cache_copy, artifact):
    """It stays: there may be machines that can load it, and none to build it on."""
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
def test_prewarm_builds_again_what_does_not_load(
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


def test_a_runtime_that_was_just_built_and_does_not_load(cache_copy, tmp_path):
    """Building it once more would help nobody."""
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
def test_many_that_find_a_runtime_that_does_not_load(cache_copy, tmp_path, how):
    """One builds it again; the others take that, and none its own."""
    children.break_library(cache_copy, kernels.RUNTIME)
    compiler, compiled = children.counting(tmp_path)
    if how == "threads":
        done = children.run(_THREADS.format(lengths=[3]), CXX=compiler)
        assert (done.stdout.strip(), done.stderr) == ("32", "")
    else:
        crowd = [children.start(CXX=compiler, WARP_SORT_CACHE_DIR=cache_copy) for _ in range(6)]
        for process in crowd:
            out, err = process.communicate(timeout=120)
            assert (out.strip(), err) == (ANSWER, "")
    assert compiled() == ["runtime"]
    children.assert_sound(cache_copy, count=2)


# -- disks ----------------------------------------------------------------------------------------

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


@pytest.mark.compile
def test_a_home_that_does_not_exist(tmp_path):
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
@pytest.mark.compile
def test_a_home_of_another_user(foreign_home, warm_cache, tmp_path, is_warm):
    """Nothing has to be loaded from there, and nothing is, nor made."""
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
    assert len(compiled()) == 3
    assert sorted(foreign_home.rglob("*")) == before
    trusting = children.run(CXX=compiler, WARP_SORT_TRUSTED_DIRS=foreign_home, **how)
    assert (trusting.stdout.strip(), trusting.stderr) == (ANSWER, "")
    assert len(children.entries(folder)) == 2


@pytest.mark.parametrize("variable", ["WARP_SORT_CACHE_DIR", "XDG_CACHE_HOME"])
@pytest.mark.parametrize("is_layer", [False, True])
def test_a_folder_of_another_user_that_was_named(foreign_home, whole_layer, variable, is_layer):
    """Who asks for a folder is told that it is not used."""
    named = children.copy(whole_layer, foreign_home / "named")
    how = {**_give_away(foreign_home), **_DEFAULT}
    how["WARP_SORT_CACHE_LAYERS" if is_layer else variable] = named
    done = children.run(**how)
    assert done.stdout == ""
    assert f"TrustError: nothing is loaded from {named}" in done.stderr.splitlines()[-1]
    assert "RuntimeWarning" not in done.stderr


@pytest.mark.parametrize("is_named", [False, True])
def test_doctor_tells_a_hindrance_from_a_home_of_another_user(foreign_home, is_named):
    given = _give_away(foreign_home)
    how = {**_DEFAULT, "WARP_SORT_CACHE_DIR": foreign_home / "named"} if is_named else _DEFAULT
    done = children.program("doctor", "--no-build", "--json", **given, **how)
    (problem,) = (
        each for each in json.loads(done.stdout)["problems"] if "nothing is" in each["what"]
    )
    assert "belongs to another user" in problem["what"]
    assert problem["blocking"] is is_named


def test_nothing_is_taken_of_what_another_user_says_of_compilers(foreign_home, warm_cache):
    """Not even where he has no kernels: what is asked first is what the compiler's version is."""
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
@pytest.mark.compile
def test_threads_that_find_the_home_foreign_at_once(foreign_home):
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


@pytest.mark.compile
def test_a_user_without_a_home(tmp_path, monkeypatch):
    """Neither HOME nor an entry of the system's: the current folder is not taken for it."""
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


def test_a_read_only_cache(half_cache, tmp_path):
    """It is read, too: the runtime is in it."""
    before = children.read_only(half_cache)
    how = {"before": before, "WARP_SORT_TRUSTED_DIRS": tmp_path}
    compiler, compiled = children.counting(tmp_path)
    reason = "Read-only file system"
    _sorts_as_nothing_can_be_written(half_cache, tmp_path, reason, CXX=compiler, **how)
    assert "runtime" not in compiled()
    assert len(compiled()) == 2


def test_a_hit_in_a_read_only_cache_gives_no_warning(cache_copy, tmp_path):
    before = children.read_only(cache_copy)
    for compiler in ({}, {"CXX": children.counting(tmp_path)[0]}, children.NO_COMPILER):
        done = children.run(before=before, WARP_SORT_TRUSTED_DIRS=tmp_path, **compiler)
        assert (done.stdout.strip(), done.stderr) == (ANSWER, "")


# What does not fit: the first file, what is staged, and the library.
@pytest.mark.parametrize("size", ["4k", "16k", "40k"])
@pytest.mark.compile
def test_a_full_disk(tmp_path, size):
    folder = tmp_path / "disk"
    folder.mkdir()
    how = {"before": children.full(folder, size), "WARP_SORT_TRUSTED_DIRS": tmp_path}
    how["WARP_SORT_CACHE_DIR"] = folder
    _sorts_as_nothing_can_be_written(folder, tmp_path, "No space left on device", **how)


@pytest.mark.compile
def test_what_is_forked_leaves_the_temporary_folder_to_its_parent(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "tmp").mkdir()
    code = f"""
        import os, sys, warnings
        warnings.simplefilter("ignore")
        {SORT}
        from pathlib import Path
        from warp_bitonic_sort.jit.store import layers
        (cache,) = layers._temporary.values()
        sys.stdout.flush()  # or the child says it again
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
@pytest.mark.compile
def test_a_forked_child_has_a_temporary_folder_of_its_own(tmp_path, fork):
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


# -- forks ----------------------------------------------------------------------------------------

_BOTH = f"""
def both():
    {SORT}
    {OTHER_SORT}
both.__module__ = "__main__"
"""
_FORKS = {
    "os.fork": "sys.stdout.flush(); child = os.fork()\nif child == 0: both(); sys.exit()\n"
    "assert os.waitpid(child, 0)[1] == 0",
    "multiprocessing": "p = multiprocessing.get_context('fork').Process(target=both)\n"
    "p.start(); p.join(); assert p.exitcode == 0",
}


@pytest.mark.parametrize("fork", _FORKS)
@pytest.mark.usefixtures("cache_copy")
def test_a_forked_child_sorts_what_its_parent_did_and_more(fork):
    code = f"{SORT}\nimport multiprocessing, os, sys\n{_BOTH}\n{_FORKS[fork]}\n{OTHER_SORT}"
    done = children.run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [ANSWER, ANSWER, OTHER_ANSWER, OTHER_ANSWER]


# Stops the import of a module half-way, in the thread that has its lock.
_SLOW_IMPORT = """
import sys, threading, time
class Slow:
    reached = threading.Event()
    def find_spec(self, name, path, target=None):
        if name == MODULE and not self.reached.is_set():
            self.reached.set()
            time.sleep(0.5)
sys.meta_path.insert(0, Slow())
"""
# Forks, and has both processes sort.
_FORK = f"""
import os, signal, sys
sys.stdout.flush()
child = os.fork()
if child == 0:
    signal.alarm(40)
    try:
        {SORT}
        sys.stdout.flush()
    finally:
        os._exit(0)
status = os.waitpid(child, 0)[1]
assert status == 0, status
"""
# Without a buffer, which a child would inherit.
_IN_A_THREAD = f"""
import builtins, os, threading
builtins.print = lambda value: os.write(1, f"{{value}}\\n".encode())
def first():
    {SORT}
thread = threading.Thread(target=first)
thread.start()
"""


@pytest.mark.parametrize(
    "module",
    [
        "tvm_ffi",
        "tvm_ffi.core",
        "warp_bitonic_sort.arrays._numpy",
        "warp_bitonic_sort.jit.build",
        "warp_bitonic_sort.jit.build.run",
        "warp_bitonic_sort.jit.store.maintenance",
    ],
)
@pytest.mark.usefixtures("half_cache")
def test_a_child_forked_while_another_thread_imports_sorts(module):
    code = f"MODULE = {module!r}\n{_SLOW_IMPORT}{_IN_A_THREAD}Slow.reached.wait()\n{_FORK}"
    done = children.run(code + "thread.join()")
    assert done.stdout.splitlines() == [ANSWER, ANSWER], done.stderr


def test_a_child_forked_while_another_thread_imports_what_sorts_long_rows_sorts():
    sort = "import numpy as np, warp_bitonic_sort as w; w.sort(np.zeros((2, 20000))); print(1)"
    code = f"{_SLOW_IMPORT}{_IN_A_THREAD}Slow.reached.wait()\n{_FORK}thread.join()"
    code = code.replace(SORT, sort).replace("MODULE", "'warp_bitonic_sort.framework'")
    done = children.run(code)
    assert (done.stdout.split(), done.stderr) == (["1", "1"], "")


def test_a_child_forked_after_a_failed_build_sorts(half_cache, tmp_path):
    """While the parent's thread that imports tvm_ffi is still at it."""
    compiler = children.script(
        tmp_path / "c++", '[ "$1" = --version ] && exec $CXX --version\nexit 1'
    )
    code = f"""
try:
    {SORT}
except RuntimeError:
    import os
    del os.environ["CXX"]
"""
    shutil.rmtree(half_cache / "v1" / "entries")
    code = f"MODULE = 'tvm_ffi.core'\n{_SLOW_IMPORT}{code}Slow.reached.wait()\n{_FORK}"
    done = children.run(code, CXX=compiler)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")


def test_a_child_forked_while_another_thread_compiles_sorts_without_waiting_to_fork(
    half_cache, tmp_path
):
    go_on = tmp_path / "go-on"
    compiler = children.script(
        tmp_path / "c++",
        f'[ "$1" = --version ] || while [ ! -e {go_on} ]; do sleep 0.05; done\nexec $CXX "$@"',
    )
    code = f"""{_IN_A_THREAD}
import pathlib, time
while not list(pathlib.Path({str(half_cache)!r}).glob("v1/locks/*.holder")):
    time.sleep(0.01)
time.sleep(0.1)
{_FORK.replace("if child == 0", f"pathlib.Path({str(go_on)!r}).touch(){chr(10)}if child == 0")}
thread.join()
"""
    done = children.run(code, CXX=compiler)
    assert (done.stdout.splitlines(), done.stderr) == ([ANSWER, ANSWER], "")


@pytest.mark.usefixtures("half_cache")
def test_a_signal_handler_that_forks_during_a_build_and_its_child_both_sort(tmp_path):
    """The parent waits for the child, which must not wait for the parent's lock."""
    compiler = children.script(
        tmp_path / "c++", '[ "$1" = --version ] || sleep 0.5; exec $CXX "$@"'
    )
    fork = _FORK.replace("\n", "\n    ")
    code = f"""
import signal
def handler(*_):{fork}
signal.signal(signal.SIGALRM, handler)
from warp_bitonic_sort.jit.build import ninja
build = ninja.run
def slow(*arguments, **options):
    ninja.run = build
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    return build(*arguments, **options)
ninja.run = slow
{SORT}
"""
    done = children.run(code, CXX=compiler)
    assert (done.stdout.splitlines(), done.stderr) == ([ANSWER, ANSWER], "")


@pytest.mark.usefixtures("half_cache")
def test_a_grandchild_forked_during_a_first_sort_sorts():
    fork = f"""
import os, sys
if (child := os.fork()) > 0:
    sys.exit(os.waitpid(child, 0)[1] != 0)
{_FORK}{SORT}
"""
    code = f"MODULE = 'tvm_ffi.core'\n{_SLOW_IMPORT}{_IN_A_THREAD}Slow.reached.wait()\n{fork}"
    done = children.run(code)
    assert done.stdout.splitlines() == [ANSWER] * 3, done.stderr


# -- calls within calls ----------------------------------------------------------------------------

# What a signal handler or a finalizer may do at any line.
_SORT_IN = f"""
import importlib
module = importlib.import_module("warp_bitonic_sort." + MODULE)
original = getattr(module, FUNCTION)
def interrupted(*arguments, **options):
    setattr(module, FUNCTION, original)
    {SORT}
    return original(*arguments, **options)
setattr(module, FUNCTION, interrupted)
"""


@pytest.mark.parametrize(
    "point",
    [
        "jit.store.layers.look_up",
        "jit.build.ensure",
        "jit.store.locks.write_json",
        "jit.build.run._remove_litter",
        "jit.build.ninja.run",
        "jit.loader._check",
        "jit.store.publish.publish",
        "jit.runtime.load",
        "jit.runtime.mark_unloadable",
    ],
)
@pytest.mark.usefixtures("half_cache")
def test_a_sort_within_a_first_sort_of_the_same_thread_returns(half_cache, point):
    if point == "jit.runtime.mark_unloadable":
        children.break_library(half_cache, kernels.RUNTIME)
    module, _, function = point.rpartition(".")
    done = children.run(f"MODULE, FUNCTION = {module!r}, {function!r}\n{_SORT_IN}{SORT}")
    assert (done.stdout.splitlines(), done.stderr) == ([ANSWER, ANSWER], "")


@pytest.mark.usefixtures("half_cache")
def test_a_signal_handler_that_sorts_during_a_build_returns(tmp_path):
    compiler = children.script(
        tmp_path / "c++", '[ "$1" = --version ] || sleep 0.5; exec $CXX "$@"'
    )
    code = f"""
import signal
def handler(*_):
    {SORT}
signal.signal(signal.SIGALRM, handler)
from warp_bitonic_sort.jit.build import ninja
build = ninja.run
def slow(*arguments, **options):
    ninja.run = build
    signal.setitimer(signal.ITIMER_REAL, 0.25)
    return build(*arguments, **options)
ninja.run = slow
{SORT}
"""
    done = children.run(code, CXX=compiler)
    assert (done.stdout.splitlines(), done.stderr) == ([ANSWER, ANSWER], "")


@pytest.mark.compile
def test_a_sort_within_the_making_of_a_temporary_folder_returns(tmp_path):
    code = f"""
import tempfile
make = tempfile.mkdtemp
def interrupted(*arguments, **options):
    tempfile.mkdtemp = make
    {SORT}
    return make(*arguments, **options)
tempfile.mkdtemp = interrupted
import warnings; warnings.simplefilter("ignore")
{SORT}
"""
    done = children.run(code, WARP_SORT_CACHE_DIR="/proc/none", TMPDIR=tmp_path)
    assert (done.stdout.splitlines(), done.stderr) == ([ANSWER, ANSWER], "")
    assert not list(tmp_path.iterdir())


_DLPACK_SORT = """
import numpy as np, warp_bitonic_sort as w
class Array(list):
    def __dlpack__(self, **how): return np.float32(self).__dlpack__()
    def __dlpack_device__(self): return 1, 0
"""


@pytest.mark.parametrize("array", ["np.float32", "Array"])
@pytest.mark.usefixtures("cache_copy")
def test_a_sort_within_the_import_of_tvm_ffi_by_the_same_thread_raises(array):
    code = f"""
{_DLPACK_SORT}
import sys
class Interrupts:
    def find_spec(self, name, path, target=None):
        if name == "tvm_ffi.core" and self in sys.meta_path:
            sys.meta_path.remove(self)
            try:
                w.sort({array}([[3, 1, 2]]))
            except RuntimeError as error:
                print(error)
sys.meta_path.insert(0, Interrupts())
{SORT}
"""
    done = children.run(code)
    said, answer = done.stdout.splitlines()
    assert said.startswith("a signal handler or a finalizer called sort while this thread was")
    assert answer == ANSWER, done.stderr


# -- locks ----------------------------------------------------------------------------------------

_IMPATIENT = "from warp_bitonic_sort.jit.store import locks; locks.PATIENCE = 0.2\n"


@pytest.mark.parametrize("end", ["release", "kill"])
def test_a_long_wait_says_for_whom(half_cache, end):
    lock = half_cache / "v1" / "locks" / f"{KERNEL.name}.lock"
    with (
        children.holder_of(half_cache, KERNEL) as holder,
        children.start(_IMPATIENT + SORT, WARP_SORT_LOCK_TIMEOUT="30") as waiting,
    ):
        for _ in range(2):
            said = waiting.stderr.readline()
            assert "waiting" in said, said
            assert f"s for {lock}, the lock of {KERNEL.name}" in said
            assert f"process {holder.pid} on {os.uname().nodename} for" in said
            assert "'the-holder --of=locks'" in said
        assert waiting.poll() is None
        if end == "kill":
            holder.kill()
        else:
            holder.stdin.close()
        out, _ = waiting.communicate(timeout=60)
        assert out.strip() == ANSWER
    assert not lock.with_suffix(".holder").exists()


@pytest.mark.usefixtures("half_cache")
def test_a_wait_that_is_not_allowed_ends_in_an_error(half_cache):
    with children.holder_of(half_cache, KERNEL) as holder:
        done = children.run(WARP_SORT_LOCK_TIMEOUT="0.3")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "LockError: waited 0 s for" in last
    assert str(half_cache / "v1" / "locks" / f"{KERNEL.name}.lock") in last
    assert f"held by process {holder.pid} on {os.uname().nodename}" in last
    assert "WARP_SORT_LOCK_TIMEOUT" in last


@pytest.mark.usefixtures("half_cache")
@pytest.mark.parametrize("value", ["soon", "-1", "inf", "nan"])
def test_a_limit_that_is_none_is_refused(monkeypatch, value):
    from warp_bitonic_sort.errors import BuildError
    from warp_bitonic_sort.jit import build, loader
    from warp_bitonic_sort.jit.store import layers

    monkeypatch.setenv("WARP_SORT_LOCK_TIMEOUT", value)
    options = build.Options(lambda: None, loader._check, lambda _: None)
    with pytest.raises(BuildError, match=f"WARP_SORT_LOCK_TIMEOUT: .*seconds.*got '{value}'"):
        build.ensure([KERNEL], [], layers.stores(), options)


def test_a_lock_that_was_left_hours_ago_delays_nobody(half_cache):
    locks = half_cache / "v1" / "locks"
    for artifact in (kernels.RUNTIME, KERNEL):
        (locks / f"{artifact.name}.lock").write_text("12345")
        (locks / f"{artifact.name}.holder").write_text(
            '{"pid": 1, "host": "elsewhere", "since": 0, "command": "gone"}'
        )
    children.grow_old(locks)
    done = children.run(_IMPATIENT + SORT, WARP_SORT_LOCK_TIMEOUT="5")
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    children.assert_sound(half_cache, count=2)


@pytest.mark.compile
def test_threads_that_find_the_cache_unwritable_at_once(tmp_path):
    """All of them go on in the same temporary folder, and one warns."""
    (tmp_path / "file").touch()
    code = """
        import threading, warnings, numpy as np, warp_bitonic_sort as w
        from concurrent.futures import ThreadPoolExecutor
        from warp_bitonic_sort.jit import build
        from warp_bitonic_sort.jit.store import layers
        ensure, barrier = build.ensure, threading.Barrier(4)
        def at_once(wanted, layers, stores, options):
            try:
                return ensure(wanted, layers, stores, options)
            except w.CacheError:
                barrier.wait()  # nobody has made the temporary folder yet
                raise
        build.ensure = at_once
        with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(4) as pool:
            warnings.simplefilter("always")
            rows = [np.float32([[3, 1, 2, 0][:n]]) for n in (2, 3, 2, 3)]
            assert all((y == np.sort(x)).all() for x, y in zip(rows, pool.map(w.sort, rows)))
        assert len(caught) == 1, caught
        print("done")
    """
    done = children.run(code, WARP_SORT_CACHE_DIR=tmp_path / "file" / "cache")
    assert done.stdout.strip() == "done", done.stderr


@pytest.mark.parametrize("umask", [0, 0o022])
def test_locks_of_own_cache_open_for_their_owner_alone(fresh_cache, umask):
    """A user who can read the file of a lock can hold it for ever."""
    code = f"""
        import os, pathlib
        os.umask({umask})
        from warp_bitonic_sort.jit.build import ninja
        build, root = ninja.run, pathlib.Path(os.environ["WARP_SORT_CACHE_DIR"])
        def looking(*arguments):
            for path in root.rglob("*"):
                if path.suffix in (".lock", ".holder"):
                    print(path.name, oct(path.stat().st_mode & 0o777))
            return build(*arguments)
        ninja.run = looking
    """
    done = children.run(textwrap.dedent(code) + SORT)
    *modes, answer = done.stdout.splitlines()
    assert answer == ANSWER, done.stderr
    names = [publish.OWNER_LOCK]
    names += [f"{each}.{end}" for each in ("runtime", KERNEL.name) for end in ("holder", "lock")]
    assert sorted(modes) == sorted(f"{name} 0o600" for name in names)
    assert [path for path in fresh_cache.rglob("*.lock") if path.stat().st_mode & 0o077] == []


def test_staging_lock_of_earlier_version_is_respected(half_cache):
    """Its folder is closed to other users, and its build may be under way."""
    folder = half_cache / "v1" / "staging" / f"{publish.staging_prefix()}earlier"
    folder.mkdir(parents=True)
    (folder / publish.OWNER_LOCK).touch(0o644)
    children.grow_old(folder)
    with (folder / publish.OWNER_LOCK).open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert maintenance.litter(half_cache) == []


_NO_LOCKS = {name: getattr(errno, name) for name in ("ENOLCK", "ENOSYS", "EOPNOTSUPP", "EIO")}
# What a file system without working locks does with fcntl.flock.
_REFUSING = """
import errno, fcntl
def refused(*arguments):
    raise OSError(errno.{name}, "no such lock")
fcntl.flock = refused
"""


@pytest.mark.parametrize("name", _NO_LOCKS)
def test_build_where_flock_fails_succeeds_without_lock(fresh_cache, name):
    """Builds are private until they are published: a lock only saves work."""
    done = children.run(_REFUSING.format(name=name) + SORT)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    children.assert_sound(fresh_cache, count=2)
    assert [path.read_bytes() for path in fresh_cache.rglob("*.lock")] == [b"", b""]


@pytest.mark.parametrize("name", _NO_LOCKS)
def test_build_where_flock_fails_waits_for_no_file_that_is_left(half_cache, name):
    """A process that died on another host has left files that look like locks."""
    left = half_cache / "v1" / "locks" / f"{KERNEL.name}.lock"
    for other in (left, left.with_name(f"{left.name}.lock")):
        other.write_text("1\nelsewhere\n")
        other.chmod(0o600)
    done = children.run(_REFUSING.format(name=name) + SORT, WARP_SORT_LOCK_TIMEOUT="0")
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    assert left.read_text() == "1\nelsewhere\n"


def test_build_where_flock_fails_notes_it_once_when_verbose(fresh_cache):
    how = {"WARP_SORT_JIT_VERBOSE": "1"}
    done = children.run(f"{_REFUSING.format(name='EIO')}{SORT}\n{OTHER_SORT}", **how)
    assert done.stdout.splitlines() == [ANSWER, OTHER_ANSWER]
    lock = fresh_cache / "v1" / "locks" / "runtime.lock"
    said = f"warp_bitonic_sort: {lock} cannot be locked (no such lock): kernels are built without"
    assert done.stderr.count("cannot be locked") == done.stderr.count(said) == 1, done.stderr


def test_build_whose_unlocking_fails_succeeds(fresh_cache):
    code = """
        import errno, fcntl
        real = fcntl.flock
        def forgetful(descriptor, operation):
            if operation == fcntl.LOCK_UN:
                raise OSError(errno.EIO, "the server is gone")
            real(descriptor, operation)
        fcntl.flock = forgetful
    """
    done = children.run(textwrap.dedent(code) + SORT)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    children.assert_sound(fresh_cache, count=2)


def test_lock_file_that_cannot_be_opened_hinders_no_build(half_cache):
    (half_cache / "v1" / "locks" / f"{KERNEL.name}.lock").unlink(missing_ok=True)
    (half_cache / "v1" / "locks" / f"{KERNEL.name}.lock").mkdir()
    done = children.run()
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")


@pytest.mark.parametrize("name", _NO_LOCKS)
def test_staging_folder_where_flock_fails_is_litter_after_a_day(fresh_cache, monkeypatch, name):
    staging = fresh_cache / "v1" / "staging" / f"{publish.staging_prefix()}ours"
    staging.mkdir(parents=True)
    (staging / publish.OWNER_LOCK).touch()

    def refused(*_):
        raise OSError(_NO_LOCKS[name], "no such lock")

    monkeypatch.setattr(fcntl, "flock", refused)
    children.grow_old(fresh_cache, hours=23)
    assert maintenance.litter(fresh_cache) == []
    children.grow_old(fresh_cache, hours=25)
    assert maintenance.litter(fresh_cache) == [staging]


@pytest.mark.parametrize("place", ["another machine", "an unknown machine"])
def test_staging_folder_of_another_machine_is_litter_after_a_day(fresh_cache, monkeypatch, place):
    """Its lock seems to be free where locks work within one host."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(locks, "machine", lambda: "0f" * 16 if place == "another machine" else "")
        prefix = publish.staging_prefix()
    if place == "an unknown machine":
        monkeypatch.setattr(locks, "machine", lambda: "")
    staging = fresh_cache / "v1" / "staging" / f"{prefix}theirs"
    staging.mkdir(parents=True)
    (staging / publish.OWNER_LOCK).touch()
    children.grow_old(fresh_cache, hours=23)
    assert maintenance.litter(fresh_cache) == maintenance.abandoned(fresh_cache) == []
    maintenance.clear(fresh_cache)
    assert staging.is_dir()
    children.grow_old(fresh_cache, hours=25)
    assert maintenance.litter(fresh_cache) == maintenance.abandoned(fresh_cache) == [staging]


def test_machine_is_known_and_part_of_a_name():
    assert locks.machine().isalnum()


def test_a_compiler_that_lists_nothing(fresh_cache, tmp_path):
    forgetful = """case "$*" in
        *source.cc*) $CXX "$@" && rm -f */source.d;;
        *) exec $CXX "$@";;
        esac"""
    compiler = children.script(tmp_path / "c++", forgetful)
    done = children.run(CXX=compiler)
    assert "BuildError: compiling runtime: " in done.stderr
    assert "and made no list of what it read. Is that a compiler?" in done.stderr
    assert children.entries(fresh_cache) == []


@pytest.mark.parametrize("word", ["No space left on device", "Disk quota exceeded"])
def test_a_full_folder_for_temporary_files_is_not_taken_for_the_cache(half_cache, tmp_path, word):
    """The cache has room, and another folder for what is built would help nobody."""
    compiler = children.script(
        tmp_path / "c++",
        f"""case "$*" in
        *source.cc*)
            echo "{KERNEL.name}/source.cc:1:1: fatal error: error closing /tmp/ccA.s: {word}" >&2
            exit 1;;
        *) exec $CXX "$@";;
        esac""",
    )
    done = children.run(CXX=compiler)
    assert f"BuildError: compiling {KERNEL.name} failed" in done.stderr
    assert "RuntimeWarning" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Hint: ")
    assert "TMPDIR" in last
    assert "WARP_SORT_CACHE_DIR" not in last
    assert len(children.entries(half_cache)) == 1


def test_a_process_whose_build_fails_ends_in_order(half_cache, tmp_path):
    """Not in the middle of importing tvm_ffi, whose C++ takes that for an abort."""
    compiler = children.script(
        tmp_path / "c++",
        'case "$*" in *source.cc*) echo "error: none today" >&2; exit 1;; *) exec $CXX "$@";; esac',
    )
    (half_cache / "v1" / "entries" / "runtime").rename(tmp_path / "runtime")
    slow = """
        import atexit, sys, time
        class Slow:
            def find_spec(name, *_):
                if name == "tvm_ffi.core":
                    time.sleep(2)
        atexit.register(lambda: print("imported:", "tvm_ffi.core" in sys.modules))
        sys.meta_path.insert(0, Slow)
    """
    done = children.run(textwrap.dedent(slow) + SORT, CXX=compiler)
    assert done.returncode == 1
    assert "none today" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Hint: ")
    assert done.stdout == "imported: True\n"


@pytest.mark.parametrize(
    "named", ["$PWD/" + KERNEL.name + "/library.so", KERNEL.name + "/source.d"]
)
def test_a_full_cache_is_told_by_the_file_that_the_compiler_names(half_cache, tmp_path, named):
    """Though there is room again by the time that anybody looks."""
    compiler = children.script(
        tmp_path / "c++",
        f"""case "$PWD $*" in
        *staging*source.cc*)
            case "$PWD" in {half_cache}/*)
                echo "ld: cannot write {named}: No space left on device" >&2; exit 1;;
            esac;;
        esac
        exec $CXX "$@\"""",
    )
    done = children.run(CXX=compiler)
    assert done.stdout.strip() == ANSWER, done.stderr
    assert f"the cache folder {half_cache} cannot be written: No space left" in done.stderr


def test_a_package_in_a_folder_whose_name_is_not_utf_8(fresh_cache, tmp_path):
    """What is built there is found there again, and in another folder."""
    tree = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff $"))
    package = Path(warp_bitonic_sort.__file__).parent
    shutil.copytree(package, tree / "warp_bitonic_sort")
    code = f"{SORT}\nimport os; print(os.fsencode(w.__file__).count(b'\\xff'))"
    for how in ({}, children.NO_COMPILER):
        done = children.run(code, PYTHONPATH=tree, **how)
        assert (done.stdout.split("\n")[:2], done.stderr) == ([ANSWER, "1"], "")
    children.assert_sound(fresh_cache, count=2)
    done = children.run(**children.NO_COMPILER)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")


@pytest.mark.compile
def test_a_cache_in_a_folder_whose_name_is_not_utf_8(warm_cache, tmp_path):
    """tvm_ffi loads nothing from there: it is like one that cannot be written, or read."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    done = children.run(WARP_SORT_CACHE_DIR=folder)
    assert done.stdout.strip() == ANSWER, done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    assert "cannot be written: its name is not UTF-8" in done.stderr
    assert not folder.exists()
    children.copy(warm_cache, folder)
    how = {"WARP_SORT_CACHE_LAYERS": folder, "WARP_SORT_CACHE_DIR": tmp_path / "none"}
    done = children.run(**how, **children.NO_COMPILER)
    assert "ToolError: runtime and cpu_all_none_" in done.stderr
    assert "cannot be read: its name is not UTF-8" in done.stderr


@pytest.mark.parametrize("moment", ["while it is compiled", "before"])
def test_a_header_that_vanishes(half_cache, tmp_path, moment):
    tree = tmp_path / "tree"
    shutil.copytree(Path(warp_bitonic_sort.__file__).parent, tree / "warp_bitonic_sort")
    header = tree / "warp_bitonic_sort" / "csrc/include/warp_bitonic_sort/network/bitonic.hpp"
    if moment == "before":
        code = f"""
            import os
            from warp_bitonic_sort.targets.common import sources
            files = sources.source_files
            sources.source_files = lambda: [*files(), os.unlink({str(header)!r})][:-1]
        """
        done = children.run(textwrap.dedent(code) + SORT, PYTHONPATH=tree)
        assert "bitonic.hpp: No such file or directory" in done.stderr
        assert "the package's own sources are missing" in done.stderr.splitlines()[-1]
    else:
        vanishing = f'$CXX "$@" || exit 1\ncase "$*" in *source.cc*) rm -f {header};; esac'
        compiler = children.script(tmp_path / "c++", vanishing)
        done = children.run(PYTHONPATH=tree, CXX=compiler)
        last = done.stderr.splitlines()[-1]
        assert f"BuildError: compiling {KERNEL.name}: {header} cannot be read" in last
        assert "No such file or directory" in last
    assert len(children.entries(half_cache)) == 1


@pytest.mark.parametrize("what", ["an unwritable cache", "a runtime that does not load"])
@pytest.mark.compile
def test_warnings_point_to_the_callers_line(whole_layer, tmp_path, what):
    (tmp_path / "file").touch()
    how = {"WARP_SORT_CACHE_DIR": tmp_path / "file" / "cache"}
    if what != "an unwritable cache":
        layer = children.copy(whole_layer, tmp_path / "layer")
        children.break_library(layer, kernels.RUNTIME)
        how = {"WARP_SORT_CACHE_DIR": tmp_path / "cache", "WARP_SORT_CACHE_LAYERS": layer}
    script = tmp_path / "script.py"
    script.write_text(SORT.replace("; print", "\n\ndef work():\n    print") + "\n\nwork()\n")
    code = f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
    done = children.run(code, **how)
    assert done.stdout.strip() == ANSWER
    assert done.stderr.startswith(f"{script}:4: RuntimeWarning: ")
