"""Which C++ compiler is found, and what identifies it."""

import os
import pathlib
import types

import pytest

from warp_bitonic_sort.errors import MissingToolError, ToolError
from warp_bitonic_sort.jit.store import publish
from warp_bitonic_sort.jit.store.store import Store
from warp_bitonic_sort.jit.store.tools import Tools
from warp_bitonic_sort.kernels import RUNTIME
from warp_bitonic_sort.targets import recipe_of
from warp_bitonic_sort.targets.common.compiler import Compiler
from warp_bitonic_sort.targets.common.host import find_compiler

RECIPE = recipe_of(RUNTIME.target)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A PATH of nothing but these, each of which answers when it is run."""
    for name in ("g++", "ccache", "env", "test", "yes", "c++"):
        (tmp_path / name).write_bytes(b"\x7fELF")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("cxx", "name", "options", "is_known"),
    [
        ("g++", "g++", (), True),
        ("ccache g++", "g++", (), True),
        ("ccache g++ -O2", "g++", ("-O2",), True),
        # A word after an option is no program, though there is one of that name; but whether it is
        # run is not known.
        ("g++ -D test", "g++", ("-D", "test"), False),
        ("g++ -D yes", "g++", ("-D", "yes"), False),
        ("env -u HOME g++", "env", ("-u", "HOME", "g++"), False),
        ("env A=1 g++", "g++", ("A=1",), True),
        ("c++ --param x=1", "c++", ("--param", "x=1"), True),
    ],
)
def test_words_of_cxx_before_the_first_option_are_programs(
    programs, monkeypatch, cxx, name, options, is_known
):
    monkeypatch.setenv("CXX", cxx)
    found = find_compiler()
    first, *rest = cxx.split()
    assert RECIPE.options() == options
    assert found.program == programs / name
    assert found.command == (str(programs / first), *rest)
    assert (found.identity() is not None) is is_known


@pytest.mark.parametrize("cxx", [None, "g++", "{}/g++", "./g++"])
def test_identity_changes_with_the_file_that_runs(programs, monkeypatch, cxx):
    monkeypatch.chdir(programs)
    monkeypatch.delenv("CXX", raising=False)
    if cxx is not None:
        monkeypatch.setenv("CXX", cxx.format(programs))
    name = "c++" if cxx is None else "g++"
    identities = [find_compiler().identity()]
    # A link counts as the file that it leads to.
    (programs / name).rename(programs / "newer")
    (programs / name).symlink_to("newer")
    assert find_compiler().identity() == identities[0] is not None
    # An edited file of the same size is another compiler.
    (programs / "newer").write_bytes(b"\x7fELf")
    os.utime(programs / "newer", ns=(0, 1))
    identities.append(find_compiler().identity())
    # So is a file that replaced it with the same size and time.
    (programs / "newest").write_bytes(b"\x7fELf")
    (programs / "newest").chmod(0o755)
    os.utime(programs / "newest", ns=(0, 1))
    (programs / "newest").replace(programs / "newer")
    identities.append(find_compiler().identity())
    assert len({*identities, None}) == 4


@pytest.mark.parametrize("text", ['#!/bin/sh\nexec g++ "$@"\n', "#!/usr/bin/python3\n", "#!"])
def test_identity_of_a_script_is_unknown(programs, monkeypatch, text):
    """It may run another compiler tomorrow."""
    monkeypatch.setenv("CXX", "c++")
    (programs / "c++").write_text(text)
    assert find_compiler().identity() is None


@pytest.mark.parametrize("wrapper", ["ccache", "linked"])
def test_identity_of_a_wrapper_is_unknown(programs, monkeypatch, wrapper):
    (programs / "linked").symlink_to("ccache")
    monkeypatch.setenv("CXX", wrapper)
    assert find_compiler().identity() is None


@pytest.mark.usefixtures("programs")
def test_identity_on_another_mount_is_the_same(monkeypatch):
    """An image's files are on another device in each container."""
    monkeypatch.setenv("CXX", "g++")
    before, seen = find_compiler().identity(), pathlib.Path.stat

    def elsewhere(path, **options):
        found = seen(path, **options)
        fields = {name: getattr(found, name) for name in dir(found) if name.startswith("st_")}
        return types.SimpleNamespace(**{**fields, "st_dev": found.st_dev + 1})

    compiler = find_compiler()
    monkeypatch.setattr(pathlib.Path, "stat", elsewhere)
    assert compiler.identity() == before


