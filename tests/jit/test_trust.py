"""Files of other users: which are loaded, and the error that refuses the others."""

import contextlib
import errno
import grp
import json
import os
import pwd
import re
import shutil
import struct
import tempfile
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest

from support import children, cubin
from support.children import ANSWER, KERNEL, NO_COMPILER, OTHER_ANSWER, OTHER_SORT, SORT
from support.descriptions import cuda_kernel
from support.shared import filled_once
from warp_bitonic_sort import kernels
from warp_bitonic_sort.errors import ToolError, TrustError
from warp_bitonic_sort.jit import loader, runtime
from warp_bitonic_sort.jit.store import layers, permissions
from warp_bitonic_sort.jit.store.key import build_text
from warp_bitonic_sort.jit.store.store import Store
from warp_bitonic_sort.operations import OPERATIONS
from warp_bitonic_sort.targets import HOST
from warp_bitonic_sort.targets.common.host import find_compiler


@pytest.fixture
def open_folder():
    """A folder below a sticky one: every user can reach it, and only its owner can write it."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="warp-sort-tests-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def theirs(warm_cache, open_folder):
    """A folder of the first user's, in it his own cache, warm."""
    home = open_folder / "home"
    home.mkdir(mode=0o755)
    children.copy(warm_cache, home / "cache")
    (home / "cache").chmod(0o755)
    children.own(home, children.ALICE)
    return home


def _refuses(folder, reason, root=None, **how):
    """The sort ends in the error that names the folder and what mends it."""
    done = children.run(user=children.ALICE, **how)
    last = done.stderr.splitlines()[-1]
    assert done.stdout == ""
    assert f"TrustError: nothing is loaded from {root or ''}" in last
    assert f": {folder} {reason}" in last
    assert ("go-w" in last) == ("can be written" in reason)
    assert "WARP_SORT_TRUSTED_DIRS" in last
    return last


_USERS, _LAYER = "WARP_SORT_CACHE_DIR", "WARP_SORT_CACHE_LAYERS"


def test_prewarm_in_cache_open_to_everybody_writes_nothing(open_folder):
    folder = open_folder / "cache"
    folder.mkdir()
    children.own(folder, children.ALICE)
    folder.chmod(0o777)
    done = children.program(
        "prewarm", "--length", 2, user=children.ALICE, WARP_SORT_CACHE_DIR=folder
    )
    assert done.returncode == 1
    assert f"nothing is loaded from {folder}: {folder} can be written by everybody" in done.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.compile
