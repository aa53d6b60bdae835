"""What reaches build files, shells and other folders: any path works, or is refused by name."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from support import children
from warp_bitonic_sort import BuildError, ToolError, prewarm
from warp_bitonic_sort import settings as variables
from warp_bitonic_sort.cli import _diagnosis
from warp_bitonic_sort.jit.build import ninja
from warp_bitonic_sort.jit.store import publish
from warp_bitonic_sort.jit.store.store import Store
from warp_bitonic_sort.jit.store.tools import Tools
from warp_bitonic_sort.kernels import RUNTIME
from warp_bitonic_sort.targets.common import sources
from warp_bitonic_sort.targets.common.compiler import Compiler, plain_environment
from warp_bitonic_sort.targets.common.host import find_compiler
from warp_bitonic_sort.targets.cuda import compiler as cuda_compiler
from warp_bitonic_sort.targets.hip.compiler import find_hip_compiler
from warp_bitonic_sort.targets.rtc import libraries as rtc_libraries

CONTROL = ["\n", "\t", "\r", "\0", "\x1b", "\x7f"]
REFUSED = "holds a control character"
NINJA = ninja.find()

# What ninja, make and shells escape, half of the time; and file names that are not UTF-8.
_names = strategies.text(
    strategies.sampled_from(" $:'\"\\#%|&;()<>`*?~=,@[]{}!\udcff")
    | strategies.characters(exclude_categories=["Cc", "Cs"]),
    min_size=1,
).filter(lambda name: "/" not in name)


def _program(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("#!/bin/sh\nexit 0\n")
    file.chmod(0o755)
    return file


# -- build.ninja -----------------------------------------------------------------------------------


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(program=_names, option=_names, folder=_names)
def test_text_of_any_names_gives_the_shell_the_same_words(
    tmp_path, monkeypatch, program, option, folder
):
    headers = Path("/", folder, "include")
    monkeypatch.setattr(sources, "INCLUDE_DIR", headers)
    command = (f"/{program}/g++", option)
    text = ninja.text({children.KERNEL: Compiler(command, Path("/g++"), "test")})
    (tmp_path / "build.ninja").write_text(text, errors="surrogateescape")
    (tmp_path / children.KERNEL.name).mkdir(exist_ok=True)
    (tmp_path / children.KERNEL.name / "source.cc").touch()
    done = subprocess.run(
        [NINJA, "-C", tmp_path, "-t", "commands"],
        capture_output=True,
        check=True,
        errors="surrogateescape",
    )
    words = shlex.split(done.stdout.partition("\n")[2] or done.stdout)
    assert tuple(words[:2]) == command
    assert f"-I{headers}" in words


@pytest.mark.parametrize("control", CONTROL)
def test_text_of_a_command_with_a_control_character_raises(control):
    compiler = Compiler((f"/a{control}b/c++",), Path("/c++"), "c++ on the PATH", "C++ compiler")
    with pytest.raises(
        ToolError, match=rf"the C\+\+ compiler \('c\+\+ on the PATH'\): .*{REFUSED}"
    ):
        ninja.text({children.KERNEL: compiler})


@pytest.mark.parametrize(("name", "token"), [("INCLUDE_DIR", "package_include"), ("CSRC", "csrc")])
def test_text_of_a_folder_with_a_control_character_raises(monkeypatch, name, token):
    monkeypatch.setattr(sources, name, Path("/a\nb"))
    compiler = Compiler(("c++",), Path("/c++"), "test")
    with pytest.raises(ToolError, match=rf"the folder of headers {token}: '/a\\nb' {REFUSED}"):
        ninja.text({RUNTIME: compiler})


def test_line_break_in_a_folder_of_the_path_runs_nothing(half_cache, tmp_path):
    text = "\nrule cxx\n  command = touch RAN\n#"
    folder = tmp_path / f"bin{text}"
    folder.mkdir()
    (folder / "c++").symlink_to(find_compiler().program)
    done = children.run(children.OTHER_SORT, CXX=None, PATH=f"{folder}:{os.environ['PATH']}")
    assert f"the C++ compiler ('c++ on the PATH'): {str(folder / 'c++')!r} {REFUSED}" in done.stderr
    assert not list(half_cache.rglob("RAN"))


# -- variables -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("WARP_SORT_CACHE_DIR", variables.cache_dir),
        ("WARP_SORT_CACHE_LAYERS", variables.cache_layers),
        ("WARP_SORT_TRUSTED_DIRS", variables.trusted_dirs),
        ("XDG_CACHE_HOME", variables.cache_dir),
        ("HOME", variables.cache_dir),
        ("CUDA_HOME", variables.cuda_home),
        ("ROCM_PATH", variables.rocm_path),
        ("HIP_CLANG_PATH", variables.hip_clang_path),
        ("CK_DIR", variables.ck_dir),
        ("CXX", find_compiler),
        ("TMPDIR", plain_environment),
    ],
)
def test_variable_with_a_control_character_is_refused_by_name(monkeypatch, name, read):
    for each in ("WARP_SORT_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(each, raising=False)
    for control in set(CONTROL) - {"\0"}:  # which no variable can hold
        value = shlex.quote(f"/a{control}b") if name == "CXX" else f"/a{control}b"
        monkeypatch.setenv(name, value)
        with pytest.raises(BuildError, match=rf"^{name}: .*/a.*b.* {REFUSED}"):
            read()


def test_white_space_between_the_words_of_cxx_separates_them(monkeypatch):
    monkeypatch.setenv("CXX", "g++\t-O1\n -g")
    assert find_compiler().command == (shutil.which("g++"), "-O1", "-g")


@pytest.mark.parametrize("control", CONTROL)
def test_prewarm_into_a_folder_with_a_control_character_writes_nothing(tmp_path, control):
    with pytest.raises(ToolError, match=rf"^into: .*{REFUSED}"):
        prewarm.build([], Path(f"{tmp_path}/a{control}b"))
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("half_cache")
def test_temporary_store_with_a_control_character_is_refused(tmp_path):
    folder = tmp_path / "a\nb"
    folder.mkdir()
    how = {"WARP_SORT_CACHE_DIR": "/proc/nowhere", "TMPDIR": folder}
    done = children.run(**how)
    assert f"TMPDIR: {str(folder)!r} {REFUSED}" in done.stderr
    assert not list(folder.iterdir())


@pytest.mark.parametrize("value", ["/a\nb", "~nobody-of-that-name/a"])
@pytest.mark.parametrize(
    "name", ["CUDA_HOME", "ROCM_PATH", "CK_DIR", "WARP_SORT_CACHE_DIR", "WARP_SORT_CACHE_LAYERS"]
)
def test_doctor_reports_a_variable_that_names_no_folder(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    problems = []
    _diagnosis.facts(problems)
    assert any(problem.what.startswith(f"{name}: ") for problem in problems)


# -- names that are not UTF-8 ----------------------------------------------------------------------


def test_compiler_whose_name_is_not_utf_8_is_remembered(tmp_path, monkeypatch):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    (folder / "g++").symlink_to(find_compiler().program)
    monkeypatch.setenv("CXX", str(folder / "g++"))
    store = Store(tmp_path / "cache")
    tool = Tools([store], publish.remember).find(RUNTIME)
    assert store.recall(tool.compiler.identity()) == tool.version


def test_compiler_whose_name_is_not_utf_8_builds(half_cache, tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    (folder / "c++").symlink_to(find_compiler().program)
    for _ in range(2):
        done = children.run(children.OTHER_SORT, CXX=folder / "c++")
        assert (done.stdout.strip(), done.stderr) == (children.OTHER_ANSWER, "")
    children.assert_sound(half_cache, count=2)


# -- relative paths --------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", [".", "", "bin", "./bin/../bin"])
@pytest.mark.parametrize("asked", [None, "c++"])
def test_compiler_of_a_relative_entry_of_path_is_absolute(tmp_path, monkeypatch, entry, asked):
    (tmp_path / "bin").mkdir()
    program = tmp_path / entry / "c++"
    program.symlink_to(find_compiler().program)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{entry}:{os.environ['PATH']}")
    monkeypatch.setenv("CXX", asked or "")
    found = find_compiler()
    assert Path(found.command[0]).is_absolute()
    assert Path(found.command[0]).samefile(program)
    assert str(tmp_path) in found.identity()


@pytest.mark.parametrize("asked", [None, "c++", "./c++"])
def test_build_by_a_relative_compiler_works(half_cache, tmp_path, asked):
    (tmp_path / "c++").symlink_to(find_compiler().program)
    code = f"import os; os.chdir({str(tmp_path)!r})\n{children.OTHER_SORT}"
    done = children.run(code, CXX=asked, PATH=f".:{os.environ['PATH']}")
    assert (done.stdout.strip(), done.stderr) == (children.OTHER_ANSWER, "")
    assert len(children.entries(half_cache)) == 2


def test_plain_environment_leaves_an_absolute_path_as_it_is(monkeypatch):
    for path in ("/usr/bin:/bin", ""):
        monkeypatch.setenv("PATH", path)
        assert plain_environment()["PATH"] == path
    monkeypatch.delenv("PATH")
    assert "PATH" not in plain_environment()


def test_plain_environment_in_a_removed_folder_leaves_path_as_it_is(tmp_path):
    (tmp_path / "gone").mkdir()
    code = """
        import os
        from warp_bitonic_sort.targets.common.compiler import plain_environment
        os.rmdir(os.getcwd())
        print(plain_environment()["PATH"])
    """
    code = f"import os; os.chdir({str(tmp_path / 'gone')!r})\n{code.strip()}".replace(
        "\n        ", "\n"
    )
    done = children.run(code, PATH=".:/bin")
    assert done.stdout.strip() == ".:/bin", done.stderr


def test_tools_for_devices_of_a_relative_entry_of_path_are_absolute(tmp_path, monkeypatch):
    for name in ("nvcc", "hipcc", "ninja"):
        _program(tmp_path / "bin" / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "bin")
    monkeypatch.setattr(ninja, "_packaged", list)
    for name in ("CUDA_HOME", "ROCM_PATH", "WARP_SORT_RTC"):
        monkeypatch.delenv(name, raising=False)
    assert cuda_compiler.find_nvcc().command == (str(tmp_path / "bin" / "nvcc"),)
    assert ninja.find() == tmp_path / "bin" / "ninja"
    monkeypatch.setattr("warp_bitonic_sort.targets.hip.compiler.rocm_folders", list)
    assert find_hip_compiler("gfx942", lambda *_: "").command == (str(tmp_path / "bin" / "hipcc"),)


def test_folders_of_run_time_compilers_are_absolute(tmp_path, monkeypatch):
    (tmp_path / "site" / "some_package").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["site"])
    monkeypatch.setenv("LD_LIBRARY_PATH", "lib:/opt/lib")
    assert rtc_libraries.system_folders()[:2] == [tmp_path / "lib", Path("/opt/lib")]
    assert rtc_libraries.package_folders("some_package") == [tmp_path / "site" / "some_package"]
