"""Links in a cache, and folders that another user can write: no command changes anything there."""

import json
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from support import children
from support.children import ANSWER, KERNEL
from warp_bitonic_sort import prewarm
from warp_bitonic_sort.cli import main
from warp_bitonic_sort.errors import CacheError, TrustError
from warp_bitonic_sort.jit.store import inventory, maintenance, publish
from warp_bitonic_sort.jit.store.store import Store

_PARTS = ["entries", "staging", "locks", "logs", "tools"]
_PLACES = ["v1", *(f"v1/{part}" for part in _PARTS)]
_COMMANDS = ["clear", "prune", "prune --keep 0", "prune --older 0s --dry-run"]


def _invoke(command, status):
    result = CliRunner().invoke(main, ["cache", *command.split()])
    assert result.exit_code == status, result.output
    return result.output


def _tree(folder):
    """Everything in a folder that a command might change."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mode, path.lstat().st_mtime_ns)
        for path in sorted([folder, *folder.rglob("*")])
    }


@pytest.fixture
def outside(tmp_path):
    """A user's own files, which look as if killed builds had left them in a cache."""
    folder = tmp_path / "outside"
    left = folder / f"{publish.staging_prefix()}project" / "code"
    left.mkdir(parents=True)
    (left / "main.c").write_text("int main;")
    (left.parent / publish.OWNER_LOCK).touch()
    for name in ("artifact.lock", "artifact.holder", ".half.tmp", "notes.log", "some.json"):
        (folder / name).write_text("mine")
    for part in _PARTS:  # what a link in place of v1 leads to
        children.copy(left, folder / part / "artifact" / "key")
    children.grow_old(folder, hours=100)
    return folder


@pytest.fixture
def full_cache(cache_copy):
    """The copy of a cache with something in every part of it."""
    for part in _PARTS:
        (cache_copy / "v1" / part).mkdir(exist_ok=True)
        (cache_copy / "v1" / part / "file.log").touch()
    return cache_copy


def _replace(path, target):
    """Have a link in place of what a cache has there, which is kept beside the cache."""
    if path.exists():
        path.rename(path.parents[1] / f"kept-{path.name}")
    path.symlink_to(target)


@pytest.mark.parametrize("command", _COMMANDS)
@pytest.mark.parametrize("place", _PLACES)
def test_removal_where_folder_is_link_is_refused(full_cache, outside, place, command):
    _replace(full_cache / place, outside)
    before, cache_before = _tree(outside), _tree(full_cache)
    said = _invoke(command, status=1)
    assert f"nothing is removed from {full_cache}: {full_cache / place} is a symbolic link" in said
    assert "Remove the link" in said
    assert (_tree(outside), _tree(full_cache)) == (before, cache_before)
    (full_cache / place).unlink()
    _invoke(command, status=0)


@pytest.mark.parametrize("command", ["clear", "prune --keep 0 --older 0s"])
def test_removal_removes_links_and_not_what_they_lead_to(full_cache, outside, command):
    base, prefix = full_cache / "v1", publish.staging_prefix()
    (base / "logs" / "link-20200101-000000-x.log").symlink_to(outside)
    (base / "removed-x").symlink_to(outside)
    (base / "staging" / f"{prefix}link").symlink_to(outside)
    (base / "staging" / f"{prefix}folder").mkdir()
    (base / "staging" / f"{prefix}folder" / publish.OWNER_LOCK).symlink_to(outside / "some.json")
    (base / "entries" / KERNEL.name / "key").symlink_to(outside)
    (base / "entries" / KERNEL.name / "folder").mkdir()
    (base / "entries" / KERNEL.name / "folder" / "link").symlink_to(outside)
    children.grow_old(full_cache, hours=25)
    before = _tree(outside)
    _invoke(command, status=0)
    assert _tree(outside) == before
    if command == "clear":
        assert list(full_cache.iterdir()) == []
    else:
        assert list((base / "entries").iterdir()) == [base / "entries" / "file.log"]


def test_clear_removes_link_in_place_of_artifact(full_cache, outside):
    (full_cache / "v1" / "entries" / "artifact").symlink_to(outside)
    (full_cache / "prewarm.json").symlink_to(outside / "some.json")
    before = _tree(outside)
    _invoke("clear", status=0)
    assert _tree(outside) == before
    assert list(full_cache.iterdir()) == []


