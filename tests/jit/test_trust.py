"""Files of other users: which are loaded, and the error that refuses the others."""

import json
import os
import re
import shutil
import textwrap
from pathlib import Path

import pytest

from support import children
from support.children import ANSWER, KERNEL, NO_COMPILER, SORT
from warp_bitonic_sort import kernels
from warp_bitonic_sort.jit.store import permissions


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
def test_prewarm_from_layers_in_cache_open_to_everybody_writes_no_list(whole_layer, open_folder):
    """The layers have every artifact, so that the cache's folder is not checked before."""
    (open_folder / "cache").mkdir()
    children.own(open_folder / "cache", children.ALICE)
    (open_folder / "cache").chmod(0o777)
    how = {"WARP_SORT_CACHE_DIR": open_folder / "cache", "user": children.ALICE}
    filled = children.copy(whole_layer, open_folder / "filled")
    children.own(filled, children.ALICE)
    done = children.program("prewarm", "--length", 3, WARP_SORT_CACHE_LAYERS=filled, **how)
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


@pytest.mark.parametrize("place", ["", "runtime", "kernel"])
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


@pytest.mark.parametrize("umask", [0, 0o077])
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
