"""Many processes that build at once, and processes that are killed meanwhile."""

import errno
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from support import children
from support.children import ANSWER, KERNEL, OTHER_ANSWER, OTHER_SORT, SORT
from warp_bitonic_sort.cli import main
from warp_bitonic_sort.jit.build import child
from warp_bitonic_sort.jit.store import publish

# -- crowds ----------------------------------------------------------------------------------------


def test_sixteen_cold_processes_compile_once(fresh_cache, tmp_path):
    compiler, compiled = children.counting(tmp_path)
    crowd = [children.start(CXX=compiler, WARP_SORT_CACHE_DIR=fresh_cache) for _ in range(16)]
    for process in crowd:
        out, err = process.communicate(timeout=120)
        assert (out.strip(), err) == (ANSWER, "")
    assert compiled() == sorted(["runtime", KERNEL.name])
    children.assert_sound(fresh_cache, count=2)


@pytest.mark.parametrize("lengths", [[3], [2, 3, 4, 5]])
def test_thirty_two_threads_compile_each_kernel_once(half_cache, tmp_path, lengths):
    compiler, compiled = children.counting(tmp_path)
    done = children.run(children.SORT_ON_THREADS.format(lengths=lengths), CXX=compiler)
    assert (done.stdout.strip(), done.stderr) == ("32", "")
    assert len(compiled()) == len(set(compiled())) == len(lengths)
    children.assert_sound(half_cache, count=1 + len(lengths))


# -- kills -----------------------------------------------------------------------------------------

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
    """Wait until no process works in a folder: ninja outlives its parent for a moment."""
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
def test_killed_build_does_not_hinder_the_next(half_cache, tmp_path, phase):
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


def test_build_removes_what_killed_builds_left(half_cache, tmp_path):
    """No prune is needed. New folders and those of running builds stay."""
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
    assert list(staging.iterdir()) == [left], "a hit does not look for litter"
    children.assert_sound(half_cache, count=3)


@pytest.mark.parametrize("fault", ["unreadable", "undeletable"])
def test_build_beside_litter_that_cannot_be_removed_succeeds(half_cache, fault):
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


def test_newborn_build_is_not_pruned(half_cache):
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
            raise ArithmeticError("too late")  # an OSError could be one of the start of a program
        signal.signal(signal.SIGALRM, late)
        {SORT}
    """
    with children.start(code, CXX=compiler) as process:
        groups = _groups_of_compilers(file, process)
        process.send_signal(signal.SIGALRM)
        _, err = process.communicate(timeout=60)
        assert "ArithmeticError: too late" in err.splitlines()[-1]
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
