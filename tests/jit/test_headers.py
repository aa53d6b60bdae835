"""The system's headers are looked at by their folders, and one by one where those have changed."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

from warp_bitonic_sort.jit import cache, inventory, ninja, publication
from warp_bitonic_sort.jit.cache import Cache
from warp_bitonic_sort.jit.code_object import _AARCH64, _CPUS, _X86_64
from warp_bitonic_sort.jit.files import digest, file_digest, read_file
from warp_bitonic_sort.jit.spec import LAUNCHER

_MACHINE = _AARCH64 if _CPUS.get(os.uname().machine) == "aarch64" else _X86_64
LIBRARY = b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + struct.pack("<H", _MACHINE) + bytes(44)
TEXT = cache.build_text(LAUNCHER)


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A folder that is taken for one of the system's, with two headers."""
    folder = tmp_path / "usr" / "include"
    folder.mkdir(parents=True)
    for name in ("a.h", "b.h"):
        (folder / name).write_text(f"#define {name[0]} 1\n")
        (folder / name).chmod(0o644)
    monkeypatch.setattr(publication, "_SYSTEM", (f"{tmp_path / 'usr'}/",))
    monkeypatch.setattr(publication, "_ROOT", os.getuid())
    return folder


@pytest.fixture
def store(tmp_path, system):
    return publish(Cache(tmp_path / "cache"), system)


def publish(store, system):
    with publication.staging(
        store, {f"{LAUNCHER.name}/{ninja.SOURCES[LAUNCHER.kind]}": "source"}
    ) as folder:
        staged = folder / LAUNCHER.name
        (staged / "library.so").write_bytes(LIBRARY)
        (staged / ninja.DEPFILE).write_text(f"library.so: {system / 'a.h'} {system / 'b.h'}\n")
        publication.publish(store, LAUNCHER, TEXT, "g++ 12", staged, {}, 0.1)
    return store


def is_found(store, compiler="g++ 12"):
    return store.find(LAUNCHER, TEXT, compiler) is not None


def replace(header: Path, text: str) -> None:
    """Replace a file as package managers do."""
    other = header.with_suffix(".new")
    other.write_text(text)
    os.utime(other, ns=(header.stat().st_atime_ns, header.stat().st_mtime_ns))
    other.replace(header)


def looked_at(monkeypatch):
    """Return a list that gets every path whose state is asked for."""
    paths, stat = [], os.stat
    monkeypatch.setattr(
        os, "stat", lambda path, **more: (paths.append(path), stat(path, **more))[1]
    )
    return paths


def test_only_the_folder_is_looked_at(store, system, monkeypatch):
    paths = looked_at(monkeypatch)
    assert is_found(store)
    assert str(system) in paths
    assert not [path for path in map(str, paths) if path.startswith(f"{system}/")]


def test_a_header_that_a_package_replaced(store, system):
    replace(system / "b.h", "#define b 2\n")
    assert not is_found(store)
    assert not is_found(store, None)
    replace(system / "b.h", "#define b 1\n")
    assert is_found(store), "its bytes are what they were"


def test_a_header_that_was_removed(store, system):
    (system / "a.h").unlink()
    assert not is_found(store)
    assert is_found(store, None), "without a compiler nobody asks for it"


def test_a_header_that_was_added_beside_them(store, system, monkeypatch):
    (system / "c.h").touch()
    paths = looked_at(monkeypatch)
    assert is_found(store)
    assert {str(system / "a.h"), str(system / "b.h")} <= set(map(str, paths))


def test_a_folder_that_went_away(store, system):
    system.rename(system.parent / "elsewhere")
    assert not is_found(store)
    assert is_found(store, None)


def test_headers_in_a_users_folder_are_looked_at_themselves(tmp_path, system, monkeypatch):
    monkeypatch.setattr(publication, "_ROOT", os.getuid() + 1)
    store = publish(Cache(tmp_path / "another"), system)
    assert is_found(store)
    (system / "a.h").write_text("#define a 2\n")
    assert not is_found(store)


def _link(header):
    real = header.parents[2] / header.name
    header.rename(real)
    header.symlink_to(real)


@pytest.mark.parametrize(
    "change",
    [
        _link,
        lambda header: header.chmod(0o664),
        lambda header: header.chmod(0o646),
        pytest.param(
            lambda header: os.chown(header, 65533, 65533),
            marks=pytest.mark.skipif(os.getuid() != 0, reason="root alone gives files away"),
        ),
    ],
    ids=["a link", "of a group's", "everybody's", "another user's"],
)
def test_what_changes_and_leaves_the_folder_as_it_is(tmp_path, system, change, monkeypatch):
    """Another user writes it, or what it leads to is replaced elsewhere: it is looked at itself."""
    change(system / "b.h")
    store = publish(Cache(tmp_path / "cache"), system)
    paths = looked_at(monkeypatch)
    assert is_found(store)
    assert str(system / "a.h") not in map(str, paths)
    (system / "b.h").write_text("#define b 2\n")
    assert not is_found(store)
    (item,) = inventory.items(store.root)
    assert inventory.verify(item) is None


@pytest.mark.parametrize("size", [(1 << 16) - 1, 1 << 16, (1 << 16) + 1, 1 << 18])
def test_all_of_a_large_file_is_digested(tmp_path, size):
    file = tmp_path / "large.h"
    for data in (bytes(size), bytes(size - 1) + b"1"):
        file.write_bytes(data)
        assert file_digest(str(file)) == digest(data)
        assert read_file(file) == data


def test_verify_knows_them(store):
    (item,) = inventory.items(store.root)
    assert inventory.verify(item) is None
    file = item.folder / "manifest.json"
    manifest = json.loads(file.read_text())
    ((folder, (was, *lines)),) = manifest["system"].items()
    file.write_text(json.dumps({**manifest, "system": {folder: [was, *lines[1:]]}}))
    assert "not what was published" in inventory.verify(item)
