"""A cache with any content: an entry is found as it was published, or not at all."""

import contextlib
import json
import os
import shutil
import struct

import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support import children
from warp_bitonic_sort.cli import main
from warp_bitonic_sort.jit.store import files, inventory, locks, maintenance, publish
from warp_bitonic_sort.jit.store.key import build_text
from warp_bitonic_sort.jit.store.store import Store
from warp_bitonic_sort.targets import HOST, RECIPES, arch_of, recipe_of
from warp_bitonic_sort.targets.common import sources
from warp_bitonic_sort.targets.common.recipe import DEPFILE

pytestmark = pytest.mark.stress

KERNEL = children.KERNEL
TEXT = build_text(KERNEL)
COMPILER = "c++ 1.0"
_MACHINE = {"x86-64": 62, "aarch64": 183}.get(HOST.arch_for().partition("-avx")[0], 62)
# As much of a library as the cache looks at, and what would be its code.
LIBRARY = (
    b"\x7fELF\x02\x01\x01".ljust(18, b"\0") + struct.pack("<H", _MACHINE) + bytes(44) + b"code"
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
# Numbers that no float holds, text that no terminal prints.
odd_values = st.sampled_from([10**400, -(10**400), "\ud800", "\x1b[2J", "../..", "/", "\0", "", -1])
values = json_values | odd_values


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A cache that holds one entry, and the entry's manifest."""
    root = tmp_path_factory.mktemp("fuzz") / "cache"
    store = Store(root)
    header = sources.INCLUDE_DIR / "warp_bitonic_sort" / "core" / "config.hpp"
    users = root.parent / "a user's header.h"
    users.write_text("#define A\n")
    with publish.staging(
        store, {f"{KERNEL.name}/{recipe_of(KERNEL.target).source}": "source"}
    ) as folder:
        staged = folder / KERNEL.name
        (staged / "library.so").write_bytes(LIBRARY)
        name = str(users).replace(" ", "\\ ")
        (staged / DEPFILE).write_text(f"library.so: {header} \\\n {name}\n")
        publish.publish(store, KERNEL, TEXT, COMPILER, staged, {}, 0.1)
    entry = store.find(KERNEL, TEXT, COMPILER)
    return store, (entry.folder / "manifest.json").read_bytes()


@pytest.fixture(scope="module")
def store(published):
    return published[0]


@pytest.fixture(scope="module")
def manifest(published):
    return published[1]


def _check(store):
    """Nothing raises, and what is found is what was published."""
    for is_layer in (False, True):
        reader = Store(store.root, is_layer=is_layer)
        for compiler in (COMPILER, "another", None):
            entry = reader.find(KERNEL, TEXT, compiler)
            if entry is not None:
                assert entry.library.read_bytes() == LIBRARY
                assert compiler != "another" or is_layer
    for item in inventory.entries(store.root):
        inventory.verify(item)
        assert item.target == "?" or item.target in RECIPES
    maintenance.prune(store.root, keep=0, older=1, max_size=1)
    maintenance.litter(store.root)


def _with(store, data, library=LIBRARY):
    folder = children.folder_of(store.root, KERNEL)
    (folder / "manifest.json").write_bytes(data)
    (folder / "library.so").write_bytes(library)


@settings(max_examples=60)
@given(st.binary(max_size=200))
@example(b"")
@example(b"[]")
@example(b"[" * 100_000)
@example(b'{"build": ' + b"9" * 5000 + b"}")
@example(b"\xff\xfe{\0}\0")
def test_manifest_of_any_bytes_is_ignored(store, data):
    _with(store, data)
    for compiler in (COMPILER, None):
        assert store.find(KERNEL, TEXT, compiler) is None
    _check(store)


@settings(max_examples=150)
@given(st.data())
def test_manifest_of_any_fields_raises_nothing(store, manifest, data):
    said = json.loads(manifest)
    changes = data.draw(st.dictionaries(st.sampled_from(sorted(said)), values, max_size=3))
    for name in data.draw(st.sets(st.sampled_from(sorted(said)), max_size=2)):
        del said[name]
    _with(store, json.dumps({**said, **changes}).encode())
    _check(store)


dependencies = values | st.dictionaries(
    st.text()
    | st.sampled_from(["{package_include}/../..", "{csrc}", "/", "", "\0", "{", "/dev/zero"]),
    st.text() | values,
    max_size=3,
)


@settings(max_examples=150)
@given(dependencies, st.booleans())
def test_dependencies_of_any_text_raise_nothing(store, manifest, dependencies, is_more):
    said = json.loads(manifest)
    if is_more and isinstance(dependencies, dict):
        dependencies = {**said["dependencies"], **dependencies}
    _with(store, json.dumps({**said, "dependencies": dependencies}).encode())
    _check(store)


@settings(max_examples=100)
@given(st.data())
def test_library_of_any_other_bytes_is_never_taken(store, manifest, data):
    position = data.draw(st.integers(0, len(LIBRARY) - 1))
    flipped = bytearray(LIBRARY)
    flipped[position] ^= data.draw(st.integers(1, 255))
    others = st.sampled_from([bytes(flipped), LIBRARY[:position], LIBRARY + b"\0"]) | st.binary()
    _with(store, manifest, data.draw(others.filter(lambda other: other != LIBRARY)))
    for is_layer in (False, True):
        reader = Store(store.root, is_layer=is_layer)
        assert reader.find(KERNEL, TEXT, COMPILER) is reader.find(KERNEL, TEXT, None) is None
    (item,) = inventory.entries(store.root)
    assert "bytes have changed" in inventory.verify(item)


def test_unchanged_entry_is_found(store, manifest):
    """Or the tests above would hold for a cache that finds nothing."""
    _with(store, manifest)
    layer = Store(store.root, is_layer=True)
    for compiler in (COMPILER, None):
        assert store.find(KERNEL, TEXT, compiler) == layer.find(KERNEL, TEXT, compiler) is not None
    assert store.find(KERNEL, TEXT, "another") is None
    assert layer.find(KERNEL, TEXT, "another") is not None
    (item,) = inventory.entries(store.root)
    assert inventory.verify(item) is None
    said = json.loads(manifest)
    _with(store, json.dumps({**said, "compiler": "another"}).encode())
    assert store.find(KERNEL, TEXT, COMPILER) is None
    assert store.find(KERNEL, TEXT, None) is not None


@pytest.mark.parametrize("field", ["name", "target", "arch", "build", "layer_build", "text",
                                   "compiler", "library", "dependencies"])  # fmt: skip
@settings(max_examples=20)
@given(value=values)
def test_verify_of_an_edited_manifest_reports_it(store, manifest, field, value):
    said = json.loads(manifest)
    if value == said[field]:
        return
    _with(store, json.dumps({**said, field: value}).encode())
    (item,) = inventory.entries(store.root)
    assert inventory.verify(item) is not None


@settings(max_examples=40)
@given(st.data())
def test_cache_commands_print_any_manifest(store, manifest, data):
    said = json.loads(manifest)
    changes = data.draw(st.dictionaries(st.sampled_from(sorted(said)), values, max_size=3))
    _with(store, json.dumps({**said, **changes}).encode())
    os.environ["WARP_SORT_CACHE_DIR"], before = str(store.root), os.environ["WARP_SORT_CACHE_DIR"]
    try:
        for arguments in (["list"], ["list", "--json"], ["verify"], ["prune", "--dry-run"]):
            result = CliRunner().invoke(main, ["cache", *arguments])
            assert result.exception is None or isinstance(result.exception, SystemExit)
            assert result.exit_code in (0, 1)
            assert "\x1b" not in result.output
    finally:
        os.environ["WARP_SORT_CACHE_DIR"] = before


@settings(max_examples=60)
@given(st.binary(max_size=100) | st.dictionaries(st.text(), values, max_size=3))
@example({"identity": "g++|1", "value": 3})
@example({"identity": "g++|1"})
@example({"identity": "g++|2", "value": "another's"})
def test_recall_of_a_damaged_answer_is_none(store, answer):
    publish.remember(store, "g++|1", "1.0")
    assert store.recall("g++|1") == "1.0"
    (file,) = (store.base / "tools").iterdir()
    file.write_bytes(answer if isinstance(answer, bytes) else json.dumps(answer).encode())
    assert store.recall("g++|1") is None


@settings(max_examples=60)
@given(st.binary(max_size=100), st.fixed_dictionaries({
    "pid": values, "host": values, "since": values, "command": values}))  # fmt: skip
def test_holder_file_of_any_content_is_printable(tmp_path_factory, data, said):
    lock = tmp_path_factory.getbasetemp() / "any.lock"
    for content in (data, json.dumps(said).encode()):
        lock.with_suffix(".holder").write_bytes(content)
        text = locks._holder(lock)
        assert "process" in text
        text.encode()
        assert text.isprintable()


@settings(max_examples=200)
@given(st.text())
@example("a: b\\")
@example("a: b$")
@example("")
def test_depfile_of_any_text_gives_paths(text):
    assert all(isinstance(path, str) and path for path in publish._parse_depfile(text))


@settings(max_examples=200)
@given(st.lists(st.text(st.characters(codec="ascii", exclude_characters="\\\n\0"), min_size=1)))
def test_depfile_is_read_as_make_writes_it(paths):
    paths = [path for path in ("".join(each.split()) for each in paths) if path]
    paths = [path + " x" if number % 2 else path for number, path in enumerate(paths)]
    escaped = [path.replace("$", "$$").replace("#", "\\#").replace(" ", "\\ ") for path in paths]
    assert publish._parse_depfile("a.so: " + " \\\n  ".join(escaped) + "\n") == paths


elf_like = st.builds(
    lambda head, body: head + body,
    st.sampled_from([b"\x7fELF\x02\x01", b"\x7fELF", b""]),
    st.binary(max_size=100),
)


@settings(max_examples=300)
@given(elf_like, st.sampled_from(["sm_90", "gfx942", "x86-64", "host", "generic"]) | st.text())
def test_arch_of_any_bytes_raises_nothing(data, arch):
    found = arch_of(data)
    assert found is None or data.startswith(b"\x7fELF")
    for recipe in map(recipe_of, RECIPES):
        is_for = recipe.is_for(data, arch)
        assert is_for in (False, True)
        assert not is_for or (data.startswith(b"\x7fELF\x02\x01") and len(data) >= 64)


@given(values)
def test_read_json_returns_what_write_json_wrote(tmp_path_factory, value):
    file = tmp_path_factory.getbasetemp() / "value.json"
    files.write_json(file, {"value": value})
    read = files.read_json(file)
    assert repr(read) == repr({"value": value})


def test_cache_with_folders_in_place_of_files_raises_nothing(store, manifest):
    """A cache may hold anything anywhere."""
    folder = children.folder_of(store.root, KERNEL)
    for name in ("manifest.json", "library.so"):
        (folder / name).unlink()
        (folder / name).mkdir()
        _check(store)
        (folder / name).rmdir()
        _with(store, manifest)
    for place in ("entries/file", "staging/file", "locks/file", "tools/file", "logs/file"):
        (store.base / place).parent.mkdir(exist_ok=True)
        (store.base / place).write_bytes(b"\0")
    for place in ("locks/a.lock", "tools/b.json", "entries/c/d/e", "staging/f/owner.lock"):
        (store.base / place).mkdir(parents=True, exist_ok=True)
    (store.base / "entries" / "link").symlink_to("/nonexistent")
    with contextlib.suppress(OSError):
        os.mkfifo(store.base / "staging" / "fifo")
    _check(store)
    maintenance.tidy(store.root)
    maintenance.clear(store.root)
    shutil.rmtree(store.root, ignore_errors=True)
