"""Replacing a file: which file, with which permissions, and what a killed run leaves."""

import errno
import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from support.access_lists import ACCESS, DEFAULT, access_list, set_access_list
from support.children import ALICE, BOB, IS_ROOT
from warp_bitonic_sort.cli._replace import _resolved, replacing

CAROL = 65531


def replace(target, content=b"new"):
    with replacing(target) as descriptor:
        os.write(descriptor, content)


def mode(path):
    return path.stat().st_mode & 0o7777


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def give(monkeypatch):
    """A function that gives a path to a user: root really, others in stat's result."""
    owners = {}
    real = Path.stat

    def stat(self, *, follow_symlinks=True):
        status = real(self, follow_symlinks=follow_symlinks)
        if str(self) not in owners:
            return status
        fields = list(status)
        fields[4] = owners[str(self)]
        return os.stat_result(fields)

    def function(path, user):
        if IS_ROOT:
            os.chown(path, user, user, follow_symlinks=False)
        else:
            monkeypatch.setattr(Path, "stat", stat)
            owners[str(path)] = user

    return function


@pytest.fixture(autouse=True)
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def sticky(tmp_path, give):
    """A folder like /tmp, of a third user."""
    folder = tmp_path / "sticky"
    folder.mkdir()
    folder.chmod(0o1777)
    give(folder, CAROL)
    return folder


# -- permissions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [0o6755, 0o4600, 0o2664, 0o1644, 0o7777])
def test_replacing_own_file_with_set_id_bits_drops_them(tmp_path, old):
    out = tmp_path / "out"
    out.touch()
    out.chmod(old)
    replace(out)
    assert mode(out) == old & 0o777
    assert out.read_bytes() == b"new"


@pytest.mark.parametrize("old", [0o600, 0o640, 0o604, 0o666, 0o6777, None])
def test_replacing_opens_the_new_file_with_no_more_than_it_ends_with(tmp_path, monkeypatch, old):
    out = tmp_path / "out"
    if old is not None:
        out.touch()
        out.chmod(old)
    modes = []

    def spied(real):
        def spy(*arguments, **options):
            result = real(*arguments, **options)
            modes.extend(map(mode, tmp_path.glob(".*")))
            return result

        return spy

    for name in ("open", "fchown", "fchmod", "fsync", "setxattr", "removexattr"):
        monkeypatch.setattr(os, name, spied(getattr(os, name)))
    replace(out)
    final = 0o644 if old is None else old & 0o777
    assert modes
    assert mode(out) == final
    assert [each for each in modes if each & ~final] == []


@pytest.mark.parametrize("old", [0o600, 0o6777])
def test_replacing_another_users_file_takes_nothing_from_its_mode(tmp_path, give, old):
    out = tmp_path / "out"
    out.touch()
    give(out, BOB if IS_ROOT else os.geteuid() + 1)
    out.chmod(old)
    replace(out)
    assert mode(out) == 0o644


def test_replacing_keeps_the_group(tmp_path):
    out = tmp_path / "out"
    out.touch()
    groups = {BOB} if IS_ROOT else {*os.getgroups()} - {out.stat().st_gid}
    group = min(groups, default=out.stat().st_gid)
    os.chown(out, -1, group)
    out.chmod(0o660)
    replace(out)
    assert (out.stat().st_gid, mode(out)) == (group, 0o660)


@pytest.mark.parametrize(
    ("old", "new"),
    [(0o660, 0o600), (0o640, 0o600), (0o664, 0o644), (0o604, 0o600), (0o777, 0o777)],
)
def test_replacing_with_another_group_grants_neither_group_more(tmp_path, monkeypatch, old, new):
    def not_a_member(*_):
        raise PermissionError

    monkeypatch.setattr(os, "fchown", not_a_member)
    out = tmp_path / "out"
    out.touch()
    out.chmod(old)
    replace(out)
    assert mode(out) == new


BOB_WRITES = access_list(6, BOB, 6, group=0, mask=6, others=0)


def test_replacing_file_with_access_list_keeps_the_list(tmp_path):
    out = tmp_path / "out"
    out.touch()
    set_access_list(out, ACCESS, BOB_WRITES)
    replace(out)
    # The mode alone would give the group what the mask allows to BOB.
    assert os.getxattr(out, ACCESS) == BOB_WRITES
    assert mode(out) == 0o660


def test_replacing_file_without_access_list_takes_none_from_the_folder(tmp_path):
    out = tmp_path / "out"
    out.touch()
    out.chmod(0o660)
    set_access_list(tmp_path, DEFAULT, BOB_WRITES)
    replace(out)
    with pytest.raises(OSError, match="No data"):
        os.getxattr(out, ACCESS)
    assert mode(out) == 0o660


