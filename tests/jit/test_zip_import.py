"""The package imported from a zip archive: code that needs its files raises, the rest works."""

import zipfile
from pathlib import Path

import pytest

import warp_bitonic_sort
from support import children
from warp_bitonic_sort import ToolError
from warp_bitonic_sort.targets.common import sources

SAID = "was imported from the zip archive"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The package in a zip archive."""
    source = Path(warp_bitonic_sort.__file__).parent
    file = tmp_path_factory.mktemp("zip") / "app.zip"
    with zipfile.ZipFile(file, "w") as target:
        for each in source.rglob("*"):
            if each.is_file() and "__pycache__" not in each.parts:
                target.write(each, Path("warp_bitonic_sort", each.relative_to(source)))
    return file


def test_sort_of_a_zipped_package_says_what_to_do(archive, cache_copy):
    done = children.run(PYTHONPATH=archive)
    assert f"ToolError: the package {SAID} {archive}, " in done.stderr
    assert "Install it into a folder (pip install warp-bitonic-sort)" in done.stderr
    assert children.entries(cache_copy) == [children.KERNEL.name, "runtime"]


def test_prewarm_of_a_zipped_package_says_so_and_writes_nothing(archive, tmp_path):
    done = children.program("prewarm", "--length", 3, "--into", tmp_path / "a", PYTHONPATH=archive)
    assert done.returncode == 1
    assert f"{SAID} {archive}" in done.stderr
    assert not (tmp_path / "a").exists()


def test_doctor_of_a_zipped_package_reports_it(archive):
    done = children.program("doctor", "--no-build", PYTHONPATH=archive)
    assert done.returncode == 1
    assert f"Problem 1: the package {SAID} {archive}" in done.stdout


@pytest.mark.parametrize("arguments", [["explain", "9x9"], ["network", 4], ["--version"]])
def test_commands_of_a_zipped_package_that_need_no_files_work(archive, arguments):
    done = children.program(*arguments, PYTHONPATH=archive)
    assert (done.returncode, done.stderr) == (0, "")


def test_require_sources_without_a_folder_says_which_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "INCLUDE_DIR", tmp_path / "csrc" / "include")
    with pytest.raises(ToolError, match=rf"no folder {tmp_path}/csrc/include\. Reinstall"):
        sources.require_sources()