def test_identity_of_a_file_in_two_installations_differs(programs, tmp_path, monkeypatch):
    """Hard links of one file, each in its own installation."""
    identities = set()
    monkeypatch.setenv("CXX", "clang++")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "clang++").hardlink_to(programs / "g++")
        monkeypatch.setenv("PATH", str(tmp_path / name))
        identities.add(find_compiler().identity())
    assert len(identities) == 2


def test_identity_of_a_program_that_cannot_be_read_is_unknown(programs, monkeypatch):
    """It might be a script."""
    monkeypatch.setenv("CXX", str(programs / "g++"))
    compiler = find_compiler()
    assert compiler.identity() is not None

    def refused(*_):
        raise PermissionError

    monkeypatch.setattr(pathlib.Path, "open", refused)
    assert compiler.identity() is None


def test_runtime_keeps_its_symbols_where_cxx_has_options(monkeypatch):
    monkeypatch.setenv("CXX", "c++ -g")
    assert "-s" not in RECIPE.flags("host")
    monkeypatch.setenv("CXX", "c++")
    assert "-s" in RECIPE.flags("host")
    assert " -s " in RECIPE.rule("host")


@pytest.mark.usefixtures("programs")
@pytest.mark.parametrize("cxx", ["nothing", "'g++'s", "-O2", "'"])
def test_cxx_that_names_no_program_raises(monkeypatch, cxx):
    monkeypatch.setenv("CXX", cxx)
    with pytest.raises(ToolError, match="CXX: ") as caught:
        find_compiler()
    assert not isinstance(caught.value, MissingToolError)
    assert RECIPE.options() == ()


def test_find_compiler_without_any_raises_missing(tmp_path, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match="no C\\+\\+ compiler: .* set CXX"):
        find_compiler()


# -- what is remembered ----------------------------------------------------------------------------


@pytest.fixture
def versions(monkeypatch):
    """The compilers that were run for their version, which is 1.0."""
    asked = []
    monkeypatch.setattr(Compiler, "version", lambda self: asked.append(self) or "1.0")
    return asked


@pytest.mark.usefixtures("programs")
def test_version_of_a_wrapper_is_not_remembered(monkeypatch, tmp_path, versions):
    monkeypatch.setenv("CXX", "ccache")
    store = Store(tmp_path / "cache")
    for _ in range(2):
        assert Tools([store], publish.remember).find(RUNTIME).version == "1.0"
    assert len(versions) == 2
    assert not (store.base / "tools").exists()
    assert Tools([store]).find(RUNTIME) is None


def test_version_of_a_compiler_is_asked_once(programs, monkeypatch, tmp_path, versions):
    monkeypatch.setenv("CXX", "g++")
    store = Store(tmp_path / "cache")
    assert Tools([store]).find(RUNTIME) is None
    for remember in (publish.remember, publish.remember, None):
        tool = Tools([store], remember).find(RUNTIME)
        assert (tool.version, tool.error) == ("1.0", None)
        assert tool.compiler.command == (str(programs / "g++"),)
    assert len(versions) == 1
    (programs / "g++").unlink()
    for remember in (publish.remember, None):
        tool = Tools([store], remember).find(RUNTIME)
        assert (tool.version, tool.compiler) == (None, None)
        assert "is not a program on the PATH" in str(tool.error)


def test_version_that_is_not_utf_8_is_replaced(tmp_path, monkeypatch):
    script = tmp_path / "c++"
    script.write_bytes(b"#!/bin/sh\necho 'c++ \xff 1.0'\n")
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    assert find_compiler().version() == "c++ \ufffd 1.0"
