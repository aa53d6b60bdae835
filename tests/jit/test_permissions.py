"""`check_writers`: the owners, modes and links of a path that decide whether it is trusted."""

import contextlib
import errno
import grp
import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from support import children
from support.access_lists import ACCESS, DEFAULT, access_list, set_access_list
from warp_bitonic_sort.errors import TrustError
from warp_bitonic_sort.jit.store import permissions


def test_check_writers_in_sticky_folder_accepts_what_is_in_it_only(open_folder, monkeypatch):
    """The sticky bit protects existing files, and not names that are free."""
    number = 4321 if children.IS_ROOT else os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: number)
    sticky = open_folder / "sticky"
    (sticky / "mine").mkdir(parents=True)
    children.own(sticky, number)
    for mode in (0o1777, 0o1775):
        sticky.chmod(mode)
        permissions.check_writers(sticky / "mine", Path("root"))
        permissions.check_writers(sticky / "mine" / "not" / "there", Path("root"))
    sticky.chmod(0o1777)
    with pytest.raises(TrustError, match=f"{sticky} can be written by everybody"):
        permissions.check_writers(sticky, Path("root"))
    monkeypatch.setattr(os, "geteuid", lambda: number + 1)
    for beside in ("", f"/nonexistent{os.pathsep}", sticky / "min", sticky / "mine" / "not"):
        monkeypatch.setenv("WARP_SORT_TRUSTED_DIRS", str(beside))
        with pytest.raises(TrustError, match=f"belongs to another user .number {number}"):
            permissions.check_writers(sticky / "mine", Path("root"))
    for around in (sticky / "mine", sticky, open_folder, "/"):
        monkeypatch.setenv("WARP_SORT_TRUSTED_DIRS", f"/nonexistent{os.pathsep}{around}")
        permissions.check_writers(sticky / "mine" / "not", Path("root"))


def _chain(folder):
    """A path that leads to a sound file by two links; the second lies in a folder in between."""
    (folder / "sound").mkdir()
    (folder / "sound" / "file").touch()
    (folder / "between").mkdir()
    (folder / "between" / "second").symlink_to("../sound")
    (folder / "first").symlink_to(folder / "between")
    return folder / "first" / "second" / "file"


def test_check_writers_of_a_chain_of_links_checks_the_folders_between(open_folder, monkeypatch):
    """Such a folder is a parent neither of the path nor of the file at its end."""
    number = 4321 if children.IS_ROOT else os.geteuid()
    path, between = _chain(open_folder), open_folder / "between"
    children.own(open_folder, number)
    monkeypatch.setattr(os, "geteuid", lambda: number)
    permissions.check_writers(path, Path("root"))
    permissions.check_writers(path, Path("root"))
    between.chmod(0o777)
    for _ in range(2):
        with pytest.raises(TrustError, match=f"{between} can be written by everybody"):
            permissions.check_writers(path, Path("root"))
    monkeypatch.setenv("WARP_SORT_TRUSTED_DIRS", str(between))
    permissions.check_writers(path, Path("root"))


@pytest.mark.skipif(not children.IS_ROOT, reason="root alone gives links to others")
@pytest.mark.parametrize("link", ["first", "between/second"])
def test_check_writers_of_another_users_link_raises(open_folder, monkeypatch, link):
    """A sticky folder lets each user replace only his own files, such as this link."""
    path = _chain(open_folder)
    children.own(open_folder, 4321)
    open_folder.chmod(0o1777)
    (open_folder / "between").chmod(0o1777)
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    permissions.check_writers(path, Path("root"))
    os.chown(open_folder / link, 4322, 4322, follow_symlinks=False)
    with pytest.raises(TrustError, match=f"{open_folder / link} belongs to another user"):
        permissions.check_writers(path, Path("root"))
    # A trusted path that leads through the link trusts the link's owner.
    monkeypatch.setenv("WARP_SORT_TRUSTED_DIRS", str(path.parent))
    permissions.check_writers(path, Path("root"))


def test_check_writers_of_dangling_or_circular_links_raises_nothing(open_folder):
    (open_folder / "nowhere").symlink_to("gone/away")
    (open_folder / "circle").symlink_to("circle/on")
    (open_folder / "up").symlink_to("../" * 40)
    permissions.check_writers(open_folder / "nowhere" / "file", Path("root"))
    permissions.check_writers(open_folder / "circle" / "file", Path("root"))
    permissions.check_writers(open_folder / "up" / "usr" / "bin" / "env", Path("root"))


def _user(name, number, group):
    return SimpleNamespace(pw_name=name, pw_uid=number, pw_gid=group)


_HER, _HIM = _user("alice", 4321, 4321), _user("bob", 4322, 4322)