def test_prune_below_link_in_place_of_artifact_is_refused(full_cache, outside):
    link = full_cache / "v1" / "entries" / "artifact"
    link.symlink_to(outside / "entries" / "artifact")
    before, cache_before = _tree(outside), _tree(full_cache)
    assert f"{link} is a symbolic link" in _invoke("prune --keep 0", status=1)
    assert (_tree(outside), _tree(full_cache)) == (before, cache_before)


@pytest.mark.parametrize("command", _COMMANDS)
@pytest.mark.parametrize("fault", ["another user's", "open to everybody"])
@pytest.mark.parametrize("place", ["", *_PLACES])
@pytest.mark.compile
def test_removal_where_another_user_can_write_is_refused(
    full_cache, monkeypatch, place, fault, command
):
    number = 4321 if children.IS_ROOT else os.geteuid()
    children.own(full_cache, number)
    if fault == "open to everybody":
        monkeypatch.setattr(os, "geteuid", lambda: number)
        (full_cache / place).chmod(0o777)
        reason = "can be written by everybody, so any of them"
    elif children.IS_ROOT:
        monkeypatch.setattr(os, "geteuid", lambda: number)
        os.chown(full_cache / place, number + 1, -1)
        reason = f"belongs to another user (number {number + 1})"
    else:
        monkeypatch.setattr(os, "geteuid", lambda: number + 1)
        reason = f"belongs to another user (number {number})"
    before = _tree(full_cache)
    said = _invoke(command, status=1)
    assert f"nothing is removed from {full_cache}: " in said
    assert reason in said
    assert "WARP_SORT_TRUSTED_DIRS" in said
    assert _tree(full_cache) == before
    monkeypatch.setenv("WARP_SORT_TRUSTED_DIRS", str(full_cache))
    _invoke(command, status=0)


def test_clear_of_cache_that_is_link_itself_clears_it(full_cache, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(full_cache.parent)
    (tmp_path / "second").symlink_to(full_cache)
    monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(tmp_path / "link" / full_cache.name))
    _invoke("prune --keep 0", status=0)
    monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(tmp_path / "second"))
    _invoke("clear", status=0)
    assert list(full_cache.iterdir()) == []


@pytest.mark.parametrize("place", ["v1", "v1/entries"])
def test_link_that_comes_after_the_check_is_not_followed(full_cache, outside, monkeypatch, place):
    """As in a folder of root's that every user can write."""
    check = maintenance._check
    target = outside if place == "v1" else outside / "entries"

    def checking(root, folders=()):
        folders = list(folders)
        check(root, folders)
        if folders:
            _replace(full_cache / place, target)

    monkeypatch.setattr(maintenance, "_check", checking)
    (outside / "entries" / KERNEL.name).mkdir()
    before = _tree(outside)
    with pytest.raises(CacheError, match="cannot be removed: Not a directory"):
        maintenance.remove([full_cache / "v1" / "entries" / KERNEL.name], full_cache)
    assert _tree(outside) == before


def _write(part, cache):
    """Have the package write in a part of a cache."""
    if part == "tools":
        publish.remember(cache, "g++|1", "1.0")
    elif part == "logs":
        publish.keep_log(cache, "artifact", "failed")
    elif part == "locks":
        with publish.locked(cache, [KERNEL]):
            pass
    else:
        with publish.staging(cache, {"file": "text"}):
            pass


@pytest.mark.parametrize("place", ["v1", "v1/staging", "v1/locks", "v1/logs", "v1/tools"])
def test_nothing_is_written_through_link(full_cache, outside, place):
    _replace(full_cache / place, outside)
    before, cache = _tree(outside), Store(full_cache)
    for part in _PARTS if place == "v1" else [Path(place).name]:
        if part == "tools":  # a cache that cannot be written may still hold what is wanted
            _write(part, cache)
        else:
            with pytest.raises(CacheError, match=f"nothing is written to .*{place} is a symb"):
                _write(part, cache)
    assert _tree(outside) == before


