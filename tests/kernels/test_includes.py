"""The arrows between the folders of the C++ sources, read from their ``#include`` lines."""

import re
from pathlib import Path

import pytest

from warp_bitonic_sort.targets.common import sources

HEADERS = sources.INCLUDE_DIR / "warp_bitonic_sort"
CSRC = sources.INCLUDE_DIR.parent

# What each folder may include, beside itself.
ARROWS = {
    "abi": set(),
    "core": set(),
    "network": {"core"},
    "memory": {"abi", "core", "network"},
    "target": {"abi", "core", "network"},
    "kernel": {"abi", "core", "network", "memory", "target"},
    "driver": {"abi"},
    # It checks a call by the dtypes and the words of a description, without a kernel's headers.
    "runtime": {"abi", "core", "driver"},
}


def _folder(file: Path) -> str:
    """The folder of a source that arrows name; `abi` for the boundary's one header."""
    if file == HEADERS / "abi.h":
        return "abi"
    if file == HEADERS / "kernel.hpp":
        return "kernel"
    return file.relative_to(HEADERS if file.is_relative_to(HEADERS) else CSRC).parts[0]


def _included(file: Path) -> list[Path]:
    """The project's own files that a source includes."""
    names = re.findall(r'^#include [<"]([^>"]+)[>"]', file.read_text(), re.MULTILINE)
    places = [file.parent, CSRC, sources.INCLUDE_DIR]
    found = [[place / name for place in places if (place / name).is_file()] for name in names]
    return [files[0].resolve() for files in found if files]


SOURCES = sorted(file.resolve() for file in CSRC.rglob("*") if file.suffix in {".h", ".hpp", ".cc"})


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(CSRC)))
def test_source_includes_only_what_its_folder_may(file):
    folder = _folder(file)
    for other in _included(file):
        assert _folder(other) in ARROWS[folder] | {folder}, f"{file} includes {other}"


def test_every_folder_has_sources():
    assert {_folder(file) for file in SOURCES} == set(ARROWS)


@pytest.mark.parametrize("target", ["simd", "cuda", "amdgcn"])
def test_target_includes_no_other_target(target):
    for file in (HEADERS / "target" / target).iterdir():
        for other in _included(file):
            if _folder(other) == "target":
                assert other.parent.name == target, f"{file} includes {other}"