def test_prewarm_from_layers_in_cache_open_to_everybody_writes_no_list(open_folder):
    """The layers have every artifact, so that the cache's folder is not checked before."""
    (open_folder / "cache").mkdir()
    children.own(open_folder / "cache", children.ALICE)
    (open_folder / "cache").chmod(0o777)
    how = {"WARP_SORT_CACHE_DIR": open_folder / "cache", "user": children.ALICE}
    filled = children.program("prewarm", "--length", 2, "--into", open_folder / "filled")
    assert filled.returncode == 0, filled.stderr
    children.own(open_folder / "filled", children.ALICE)
    done = children.program(
        "prewarm", "--length", 2, WARP_SORT_CACHE_LAYERS=open_folder / "filled", **how
    )
    assert done.returncode == 0, done.stderr
    assert "No list of artifacts is written: " in done.stderr
    assert f"{open_folder / 'cache'} can be written by everybody" in done.stderr
    assert list((open_folder / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("role", "place", "mode"),
    [
        (_LAYER, "", 0o777),
        (_LAYER, "cache", 0o777),
        (_LAYER, "cache/v1/entries", 0o777),
        (_LAYER, "entry of the kernel", 0o777),
        (_LAYER, "product of the kernel", 0o777),
        (_LAYER, "", 0o775),
        (_LAYER, "entry of the kernel", 0o775),
        (_USERS, "", 0o777),
        (_USERS, "cache", 0o775),
        (_USERS, "product of the kernel", 0o777),
    ],
)
@pytest.mark.compile
def test_sort_from_folder_that_others_can_write_raises(theirs, role, place, mode):
    root = theirs / "cache"
    entry = children.folder_of(root, KERNEL)
    known = {"entry of the kernel": entry, "product of the kernel": entry / "library.so"}
    folder = known.get(place, theirs / place)
    folder.chmod(mode)
    if mode == 0o775:
        os.chown(folder, -1, _foreign_group())
    how = {"WARP_SORT_CACHE_DIR": theirs / "empty", **NO_COMPILER, role: root}
    reason = "can be written by everybody" if mode == 0o777 else "can be written by a group"
    _refuses(folder, reason, root, **how)
    for trusted in (folder, theirs):
        done = children.run(user=children.ALICE, WARP_SORT_TRUSTED_DIRS=trusted, **how)
        assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    folder.chmod(0o755)
    done = children.run(user=children.ALICE, **how)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")


def _foreign_group():
    """A group that is not the user's private one, to which this process may give a file."""
    if children.IS_ROOT:
        return 12345
    others = set(os.getgroups()) - {os.getegid()}
    if not others:
        pytest.skip("this user is in one group only")
    return others.pop()


@pytest.mark.parametrize("place", ["cache", "product of the kernel"])
@pytest.mark.parametrize("role", [_LAYER, _USERS])
@pytest.mark.compile
def test_cache_command_names_what_is_refused(theirs, place, role):
    """What is refused may be sound, but it is not read, and a sort fails."""
    root = theirs / "cache"
    how = {"WARP_SORT_CACHE_DIR": theirs / "empty", role: root, "user": children.ALICE}
    assert children.program("cache", "verify", **how).returncode == 0
    folder = root if place == "cache" else children.folder_of(root, KERNEL) / "library.so"
    folder.chmod(0o777)
    said = f"Refused: nothing is loaded from {root}: {folder} can be written by everybody"
    done = children.program("cache", "verify", **how)
    assert done.returncode == 1, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith(said)
    assert second == f"{0 if place == 'cache' else 1} of 2 artifacts are sound"
    done = children.program("cache", "list", **how)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(said) == 1
    listed = json.loads(children.program("cache", "list", "--json", **how).stdout)
    assert [each["refused"].startswith(said[9:]) for each in listed] == [True, True]
    trusted = children.program("cache", "verify", WARP_SORT_TRUSTED_DIRS=root, **how)
    assert (trusted.returncode, trusted.stdout) == (0, "2 of 2 artifacts are sound\n")


@pytest.mark.parametrize("place", ["", "v1/entries", "runtime", "kernel"])
@pytest.mark.compile
def test_doctor_reports_a_refused_layer_once(theirs, place):
    layer = theirs / "cache"
    products = {"runtime": kernels.RUNTIME, "kernel": KERNEL}
    folder = layer / place
    if place in products:
        folder = children.folder_of(layer, products[place])
    folder.chmod(0o777)
    how = {"WARP_SORT_CACHE_LAYERS": layer, "WARP_SORT_CACHE_DIR": theirs / "mine"}
    done = children.program("doctor", user=children.ALICE, **how)
    assert done.returncode == 1, done.stderr
    said = done.stdout.partition("Problem 1: ")[2].splitlines()
    # (The kernel of the small sort is another one than the layer's.)
    verdict = "A call to sort would not work."
    if place == "kernel":
        verdict = "A call to sort works unless its kernel is in the folder that is refused."
    assert said[0].startswith(f"nothing is loaded from {layer}: {folder} can be written by every")
    assert re.match(
        r"  Fix: Take that permission away \(chmod.* go-w.*\), or, if you trust", said[1]
    )
    assert said[2:] == ["", verdict]
    done = children.program("doctor", "--no-build", user=children.ALICE, **how)
    assert done.stdout.endswith("\n\nA call to sort would not work.\n")


def test_sort_from_layer_of_another_user_raises(theirs):
    """Another user could change it at any time, unless the reader trusts him."""
    how = {"user": children.BOB, "WARP_SORT_CACHE_DIR": theirs / "none", **NO_COMPILER}
    how["WARP_SORT_CACHE_LAYERS"] = theirs / "cache"
    done = children.run(**how)
    assert f"belongs to another user (number {children.ALICE})" in done.stderr
    assert "TrustError" in done.stderr
    done = children.run(**how, WARP_SORT_TRUSTED_DIRS=theirs)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")


@pytest.mark.parametrize("place", ["cache", "v1", "entry"])
def test_link_in_a_folder_that_others_can_write_is_refused(theirs, open_folder, place):
    """The link's target is sound, but a user who can write the folder can change the link."""
    shared = open_folder / "shared"
    shared.mkdir()
    real = theirs / "cache"
    if place == "cache":
        (shared / "cache").symlink_to(real)
    elif place == "v1":
        (shared / "cache").mkdir()
        (shared / "cache" / "v1").symlink_to(real / "v1")
    else:
        children.copy(real, shared / "cache")
        entry = children.folder_of(shared / "cache", KERNEL)
        shutil.rmtree(entry)
        entry.symlink_to(children.folder_of(real, KERNEL))
    children.own(shared, children.ALICE)
    how = {"WARP_SORT_CACHE_DIR": theirs / "empty", **NO_COMPILER}
    how["WARP_SORT_CACHE_LAYERS"] = shared / "cache"
    sound = children.run(user=children.ALICE, **how)
    assert (sound.stdout.strip(), sound.stderr) == (ANSWER, "")
    shared.chmod(0o777)
    _refuses(shared, "can be written by everybody", **how)


def test_link_out_of_a_sound_folder_into_one_that_others_can_write_is_refused(theirs):
    entry = children.folder_of(theirs / "cache", KERNEL)
    (theirs / "open").mkdir()
    entry.rename(theirs / "open" / "entry")
    entry.symlink_to(theirs / "open" / "entry")
    children.own(theirs, children.ALICE)
    (theirs / "open").chmod(0o777)
    how = {"WARP_SORT_CACHE_DIR": theirs / "cache", **NO_COMPILER}
    _refuses(theirs / "open", "can be written by everybody", **how)


_DENIED = """
import os
def denied(call):
    def denying(path, *args, **how):
        if str(path).startswith("{layer}/"):
            raise PermissionError(13, "Permission denied", str(path))
        return call(path, *args, **how)
    return denying
os.stat, os.listdir = denied(os.stat), denied(os.listdir)
"""


@pytest.mark.compile
def test_layer_that_cannot_be_read_counts_as_none(theirs):
    """The calls that read are replaced, for root can read every folder."""
    layer = theirs / "cache"
    layer.chmod(0)
    code = _DENIED.format(layer=layer) + SORT
    how = {"user": children.ALICE, "WARP_SORT_CACHE_LAYERS": layer, **NO_COMPILER}
    done = children.run(code, WARP_SORT_CACHE_DIR=theirs / "none", **how)
    last = done.stderr.splitlines()[-1]
    assert "ToolError: runtime and cpu_all_none_" in last
    entries = layer / "v1" / "entries" / "runtime"
    assert f"are in no cache ({entries} cannot be read: Permission denied), and cannot be" in last
    sorted_ = children.run(code, user=children.ALICE, WARP_SORT_CACHE_LAYERS=layer,
                           WARP_SORT_CACHE_DIR=theirs / "mine")  # fmt: skip
    assert (sorted_.stdout.strip(), sorted_.stderr) == (ANSWER, "")


def test_doctor_reports_a_layer_that_cannot_be_read(theirs):
    layer = theirs / "cache"
    code = """
        from warp_bitonic_sort.cli import main
        main(["doctor", "--no-build"])
    """
    denied = _DENIED.format(layer=layer) + textwrap.dedent(code)
    how = {"WARP_SORT_CACHE_LAYERS": layer, "WARP_SORT_CACHE_DIR": theirs / "none"}
    done = children.run(denied, user=children.ALICE, **how)
    said = f"WARP_SORT_CACHE_LAYERS: {layer}/v1/entries cannot be read: Permission denied"
    assert said in done.stdout, done.stderr
    assert "holds no kernels" not in done.stdout
    assert "cannot be read" not in children.run(code, user=children.ALICE, **how).stdout


def test_sort_with_cache_that_others_can_write_builds_nothing(theirs):
    shutil.rmtree(theirs / "cache")
    theirs.chmod(0o777)
    how = {"user": children.ALICE, "WARP_SORT_CACHE_DIR": theirs / "cache"}
    done = children.run(**how)
    assert f"{theirs} can be written by everybody" in done.stderr.splitlines()[-1]
    assert children.entries(theirs / "cache") == []


@pytest.mark.skipif(not children.IS_ROOT, reason="root alone may write where others' links lead")
@pytest.mark.parametrize("place", ["home", "home/.cache", "home/.cache/warp_bitonic_sort"])
def test_sort_through_link_of_another_user_makes_no_folder(open_folder, place):
    """Root with another user's home: not even a folder is made."""
    secret = open_folder / "secret"
    secret.mkdir(mode=0o700)
    link = open_folder / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(secret)
    for path in (link, *link.relative_to(open_folder).parents):
        os.chown(open_folder / path, children.ALICE, children.ALICE, follow_symlinks=False)
    os.chown(open_folder, 0, 0)
    folder = open_folder / "home" / ".cache" / "warp_bitonic_sort" / "jit"
    for how in ({"WARP_SORT_CACHE_DIR": folder}, {"XDG_CACHE_HOME": folder.parent.parent}):
        done = children.run(user=0, **{"WARP_SORT_CACHE_DIR": None, **how})
        assert "TrustError: nothing is loaded from" in done.stderr
        assert f"belongs to another user (number {children.ALICE})" in done.stderr
        assert list(secret.iterdir()) == []


@pytest.mark.parametrize("umask", [0, 0o002, 0o022, 0o077])
@pytest.mark.compile
def test_cache_under_any_umask_is_closed_to_other_users(theirs, umask):
    """The reader accepts what was built under any umask."""
    shutil.rmtree(theirs / "cache")
    code = f"import os; os.umask({umask})\n{SORT}"
    done = children.run(code, user=children.ALICE, WARP_SORT_CACHE_DIR=theirs / "cache")
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    assert (theirs / "cache").stat().st_mode & 0o777 == 0o700
    assert [path for path in theirs.rglob("*") if path.stat().st_mode & 0o022] == []
    again = children.run(user=children.ALICE, WARP_SORT_CACHE_DIR=theirs / "cache", **NO_COMPILER)
    assert (again.stdout.strip(), again.stderr) == (ANSWER, "")


@pytest.mark.parametrize("filler", ["a user", "root"])
@pytest.mark.compile
def test_layer_of_one_user_serves_another(open_folder, filler):
    alice = children.ALICE if filler == "a user" else 0
    if alice == 0 and not children.IS_ROOT:
        # A layer that root filled differs by its owner alone, and / is a folder of his.
        permissions.check_writers(Path("/usr/bin/env"), Path("root"))
        return
    home, away = open_folder / "alice", open_folder / "bob"
    for folder, user in ((home, alice), (away, children.BOB)):
        folder.mkdir(mode=0o755)
        children.own(folder, user)
    layer = home / "layer"
    filled = children.program("prewarm", "--length", 3, "--into", layer, user=alice, HOME=home)
    assert filled.returncode == 0, filled.stderr
    assert layer.stat().st_mode & 0o022 == 0
    how = {"user": children.BOB, "WARP_SORT_CACHE_LAYERS": layer, "HOME": away, **NO_COMPILER}
    how["WARP_SORT_CACHE_DIR"] = away / "cache"
    done = children.run(**how)
    if filler == "a user":
        assert "TrustError: nothing is loaded from" in done.stderr
        assert f"{layer}" in done.stderr
        done = children.run(**how, WARP_SORT_TRUSTED_DIRS=layer)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    assert not (away / "cache").exists()


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


def _access_list(*entries):
    """An access control list as Linux stores it: (tag, permissions, number of the user) each."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def _set_access_list(path, kind, user, mask):
    """Let a user read and write a file, as far as the mask goes: the group's bits of its mode."""
    user_obj, named_user, group_obj, mask_tag, other, nobody = 1, 2, 4, 16, 32, 0xFFFFFFFF
    packed = _access_list(
        (user_obj, 7, nobody),
        (named_user, 7, user),
        (group_obj, 5, nobody),
        (mask_tag, mask, nobody),
        (other, 5, nobody),
    )
    try:
        os.setxattr(path, f"system.posix_acl_{kind}", packed)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip("this file system has no access control lists")


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
    _set_access_list(path, "access", children.BOB, mask=7)
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
    _set_access_list(folder, "default", children.BOB, mask=7)
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
    nobody, somebody, lstat = 65534, 4711, os.lstat
    owners = {"/": nobody, str(open_folder): nobody, str(open_folder / "mine"): somebody}

    def owned(path, *arguments, **named):
        found = list(lstat(path, *arguments, **named))
        found[4] = owners.get(str(path), somebody)
        return os.stat_result(found)

    (open_folder / "mine").mkdir(mode=0o700)
    for parent in open_folder.parents:
        owners[str(parent)] = nobody
    monkeypatch.setattr(os, "geteuid", lambda: somebody)
    monkeypatch.setattr(os, "lstat", owned)
    permissions.check_writers(open_folder / "mine", Path("root"))
    with pytest.raises(TrustError, match=f"belongs to another user \\(number {nobody}\\)"):
        permissions.check_writers(open_folder, Path("root"))
    owners["/"] = 0
    with pytest.raises(TrustError, match=f"{open_folder} belongs to another user"):
        permissions.check_writers(open_folder / "mine", Path("root"))


@pytest.mark.parametrize("code", [SORT, OTHER_SORT])
@pytest.mark.compile
def test_layer_whose_runtime_does_not_load_is_left_out(whole_layer, fresh_cache, tmp_path, code):
    """It may have been built where the C++ library has another name."""
    layer = children.copy(whole_layer, tmp_path / "layer")
    children.break_library(layer, kernels.RUNTIME)
    done = children.run(code, WARP_SORT_CACHE_LAYERS=layer)
    assert done.stdout.strip() == (ANSWER if code == SORT else OTHER_ANSWER), done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    assert f"the runtime in the layer {layer} does not load on this machine" in done.stderr
    assert "libstdc++.so.9" in done.stderr
    assert len(children.entries(fresh_cache)) == 2


@pytest.mark.compile
def test_threads_with_a_runtime_that_does_not_load_warn_once(whole_layer, fresh_cache, tmp_path):
    """One warning is given, and all threads go on without the layer."""
    layer = children.copy(whole_layer, tmp_path / "layer")
    children.break_library(layer, kernels.RUNTIME)
    code = """
        import threading, numpy as np, warp_bitonic_sort as w
        from concurrent.futures import ThreadPoolExecutor
        from warp_bitonic_sort.jit import runtime
        load, barrier = runtime.load, threading.Barrier(4)
        def at_once(entry, is_new=False):
            if entry.folder.parents[3].name == "layer":
                barrier.wait()  # all have found it, and none has loaded it
            return load(entry, is_new)
        runtime.load = at_once
        with ThreadPoolExecutor(4) as pool:
            rows = [np.float32([[3, 1, 2]])] * 4
            assert all((y == [[1, 2, 3]]).all() for y in pool.map(w.sort, rows))
        print("done")
    """
    done = children.run(code, WARP_SORT_CACHE_LAYERS=layer)
    assert done.stdout.strip() == "done", done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    assert len(children.entries(fresh_cache)) == 2


def test_layer_filled_with_options_is_missed_without_them(fresh_cache, tmp_path):
    """Options change the code, as -march=native does."""
    compiler = " ".join(find_compiler().command)
    first = children.run(WARP_SORT_CACHE_DIR=tmp_path / "layer", CXX=f"{compiler} -DSOMETHING")
    assert first.stdout.strip() == ANSWER, first.stderr
    done = children.run(WARP_SORT_CACHE_LAYERS=tmp_path / "layer")
    assert done.stdout.strip() == ANSWER, done.stderr
    assert len(children.entries(fresh_cache)) == 2


def test_gpu_kernels_of_a_layer_whose_runtime_does_not_load_are_found(tmp_path, monkeypatch):
    """Another runtime can load them, for they are no libraries of this machine."""
    kernel = cuda_kernel("ieee", 32, 4, 0, 0, "rows", "sm_90")
    entry = children.publish_product(Store(tmp_path), kernel, cubin.cubin(cubin.constant(), 90))
    monkeypatch.setenv("WARP_SORT_CACHE_LAYERS", str(tmp_path))
    monkeypatch.setattr(layers, "_unusable", set())
    library = tmp_path / "v1" / "entries" / "runtime" / "0" / "library.so"
    with pytest.warns(RuntimeWarning, match="only its kernels for GPUs are used"):
        assert layers.disable_layer(library, "no such library")
    for artifact, found in ((kernel, entry), (KERNEL, None), (kernels.RUNTIME, None)):
        text = build_text(artifact)
        assert [layer.find(artifact, text, None) for layer in layers.all_layers()][-1] == found


@pytest.mark.parametrize(
    ("operation", "array", "dtype", "length"),
    [
        *((name, "np.zeros((2, 4), np.int16)", "int16", 4) for name in OPERATIONS),
        ("sort", "np.zeros((2, 2000))[:, ::2]", "float64", 1000),
        ("sort", "np.zeros((5, 9), np.uint8).T", "uint8", 5),
    ],
)
@pytest.mark.compile
def test_error_without_compiler_gives_the_prewarm_command(
    whole_layer, tmp_path, operation, array, dtype, length
):
    """The command in the error is run as it stands, and then the call works."""
    code = f"import numpy as np, warp_bitonic_sort as w; w.{operation}({array})"
    how = {"WARP_SORT_CACHE_DIR": tmp_path / "cache", **NO_COMPILER}
    done = children.run(code, WARP_SORT_CACHE_LAYERS=whole_layer, **how)
    last = done.stderr.splitlines()[-1]
    order = (
        f"--operation {operation} --backend cpu --arch {KERNEL.arch} --dtype {dtype} "
        f"--length {length} --into FOLDER"
    )
    assert f"(warp-bitonic-sort prewarm {order})" in last
    arguments = [word.replace("FOLDER", str(tmp_path / "made")) for word in order.split()]
    assert children.program("prewarm", *arguments).returncode == 0
    done = children.run(code, WARP_SORT_CACHE_LAYERS=tmp_path / "made", **how)
    assert done.returncode == 0, done.stderr


def test_error_of_gpu_kernel_without_compiler_gives_the_prewarm_command(tmp_path, monkeypatch):
    monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setattr(runtime, "_loaded", object())
    kernel = cuda_kernel("ieee", 32, 4, 0, 0, "rows", "sm_90")
    order = "--operation sort --backend cuda --arch sm_90 --dtype float32 --length 3 --into FOLDER"
    with pytest.raises(ToolError, match=rf"\(warp-bitonic-sort prewarm {order}\)"):
        loader.open_kernel(kernel, "float32", 0, 3)


_has_lesser = pytest.mark.skipif(
    not HOST.lesser_archs(KERNEL.arch), reason="there is no lesser target"
)


@pytest.fixture(scope="module")
def lesser_layer(tmp_path_factory):
    """A layer of the least target's kernels; tests copy it, none changes it."""
    arch = HOST.lesser_archs(KERNEL.arch)[-1]

    def fill(folder):
        done = children.program("prewarm", "--length", "3-4", "--arch", arch, "--into", folder)
        assert done.returncode == 0, done.stderr

    return filled_once(tmp_path_factory, "lesser-layer", fill)


def _is_warned_of(arch, stderr):
    """Whether there is one warning, which names this machine's target and a lesser one."""
    said = f"RuntimeWarning: the kernel {KERNEL.name} is in no cache and cannot be compiled here. "
    return stderr.count("Warning") == 1 and f"{said}A slower kernel for {arch} is used" in stderr


@_has_lesser
def test_sort_without_compiler_uses_the_best_lesser_target(lesser_layer, fresh_cache, tmp_path):
    """The best target in a layer is used. With a compiler, this machine's own is built."""
    lesser = HOST.lesser_archs(KERNEL.arch)
    code = f"""
        {SORT}
        from pathlib import Path
        layer = str(Path({str(tmp_path)!r}, "layer"))
        print(*sorted({{line.split("/")[-3] for line in Path("/proc/self/maps").read_text().split()
                       if line.startswith(layer) and "cpu_all_none_" in line}}))
        print(w.sort(np.float32([[6, 5, 4, 3]])).tolist())
    """
    layer = children.copy(lesser_layer, tmp_path / "layer")
    how = {"WARP_SORT_CACHE_LAYERS": layer, **NO_COMPILER}
    for arch in reversed(lesser):
        filled = children.program("prewarm", "--length", 3, "--arch", arch, "--into", layer)
        assert filled.returncode == 0, filled.stderr
        done = children.run(code, **how)
        expected = [ANSWER, KERNEL._replace(arch=arch).name, "[[3.0, 4.0, 5.0, 6.0]]"]
        assert done.stdout.splitlines() == expected, done.stderr
        # Of the first such kernel alone, though the second is no better.
        assert _is_warned_of(arch, done.stderr), done.stderr
        assert f"--arch {KERNEL.arch} --dtype float32 --length 3 --into FOLDER" in done.stderr
    assert not fresh_cache.exists()
    missed = children.run(OTHER_SORT.replace("0]", "0, 5]"), **how)
    assert f"registers5_rows_{KERNEL.arch.replace('-', '_')} is in none of" in missed.stderr
    done = children.run(WARP_SORT_CACHE_LAYERS=layer)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    assert children.entries(fresh_cache) == [KERNEL.name]


@_has_lesser
@pytest.mark.parametrize("asked", [None, "g++"])
def test_sort_without_ninja_uses_a_lesser_target(lesser_layer, tmp_path, asked, fresh_cache):
    for name in ("c++", "g++"):
        (tmp_path / name).symlink_to(find_compiler().program)
    code = f"{children.NO_NINJA}\n{SORT}"
    how = {"WARP_SORT_CACHE_LAYERS": lesser_layer, "PATH": tmp_path, "CXX": asked}
    done = children.run(code, **how)
    assert done.stdout.strip() == ANSWER, done.stderr
    assert _is_warned_of(HOST.lesser_archs(KERNEL.arch)[-1], done.stderr), done.stderr
    assert children.entries(fresh_cache) == []


@_has_lesser
@pytest.mark.parametrize("asked", ["/nonexistent/g++", "false", 'g++ "'])
@pytest.mark.usefixtures("fresh_cache")
def test_sort_with_wrong_cxx_uses_no_lesser_target(lesser_layer, asked):
    """The user named a compiler: a slower kernel in silence would hide that it is wrong."""
    done = children.run(WARP_SORT_CACHE_LAYERS=lesser_layer, CXX=asked)
    assert done.stdout == ""
    assert "ToolError: " in done.stderr
    assert "CXX" in done.stderr.splitlines()[-1]
    assert "Warning" not in done.stderr


def test_lesser_archs_are_listed_from_best_to_least():
    assert HOST.lesser_archs("x86-64-avx512") == ("x86-64-avx2", "x86-64")
    assert HOST.lesser_archs("x86-64-avx2") == ("x86-64",)
    assert [HOST.lesser_archs(arch) for arch in ("x86-64", "aarch64", "generic")] == [()] * 3