@pytest.mark.parametrize("place", ["v1/entries", "v1/staging"])
def test_sort_where_folder_is_link_warns_and_uses_temporary_folder(full_cache, outside, place):
    entries = children.entries(full_cache)
    (full_cache / "v1" / "entries" / KERNEL.name).rename(full_cache / "kept")
    if place == "v1/entries":
        (full_cache / place).rename(outside / "real")
        (full_cache / place).symlink_to(outside / "real")
    else:
        _replace(full_cache / place, outside)
    before = _tree(outside)
    done = children.run()
    assert done.stdout.strip() == ANSWER, done.stderr
    assert done.stderr.count("RuntimeWarning: nothing is written to") == 1
    assert f"{full_cache / place} is a symbolic link" in done.stderr
    assert _tree(outside) == before
    assert len(entries) == 2


@pytest.mark.parametrize("place", _PLACES)
@pytest.mark.compile
def test_prewarm_into_layer_with_link_writes_nothing(whole_layer, outside, tmp_path, place):
    layer = children.copy(whole_layer, tmp_path / "layer")
    kept = outside / "kept"
    if (layer / place).exists():
        (layer / place).rename(kept)
    else:
        kept.mkdir()
    (layer / place).symlink_to(kept)
    before = _tree(outside)
    result = CliRunner().invoke(main, ["prewarm", "--length", "4", "--into", str(layer)])
    parts_that_are_used = ("v1", "v1/entries", "v1/staging")
    if place in parts_that_are_used:
        assert result.exit_code == 1, result.output
        assert f"nothing is written to {layer}: {layer / place} is a symbolic link" in result.output
    assert _tree(outside) == before


def test_list_of_artifacts_in_cache_replaces_link(outside, tmp_path):
    file = tmp_path / "prewarm.json"
    file.symlink_to(outside / "some.json")
    prewarm.write_manifest([], file, follows_links=False)
    assert stat.S_ISREG(file.lstat().st_mode)
    assert (outside / "some.json").read_text() == "mine"


def test_list_and_verify_read_nothing_that_another_user_can_write(cache_copy, monkeypatch):
    number = 4321 if children.IS_ROOT else os.geteuid()
    children.own(cache_copy, number)
    monkeypatch.setattr(os, "geteuid", lambda: number)
    entry = children.folder_of(cache_copy, KERNEL)
    entry.chmod(0o777)
    read = []
    for name in ("read_json", "read_file"):
        real = getattr(inventory, name)
        monkeypatch.setattr(
            inventory, name, lambda file, *rest, real=real: read.append(file) or real(file, *rest)
        )
    assert f"Refused: nothing is loaded from {cache_copy}: {entry}" in _invoke("list", status=0)
    assert "1 of 2 artifacts are sound" in _invoke("verify", status=1)
    assert read != []
    assert [file for file in read if entry in Path(file).parents] == []


def test_entry_with_manifest_of_another_user_is_refused(cache_copy, monkeypatch):
    number = 4321 if children.IS_ROOT else os.geteuid()
    children.own(cache_copy, number)
    monkeypatch.setattr(os, "geteuid", lambda: number)
    (children.folder_of(cache_copy, KERNEL) / "manifest.json").chmod(0o666)
    (item,) = (each for each in inventory.entries(cache_copy) if each.name == KERNEL.name)
    assert "manifest.json can be written by everybody" in inventory.verify(item)
    assert item.target == "?"


def test_sweep_where_another_user_can_write_removes_nothing(full_cache, monkeypatch):
    number = 4321 if children.IS_ROOT else os.geteuid()
    staging = full_cache / "v1" / "staging" / f"{publish.staging_prefix()}left"
    staging.mkdir()
    children.own(full_cache, number)
    children.grow_old(full_cache, hours=100)
    monkeypatch.setattr(os, "geteuid", lambda: number)
    assert maintenance.abandoned(full_cache) == [staging]
    staging.parent.chmod(0o777)
    with pytest.raises(TrustError, match="can be written by everybody"):
        maintenance.abandoned(full_cache)
    assert staging.is_dir()


def test_doctor_where_folder_is_link_says_so_and_reads_nothing_there(full_cache, outside):
    _replace(full_cache / "v1" / "staging", outside)
    result = CliRunner().invoke(main, ["doctor", "--no-build", "--json"])
    report = json.loads(result.output)
    problems = {problem["what"]: problem for problem in report["problems"]}
    (what,) = (each for each in problems if str(full_cache) in each)
    assert f"{full_cache}/v1/staging is a symbolic link" in what
    assert problems[what]["fix"].startswith("Remove the link")
    assert not problems[what]["blocking"]
    assert report["cache"]["left"] == []