@pytest.mark.parametrize(
    ("users", "group", "members", "is_hers"),
    [
        ([_HER, _HIM], "alice", [], True),
        ([_HER, _HIM], "alice", ["alice"], True),
        ([_HER, _user("alias", 4321, 4321)], "alice", [], True),
        ([_HER, _HIM], "alice", ["bob"], False),
        ([_HER, _user("bob", 4322, 4321)], "alice", [], False),
        ([_HER, _HIM], "users", [], False),
        ([_user("alice", 4321, 100)], "alice", [], False),
        ([_HIM], "alice", [], False),
        ([_HER], None, [], False),
    ],
    ids=[
        "private",
        "she is listed in it",
        "she has another name",
        "another user is listed in it",
        "it is another user's first one",
        "it has another name",
        "it is not her first one",
        "she is not in the database",
        "it is not in the database",
    ],
)
def test_is_own_group_is_true_for_a_private_group_only(monkeypatch, users, group, members, is_hers):
    """No other user is in the group, neither as a listed member nor by his first group."""
    groups = {} if group is None else {4321: SimpleNamespace(gr_name=group, gr_mem=members)}
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    monkeypatch.setattr(pwd, "getpwuid", {each.pw_uid: each for each in users[::-1]}.__getitem__)
    monkeypatch.setattr(pwd, "getpwall", lambda: users)
    monkeypatch.setattr(grp, "getgrgid", groups.__getitem__)
    assert permissions._is_own_group.__wrapped__(4321, 4321) is is_hers


# The mask, which allows all, is the group's bits of the mode.
_BOB_WRITES = access_list(7, children.BOB, 7, group=5, mask=7, others=5)


@pytest.fixture
def own_group(open_folder, monkeypatch):
    """A folder of an ordinary user's, whose group counts as his private one."""
    number = 4321 if children.IS_ROOT else os.geteuid()
    children.own(open_folder, number)
    monkeypatch.setattr(os, "geteuid", lambda: number)
    monkeypatch.setattr(permissions, "_is_own_group", lambda *_: True)
    return open_folder


@pytest.mark.parametrize("what", ["file", "folder"])
def test_group_write_with_access_list_is_refused(own_group, what):
    path = own_group / "it"
    path.mkdir() if what == "folder" else path.touch()
    children.own(own_group, os.geteuid())
    path.chmod(0o775)
    permissions.check_writers(path, own_group)
    set_access_list(path, ACCESS, _BOB_WRITES)
    assert path.stat().st_mode & 0o777 == 0o775, "it looks as it did"
    said = rf"{path} can be written by the users in its access control list, .*chmod -R go-w"
    for goal in [path, path / "below"] if what == "folder" else [path]:
        with pytest.raises(TrustError, match=said):
            permissions.check_writers(goal, own_group)
    path.chmod(0o755)  # as the message advises: the mask then lets no entry write
    permissions.check_writers(path, own_group)


def test_file_made_under_default_access_list_is_refused(own_group):
    folder = own_group / "folder"
    folder.mkdir(mode=0o755)
    children.own(own_group, os.geteuid())
    set_access_list(folder, DEFAULT, _BOB_WRITES)
    permissions.check_writers(folder, own_group)
    (folder / "file").touch(0o666)
    children.own(own_group, os.geteuid())
    with pytest.raises(TrustError, match="file can be written by the users in its access control"):
        permissions.check_writers(folder / "file", own_group)


@pytest.mark.parametrize(
    ("code", "is_refused"),
    [(errno.ENODATA, False), (errno.ENOTSUP, False), (errno.EACCES, True), (errno.EIO, True)],
)
def test_access_list_that_cannot_be_read_counts_as_one(own_group, monkeypatch, code, is_refused):
    def failing(path, *_, **__):
        raise OSError(code, os.strerror(code), path)

    (own_group / "file").touch()
    children.own(own_group, os.geteuid())
    (own_group / "file").chmod(0o664)
    monkeypatch.setattr(os, "getxattr", failing)
    with pytest.raises(TrustError) if is_refused else contextlib.nullcontext():
        permissions.check_writers(own_group / "file", own_group)


def test_check_writers_of_files_of_root_accepts_them():
    permissions.check_writers(Path("/usr/bin/env"), Path("root"))
    permissions.check_writers(Path("/dev/null"), Path("root"))


@pytest.mark.skipif(not children.IS_ROOT, reason="root alone has files of root's to make")
def test_check_writers_of_roots_file_open_to_everybody_raises(open_folder):
    """A folder of root is trusted with any mode; a file that every user can write is not."""
    file = open_folder / "library.so"
    file.touch()
    open_folder.chmod(0o777)
    permissions.check_writers(file, open_folder)
    file.chmod(0o666)
    with pytest.raises(TrustError, match=f"{file} can be written by everybody"):
        permissions.check_writers(file, open_folder)


def test_check_writers_in_a_container_trusts_the_owner_of_the_root_folder(open_folder, monkeypatch):
    """The owner of / may own the parent folders, but not the loaded file."""
    system_user, user, lstat = 65534, 4711, os.lstat
    owners = {"/": system_user, str(open_folder): system_user, str(open_folder / "mine"): user}

    def owned(path, *arguments, **named):
        found = list(lstat(path, *arguments, **named))
        found[4] = owners.get(str(path), user)
        return os.stat_result(found)

    (open_folder / "mine").mkdir(mode=0o700)
    for parent in open_folder.parents:
        owners[str(parent)] = system_user
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "lstat", owned)
    permissions.check_writers(open_folder / "mine", Path("root"))
    with pytest.raises(TrustError, match=f"belongs to another user \\(number {system_user}\\)"):
        permissions.check_writers(open_folder, Path("root"))
    owners["/"] = 0
    with pytest.raises(TrustError, match=f"{open_folder} belongs to another user"):
        permissions.check_writers(open_folder / "mine", Path("root"))