def test_replacing_hard_link_leaves_the_other_name_alone(tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    other.write_bytes(b"old")
    out.hardlink_to(other)
    replace(out)
    assert (out.read_bytes(), other.read_bytes()) == (b"new", b"old")


# -- links ----------------------------------------------------------------------------------------


def refusal(target):
    with pytest.raises(click.ClickException) as caught:
        replace(target)
    assert caught.value.message.startswith(f"{target}: ")
    return caught.value.message


def test_replacing_through_another_users_link_in_sticky_folder_is_refused(tmp_path, sticky, give):
    precious = tmp_path / "precious"
    precious.write_bytes(b"old")
    for link, target, through in (
        ("plain", precious, "plain"),
        ("dangling", tmp_path / "nothing", "dangling"),
        ("folder", tmp_path, "folder/precious"),
    ):
        (sticky / link).symlink_to(target)
        give(sticky / link, BOB)
        assert f"{sticky / link} is a link of another user" in refusal(sticky / through)
        # At the end of a chain that begins with our own link.
        (tmp_path / f"to-{link}").symlink_to(sticky / through)
        assert f"{sticky / link} is a link of another user" in refusal(tmp_path / f"to-{link}")
    assert precious.read_bytes() == b"old"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("owner", ["me", "the folder's"])
def test_replacing_through_trusted_link_in_sticky_folder_follows_it(tmp_path, sticky, give, owner):
    link = sticky / "link"
    link.symlink_to(tmp_path / "out")
    give(link, os.geteuid() if owner == "me" else CAROL)
    replace(link)
    assert (tmp_path / "out").read_bytes() == b"new"
    assert link.is_symlink()


@pytest.mark.parametrize("bits", [0o755, 0o777, 0o1755])
def test_replacing_through_another_users_link_in_other_folder_follows_it(sticky, give, bits):
    # As the kernel does.
    sticky.chmod(bits)
    (sticky / "link").symlink_to(sticky / "out")
    give(sticky / "link", BOB)
    replace(sticky / "link")
    assert (sticky / "out").read_bytes() == b"new"


def test_resolved_path_is_the_systems(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "a" / "b" / "far").symlink_to("../up/./a/up/x")
    (tmp_path / "x").symlink_to("a/b/new")
    (tmp_path / "absolute").symlink_to(tmp_path / "a" / "b")
    monkeypatch.chdir(tmp_path / "a")
    for name in ("b/far", "up/x", "../absolute/../up/absolute/y", "b/../../x", "new/z", "/", "/.."):
        assert str(_resolved(Path(name))) == os.path.realpath(name)


def test_replacing_through_links_without_end_is_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "Too many levels of symbolic links" in refusal(tmp_path / "a")
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("bits", [0o1777, 0o1775])
def test_replacing_another_users_file_in_sticky_folder_is_refused_at_once(
    sticky, give, monkeypatch, bits
):
    sticky.chmod(bits)
    out = sticky / "out"
    out.write_bytes(b"old")
    out.chmod(0o666)
    give(out, BOB)
    monkeypatch.setattr(os, "geteuid", lambda: ALICE)
    assert "only its owner may replace it in a folder with the sticky bit" in refusal(out)
    assert out.read_bytes() == b"old"
    assert names(sticky) == ["out"]


# -- what is left ---------------------------------------------------------------------------------


def leave(target):
    """Kill a process that replaces a file, and return what it leaves."""
    code = (
        "import os, signal; from pathlib import Path\n"
        "from warp_bitonic_sort.cli._replace import replacing\n"
        f"with replacing(Path({str(target)!r})):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    before = {*target.parent.iterdir()}
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    (left,) = {*target.parent.iterdir()} - before
    return left


def test_replacing_after_killed_run_removes_its_temporary(tmp_path):
    out = tmp_path / "out.npy"
    left = leave(out)
    assert re.fullmatch(r"\.out\.npy\.[0-9a-f]{16}\.warp-bitonic-sort\.tmp", left.name)
    other = leave(tmp_path / "other.npy")
    with replacing(out):
        assert not left.exists()
    assert names(tmp_path) == [other.name, "out.npy"]


def test_replacing_beside_living_run_keeps_its_temporary(tmp_path):
    out = tmp_path / "out"
    with replacing(out) as first:
        os.write(first, b"first")
        replace(out, b"second")
        assert out.read_bytes() == b"second"
    assert out.read_bytes() == b"first"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "another user's", "another name"])
def test_replacing_never_removes_what_is_no_temporary_of_the_user(
    tmp_path, give, kind, monkeypatch
):
    out = tmp_path / "out"
    left = leave(out)
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")
    if kind == "another name":
        left = left.rename(f"{left}.npy")
    elif kind == "another user's":
        if IS_ROOT:
            give(left, BOB)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: ALICE + 1)
    else:
        left.unlink()
        {
            "link": lambda: left.symlink_to(outside),
            "fifo": lambda: os.mkfifo(left),
            "folder": left.mkdir,
        }[kind]()
    replace(out)
    assert names(tmp_path) == sorted([left.name, "out", "outside"])
    assert outside.read_bytes() == b"precious"


def test_replacing_where_another_run_takes_the_new_file_for_abandoned_tries_again(
    tmp_path, monkeypatch
):
    real, calls = fcntl.flock, []

    def flock(descriptor, operation):
        calls.append(descriptor)
        if len(calls) == 1:  # it has just locked it
            raise BlockingIOError
        if len(calls) == 2:  # it has just removed it
            (newest,) = (path for path in tmp_path.glob(".*") if path.stat().st_ino == inode(-1))
            newest.unlink()
        real(descriptor, operation)

    def inode(index):
        return os.fstat(calls[index]).st_ino

    monkeypatch.setattr(fcntl, "flock", flock)
    replace(tmp_path / "out")
    assert len(calls) == 3
    assert names(tmp_path) == ["out"]


def test_replacing_where_every_new_file_is_held_is_refused(tmp_path, monkeypatch):
    def flock(*_):
        raise BlockingIOError

    monkeypatch.setattr(fcntl, "flock", flock)
    assert "cannot be written: other processes hold" in refusal(tmp_path / "out")
    assert names(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_replacing_on_file_system_without_locks_works_and_removes_nothing(
    tmp_path, monkeypatch, number
):
    out = tmp_path / "out"
    left = leave(out)

    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    replace(out)
    assert names(tmp_path) == sorted([left.name, "out"])


@pytest.mark.parametrize("name", ["n" * 255, "\N{PILE OF POO}" * 63])
def test_replacing_file_of_the_longest_name_works(tmp_path, name):
    left = leave(tmp_path / name)
    assert left.name.startswith(f".{name[:48]}.")
    replace(tmp_path / name)
    assert names(tmp_path) == [name]
