"""Locks on files: which process holds one, and for how long."""

import os
import signal

import pytest

from warp_bitonic_sort.jit.store.flock import FileLock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock"


@pytest.fixture
def lock(path):
    """A lock that the test may acquire."""
    made = FileLock(path)
    yield made
    made.release()


def is_free(path):
    other = FileLock(path)
    try:
        return other.acquire(0)
    finally:
        other.release()


def test_lock_that_is_held_is_not_acquired_until_it_is_released(lock, path):
    assert lock.acquire(0)
    assert not is_free(path)
    lock.release()
    assert is_free(path)


def test_release_of_a_lock_that_is_not_held_does_nothing(lock):
    lock.release()
    lock.release()


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_file_of_a_lock_is_open_for_its_owner_alone_whatever_the_umask(lock, path, umask):
    before = os.umask(umask)
    try:
        assert lock.acquire(0)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


def test_file_removed_by_its_holder_is_made_anew(lock, path):
    assert lock.acquire(0)
    path.unlink()
    assert is_free(path), "a new file has another lock"
    again = FileLock(path)
    assert again.acquire(0)
    assert not is_free(path)
    again.release()


def test_link_in_place_of_the_file_is_not_followed(lock, path, tmp_path):
    path.symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        lock.acquire(0)
    assert not (tmp_path / "other").exists()


def test_folder_that_is_not_there_raises(tmp_path):
    with pytest.raises(FileNotFoundError):
        FileLock(tmp_path / "none" / "lock").acquire(1)


def test_forked_child_inherits_no_lock_and_unlocks_none(path):
    """The parent holds it until it dies; the child, which lives on, does not."""
    go_on, may_go_on = os.pipe()
    released, has_released = os.pipe()
    parent = os.fork()
    if parent == 0:
        lock = FileLock(path)
        lock.acquire(0)
        child = os.fork()
        if child == 0:
            lock.release()
            os.write(has_released, b"x")
            signal.pause()
        os.write(has_released, b"%d" % child)
        os.read(go_on, 1)
        os._exit(0)
    said = os.read(released, 100)
    while len(said) < 2 or b"x" not in said:
        said += os.read(released, 100)
    child = int(said.replace(b"x", b""))
    try:
        assert not is_free(path), "the child has not unlocked it"
        os.write(may_go_on, b"x")
        os.waitpid(parent, 0)
        assert is_free(path), "the child does not hold it"
    finally:
        os.kill(child, signal.SIGKILL)
        for descriptor in (go_on, may_go_on, released, has_released):
            os.close(descriptor)
