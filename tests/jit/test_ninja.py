"""Finding ninja: the packaged program, then the PATH, and what is no ninja."""

import os
from importlib import metadata

import pytest

from support import children
from warp_bitonic_sort import ToolError
from warp_bitonic_sort.jit.build import ninja


def _program(file, text="exit 0"):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def site(tmp_path, monkeypatch):
    """An environment whose distribution of ninja lists what a test writes into RECORD."""
    folder = tmp_path / "lib" / "python3" / "site-packages"
    information = folder / "ninja-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: ninja\nVersion: 1.0\n")
    monkeypatch.setattr(metadata, "distribution", lambda _: metadata.Distribution.at(information))
    monkeypatch.setenv("PATH", str(tmp_path / "on-the-path"))
    _program(tmp_path / "on-the-path" / "ninja")
    return folder


def _record(site, *names):
    lines = "".join(f"{name},,\n" for name in names)
    (site / "ninja-1.0.dist-info" / "RECORD").write_text(lines)


@pytest.mark.parametrize("shadow", ["ninja.py", "ninja/__init__.py"])
def test_find_ninja_beside_a_module_of_that_name_imports_none(tmp_path, shadow):
    module = tmp_path / shadow
    module.parent.mkdir(exist_ok=True)
    module.write_text("raise SystemExit('imported')")
    code = """
        import sys
        from warp_bitonic_sort.jit.build import ninja
        print(ninja.version(ninja.find())[:1].isdecimal(), "ninja" in sys.modules)
    """
    done = children.run(code, PYTHONPATH=tmp_path)
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_find_ninja_takes_the_program_that_the_distribution_lists(site, tmp_path):
    _record(site, "../../../bin/ninja", "ninja/__init__.py")
    program = _program(tmp_path / "bin" / "ninja")
    assert ninja.find().resolve() == program


def test_find_ninja_prefers_the_program_to_a_script_that_imports_it(site, tmp_path):
    _record(site, "../../../bin/ninja", "ninja/data/bin/ninja")
    _program(tmp_path / "bin" / "ninja")
    program = _program(site / "ninja" / "data" / "bin" / "ninja")
    assert ninja.find().resolve() == program


def test_find_ninja_in_a_target_folder_of_pip_takes_it(site):
    _record(site, "../../bin/ninja")
    program = _program(site / "bin" / "ninja")
    assert ninja.find() == program


@pytest.mark.parametrize("record", [None, b"", b"../../../bin/ninja,,\n", b"\xff\x00,,\n"])
def test_find_ninja_without_a_packaged_program_takes_the_path(site, tmp_path, record):
    if record is not None:
        (site / "ninja-1.0.dist-info" / "RECORD").write_bytes(record)
    assert ninja.find() == tmp_path / "on-the-path" / "ninja"


def test_find_ninja_passes_over_what_is_no_executable_file(site, tmp_path):
    _record(site, "../../../bin/ninja", "ninja/data/bin/ninja")
    (site / "ninja" / "data" / "bin" / "ninja").mkdir(parents=True)
    _program(tmp_path / "bin" / "ninja").chmod(0o644)
    assert ninja.find() == tmp_path / "on-the-path" / "ninja"


@pytest.mark.usefixtures("site")
def test_find_ninja_named_ninja_build_takes_it(tmp_path):
    program = tmp_path / "on-the-path" / "ninja-build"
    program.with_name("ninja").rename(program)
    assert ninja.find() == program


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo no module named ninja >&2; exit 1", r"'no module named ninja' \(exit status 1\)"),
        ("echo an IRC client", "'an IRC client' \\(exit status 0\\)"),
        ("exit 0", "'nothing'"),
    ],
)
def test_version_of_what_is_no_ninja_raises(tmp_path, text, said):
    program = _program(tmp_path / "ninja", text)
    with pytest.raises(ToolError, match=rf"ninja \({program}\) answers --version with {said}.*pip"):
        ninja.version(program)


def test_version_of_what_cannot_be_run_raises(tmp_path):
    program = tmp_path / "ninja"
    program.write_bytes(b"\x7fELF of another machine")
    program.chmod(0o755)
    with pytest.raises(ToolError, match=rf"ninja \({program}\) does not run: .*pip install"):
        ninja.version(program)


def test_build_by_what_is_no_ninja_raises(half_cache, tmp_path):
    _program(tmp_path / "ninja", "echo an IRC client")
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = children.run(f"{children.NO_NINJA}\n{children.OTHER_SORT}", PATH=path)
    assert "ToolError: ninja (" in done.stderr
    assert "it is not ninja, or broken" in done.stderr
    assert children.entries(half_cache) == ["runtime"]
