"""Locks of a build: which process waits, for how long, and which message it prints."""

import errno
import fcntl
import os
import shutil
import textwrap
from pathlib import Path

import pytest

import warp_bitonic_sort
from support import children
from support.children import ANSWER, KERNEL, OTHER_ANSWER, OTHER_SORT, SORT
from warp_bitonic_sort import kernels
from warp_bitonic_sort.jit.store import locks, maintenance, publish

_IMPATIENT = "from warp_bitonic_sort.jit.store import locks; locks.PATIENCE = 0.2\n"


@pytest.mark.parametrize("end", ["release", "kill"])
def test_long_wait_names_the_holder(half_cache, end):
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
def test_wait_beyond_the_timeout_raises(half_cache):
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
def test_timeout_that_is_no_number_raises(monkeypatch, value):
    from warp_bitonic_sort.errors import BuildError
    from warp_bitonic_sort.jit import loader
    from warp_bitonic_sort.jit.build import run as build
    from warp_bitonic_sort.jit.store import layers

    monkeypatch.setenv("WARP_SORT_LOCK_TIMEOUT", value)
    options = build.Options(lambda: None, loader._check, lambda _: None)
    with pytest.raises(BuildError, match=f"WARP_SORT_LOCK_TIMEOUT: .*seconds.*got '{value}'"):
        build.ensure([KERNEL], [], layers.stores(), options)


def test_lock_left_hours_ago_delays_no_build(half_cache):
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


@pytest.mark.usefixtures("runtime_layer")
@pytest.mark.compile
def test_threads_with_an_unwritable_cache_warn_once(tmp_path):
    """All of them go on in the same temporary folder, and one warns."""
    (tmp_path / "file").touch()
    code = """
        import threading, warnings, numpy as np, warp_bitonic_sort as w
        from concurrent.futures import ThreadPoolExecutor
        from warp_bitonic_sort.jit.build import run as build
        from warp_bitonic_sort.jit.store import layers
        ensure, barrier = build.ensure, threading.Barrier(4)
        def at_once(wanted, layers, stores, options):
            try:
                return ensure(wanted, layers, stores, options)
            except w.CacheError:
                barrier.wait()  # there is no temporary folder yet
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
def test_locks_of_own_cache_open_for_their_owner_alone(half_cache, umask):
    """A user who can read the file of a lock can hold it for ever."""
    shutil.rmtree(half_cache / "v1" / "locks")
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
    names = [publish.OWNER_LOCK, f"{KERNEL.name}.holder", f"{KERNEL.name}.lock"]
    assert sorted(modes) == sorted(f"{name} 0o600" for name in names)
    assert [path for path in half_cache.rglob("*.lock") if path.stat().st_mode & 0o077] == []


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
def test_build_where_flock_fails_succeeds_without_lock(half_cache, name):
    """Builds are private until they are published: a lock only saves work."""
    shutil.rmtree(half_cache / "v1" / "locks")
    done = children.run(_REFUSING.format(name=name) + SORT)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    children.assert_sound(half_cache, count=2)
    assert [path.read_bytes() for path in half_cache.rglob("*.lock")] == [b""]


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


def test_build_where_flock_fails_notes_it_once_when_verbose(half_cache):
    how = {"WARP_SORT_JIT_VERBOSE": "1"}
    done = children.run(f"{_REFUSING.format(name='EIO')}{SORT}\n{OTHER_SORT}", **how)
    assert done.stdout.splitlines() == [ANSWER, OTHER_ANSWER]
    lock = half_cache / "v1" / "locks" / f"{KERNEL.name}.lock"
    said = f"warp_bitonic_sort: {lock} cannot be locked (no such lock): kernels are built without"
    assert done.stderr.count("cannot be locked") == done.stderr.count(said) == 1, done.stderr


def test_build_whose_unlocking_fails_succeeds(half_cache):
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
    children.assert_sound(half_cache, count=2)


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


def test_machine_is_alphanumeric():
    assert locks.machine().isalnum()


def test_build_without_a_depfile_raises(half_cache, tmp_path):
    forgetful = """case "$*" in
        *source.cc*) $CXX "$@" && rm -f */source.d;;
        *) exec $CXX "$@";;
        esac"""
    compiler = children.script(tmp_path / "c++", forgetful)
    done = children.run(CXX=compiler)
    assert f"BuildError: compiling {KERNEL.name}: " in done.stderr
    assert "but wrote no list of the files that it read. Is it a compiler?" in done.stderr
    assert children.entries(half_cache) == ["runtime"]


@pytest.mark.parametrize("word", ["No space left on device", "Disk quota exceeded"])
def test_full_folder_for_temporary_files_is_not_taken_for_the_cache(half_cache, tmp_path, word):
    """The cache has room, so that no temporary folder is used."""
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


def test_process_whose_build_fails_ends_in_order(half_cache, tmp_path):
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
def test_full_cache_is_recognized_by_the_file_in_the_error(half_cache, tmp_path, named):
    """The folder has room again when the error is handled."""
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


def test_package_in_a_folder_that_is_not_utf_8_builds_and_hits(fresh_cache, tmp_path):
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
def test_cache_in_a_folder_that_is_not_utf_8_is_neither_written_nor_read(warm_cache, tmp_path):
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
def test_build_whose_header_vanishes_raises(half_cache, tmp_path, moment):
    tree = tmp_path / "tree"
    shutil.copytree(Path(warp_bitonic_sort.__file__).parent, tree / "warp_bitonic_sort")
    header = tree / "warp_bitonic_sort" / "csrc/include/warp_bitonic_sort/network/bitonic.hpp"
    if moment == "before":
        code = f"""
            import os
            from warp_bitonic_sort.jit.store import publish
            files = publish.source_files
            publish.source_files = lambda: [*files(), os.unlink({str(header)!r})][:-1]
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
