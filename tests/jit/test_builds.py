"""Building, caching and loading: what is compiled when, and the error of every failure."""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

import warp_bitonic_sort
from support import children, cpu_targets
from support.children import ANSWER, SORT, entries, run
from support.covering import pairwise
from support.descriptions import cpu_kernel
from warp_bitonic_sort import BuildError, CacheError, ToolError, settings
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.jit.build import hints, ninja
from warp_bitonic_sort.jit.store import publish
from warp_bitonic_sort.jit.store.key import build_text
from warp_bitonic_sort.kernels import TILE, Layout
from warp_bitonic_sort.targets import HOST, recipe_of
from warp_bitonic_sort.targets.common import sources
from warp_bitonic_sort.targets.common.host import find_compiler

COMPILER = find_compiler()


@pytest.fixture
def warm(warm_cache):
    return warm_cache


@pytest.fixture
def copy_of_warm(warm, tmp_path):
    shutil.copytree(warm, tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def counting_compiler(tmp_path):
    """The compiler behind a script that counts what it compiles."""
    counts = tmp_path / "compiled"
    script = tmp_path / "counting-c++"
    real = " ".join(COMPILER.command)
    script.write_text(
        f'#!/bin/sh\nfor a in "$@"; do case "$a" in *source.cc) echo "$a" >>{counts};; esac; done\n'
        f'exec {real} "$@"\n'
    )
    script.chmod(0o755)

    def compiled():
        return sorted(counts.read_text().split()) if counts.exists() else []

    return str(script), compiled


# -- what is built, and when ---------------------------------------------------------------------


@pytest.mark.compile
def test_first_call_builds_only_the_runtime_and_its_kernel(fresh_cache, counting_compiler):
    script, compiled = counting_compiler
    done = run(CXX=script, WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert done.stdout.strip() == ANSWER
    assert [Path(p).parent.name for p in compiled()] == [children.KERNEL.name, "runtime"]
    assert len(entries(fresh_cache)) == 2
    assert list((fresh_cache / "v1" / "staging").iterdir()) == []
    assert done.stderr == "", "a build is quiet without a terminal"
    # Another specialization compiles itself alone; nothing else compiles again.
    more = run(SORT.replace("[3, 1, 2]", "[3, 1, 2, 0]"), CXX=script,
               WARP_SORT_CACHE_DIR=str(fresh_cache))  # fmt: skip
    assert more.stdout.strip() == "[[0.0, 1.0, 2.0, 3.0]]"
    assert len(compiled()) == 3
    again = run(CXX=script, WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert again.stdout.strip() == ANSWER
    assert len(compiled()) == 3


def test_warm_process_starts_no_tool_and_writes_nothing(warm):
    # What importing tvm_ffi does is not ours, so it is imported before the hook listens.
    code = """
        import sys, tvm_ffi, numpy as np
        events = []
        sys.addaudithook(lambda name, args: events.append((name, args)))
        import warp_bitonic_sort as w
        x = np.float32([[3, 1, 2]])
        first = w.sort(x)
        loaded = len(events)
        for name, args in events:
            assert name not in ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec"), args
            if name == "open" and "warp_bitonic_sort" not in str(args[0]):
                assert not (isinstance(args[2], int) and args[2] & 3), args
            assert name not in ("os.mkdir", "os.rename", "os.remove", "fcntl.flock"), args
        second = w.sort(x)
        assert events[loaded:] == [], events[loaded:]
        print(second.tolist())
    """
    done = run(code, WARP_SORT_CACHE_DIR=str(warm))
    assert done.stdout.strip() == ANSWER, done.stderr


@pytest.mark.parametrize("variable", ["WARP_SORT_CACHE_DIR", "WARP_SORT_CACHE_LAYERS", "PACKAGED"])
def test_warm_start_imports_nothing_that_only_a_build_or_a_command_needs(warm, tmp_path, variable):
    code = """
        import os, pathlib, sys, numpy as np, tvm_ffi
        import warp_bitonic_sort as w
        if "PACKAGED" in os.environ:
            w.jit.store.layers.PACKAGED = pathlib.Path(os.environ["PACKAGED"])
        w.sort(np.float32([[3, 1, 2]]))
        ours = "warp_bitonic_sort."
        print(*(name.removeprefix(ours) for name in sys.modules if name.startswith(ours)))
    """
    folders = {"WARP_SORT_CACHE_DIR": str(tmp_path / "empty"), variable: str(warm)}
    done = run(code, **folders)
    needless = {"jit.store.maintenance", "jit.store.inventory", "prewarm"}
    if variable != "WARP_SORT_CACHE_DIR" or COMPILER.identity() is not None:
        # A script is run for its version.
        needless.add("jit.build")
    assert "arrays._numpy" in done.stdout.split(), done.stderr
    assert not needless & set(done.stdout.split())


def test_open_kernel_calls_refuse_first(fresh_cache):
    """It is called with the runtime loaded. A later kernel is not even built."""
    code = """
        import os
        from warp_bitonic_sort.jit import loader
        from warp_bitonic_sort.targets import HOST
        from warp_bitonic_sort.kernels import Kernel, Layout
        entries, arch = os.environ["WARP_SORT_CACHE_DIR"] + "/v1/entries", HOST.arch_for()
        first, second = (
            Kernel("cpu", arch, "all", "none", "ieee", 32, Layout(n), "rows") for n in (3, 4)
        )
        def refuse():
            loader.runtime()
            raise ValueError(len(os.listdir(entries)))
        for kernel in (first, second):
            for _ in range(2):
                try:
                    loader.open_kernel(kernel, "float32", refuse=refuse)
                except ValueError as error:
                    print(error, loader.open_kernels())
        loader.open_kernel(first, "float32")
        loader.open_kernel(first, "float32", refuse=refuse)
    """
    done = run(code, WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert done.stdout.split("\n") == ["2 []"] * 4 + [""], done.stderr
    assert done.stderr == ""


def test_sort_in_read_only_cache_uses_its_kernel(copy_of_warm):
    for path in [copy_of_warm, *copy_of_warm.rglob("*")]:
        path.chmod(stat.S_IRUSR | (stat.S_IXUSR if path.is_dir() else 0))
    try:
        done = run(WARP_SORT_CACHE_DIR=str(copy_of_warm))
        assert done.stdout.strip() == ANSWER, done.stderr
    finally:
        for path in [copy_of_warm, *copy_of_warm.rglob("*")]:
            path.chmod(stat.S_IRWXU)


def test_verbose_shows_commands_and_output(fresh_cache):
    done = run(WARP_SORT_JIT_VERBOSE="1", WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert done.stdout.strip() == ANSWER
    assert "-std=c++17" in done.stderr
    assert "-o runtime/library.so" in done.stderr
    (said,) = re.findall("^warp_bitonic_sort: compiling with (.*)$", done.stderr, re.MULTILINE)
    assert said.startswith(f"{shlex.join(COMPILER.command)} ({COMPILER.origin}; ")


def test_max_jobs_of_one_compiles_one_after_the_other(fresh_cache, tmp_path):
    """With MAX_JOBS=1 the runtime and the kernel are compiled one after the other."""
    log = tmp_path / "spans"
    script = tmp_path / "slow-c++"
    real = " ".join(COMPILER.command)
    script.write_text(
        f'#!/bin/sh\ncase "$*" in *source.cc*) echo start >>{log}; {real} "$@"; s=$?; '
        f'echo end >>{log}; exit $s;; esac\nexec {real} "$@"\n'
    )
    script.chmod(0o755)
    done = run(MAX_JOBS="1", CXX=str(script), WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert done.stdout.strip() == ANSWER, done.stderr
    assert log.read_text().split() == ["start", "end", "start", "end"]


# -- the key -------------------------------------------------------------------------------------


@pytest.mark.compile
def test_edited_header_builds_again_and_a_touched_one_does_not(
    copy_of_warm, tmp_path, counting_compiler
):
    """The package is copied, so that the copy's headers can be changed."""
    script, compiled = counting_compiler
    tree = tmp_path / "moved here $"  # what make, ninja and the shell escape
    shutil.copytree(Path(warp_bitonic_sort.__file__).parent, tree / "warp_bitonic_sort")
    header = tree / "warp_bitonic_sort/csrc/include/warp_bitonic_sort/network/bitonic.hpp"
    options = {"PYTHONPATH": str(tree), "WARP_SORT_CACHE_DIR": str(copy_of_warm)}

    def sorted_here():
        done = run(f"{SORT}; import sys; print(w.__file__)", **options)
        answer, where = done.stdout.split("\n")[:2]
        assert answer == ANSWER, done.stderr
        assert where.startswith(str(tree))

    before = entries(copy_of_warm)
    sorted_here()
    assert entries(copy_of_warm) == before, "a moved tree hits"
    os.utime(header, (1, 1))
    sorted_here()
    assert entries(copy_of_warm) == before, "a touched header hits"
    header.write_text(header.read_text() + "// changed\n")
    sorted_here()
    after = entries(copy_of_warm)
    assert len(after) == len(before) + 1, "the kernel was built again, the runtime was not"
    options["CXX"] = script
    sorted_here()
    assert len(compiled()) == 0, "the same compiler behind another name says the same version"


@pytest.mark.compile
def test_another_compiler_version_builds_again(copy_of_warm, tmp_path):
    script = tmp_path / "newer-c++"
    real = " ".join(COMPILER.command)
    script.write_text(
        f'#!/bin/sh\nif [ "$1" = --version ]; then echo "c++ 99.0"; exit 0; fi\nexec {real} "$@"\n'
    )
    script.chmod(0o755)
    before = entries(copy_of_warm)
    done = run(CXX=str(script), WARP_SORT_CACHE_DIR=str(copy_of_warm))
    assert done.stdout.strip() == ANSWER, done.stderr
    assert len(entries(copy_of_warm)) == len(before) + 2


def test_another_compiler_of_the_same_version_hits(copy_of_warm, tmp_path):
    """A script is run for its version at every start."""
    script = tmp_path / "c++"
    script.write_text(f'#!/bin/sh\nexec {shutil.which(COMPILER.command[0])} "$@"\n')
    script.chmod(0o755)
    before = entries(copy_of_warm)
    code = f"{SORT}\nimport sys; print('warp_bitonic_sort.jit.build' in sys.modules)"
    done = run(code, CXX=str(script), WARP_SORT_CACHE_DIR=str(copy_of_warm))
    assert done.stdout.split("\n") == [ANSWER, "True", ""], done.stderr
    assert entries(copy_of_warm) == before


def test_compiler_that_is_replaced_while_it_compiles_is_asked_again(fresh_cache, tmp_path):
    """Its entry has the version from before; the next start runs the new one."""
    code = f"""
        import os, pathlib
        from warp_bitonic_sort.jit.build import ninja
        build = ninja.run
        def replaced(*arguments):
            failure = build(*arguments)
            script = pathlib.Path(os.environ["CXX"])
            script.write_text(script.read_text().replace("echo 1", "echo 2"))
            return failure
        ninja.run = replaced
        {SORT}
    """
    real = shutil.which(COMPILER.command[0])
    text = f'#!/bin/sh\n[ "$1" = --version ] && echo 1 && exit\nexec {real} "$@"\n'
    (tmp_path / "c++").write_text(text)
    (tmp_path / "c++").chmod(0o755)
    how = {"CXX": str(tmp_path / "c++"), "WARP_SORT_CACHE_DIR": str(fresh_cache)}
    for start in (code, SORT):
        done = run(start, **how)
        assert done.stdout.strip() == ANSWER, done.stderr
    manifests = list(fresh_cache.glob("v1/entries/*/*/manifest.json"))
    versions = sorted(json.loads(file.read_text())["compiler"] for file in manifests)
    assert versions == ["1", "1", "2", "2"]


def _damage(library: Path, how: str) -> None:
    data = library.read_bytes()
    middle = len(data) // 2
    if how == "truncate":
        library.write_bytes(data[:middle])
    elif how == "flip":
        library.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    elif how == "manifest":
        (library.parent / "manifest.json").write_text('{"build": [')
    else:
        library.unlink()


@pytest.mark.parametrize("damages", [("truncate", "flip"), ("manifest", "remove")])
@pytest.mark.compile
def test_damaged_entry_is_never_loaded(copy_of_warm, damages, counting_compiler):
    script, compiled = counting_compiler
    libraries = sorted(copy_of_warm.glob("v1/entries/*/*/library.so"))
    for library, how in zip(libraries, damages, strict=True):
        _damage(library, how)
    for _ in range(2):
        done = run(WARP_SORT_CACHE_DIR=str(copy_of_warm), CXX=script)
        assert done.stdout.strip() == ANSWER, done.stderr
        assert len(entries(copy_of_warm)) == 2
        assert len(compiled()) == 2, "built again once, then whole"


def test_manifest_of_a_kernel_has_its_text_and_dependencies(warm):
    (manifest,) = warm.glob("v1/entries/cpu_all_none_*/*/manifest.json")
    data = json.loads(manifest.read_text())
    assert data["text"]["arch"] == HOST.arch_for()
    assert data["text"]["source"].startswith("#include <warp_bitonic_sort/kernel.hpp>")
    assert any(path.startswith("{package_include}/") for path in data["dependencies"])
    assert not any(str(sources.INCLUDE_DIR) in path for path in data["dependencies"])


def test_processes_that_start_at_once_compile_once(fresh_cache, counting_compiler):
    script, compiled = counting_compiler
    environment = {**os.environ, "CXX": script, "WARP_SORT_CACHE_DIR": str(fresh_cache)}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", SORT], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for child in children:
        out, _ = child.communicate(timeout=120)
        assert out.strip() == ANSWER
    assert len(compiled()) == 2


def test_threads_that_start_at_once_compile_once(fresh_cache, counting_compiler):
    script, compiled = counting_compiler
    code = """
        import numpy as np, warp_bitonic_sort as w
        from concurrent.futures import ThreadPoolExecutor
        rows = [np.float32([[3, 1, 2, 4, 0][:n]]) for n in (3, 4, 5)] * 6
        with ThreadPoolExecutor(18) as pool:
            for x, y in zip(rows, pool.map(w.sort, rows)):
                assert y.tolist() == np.sort(x).tolist()
        print("done")
    """
    done = run(code, CXX=script, WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert done.stdout.strip() == "done", done.stderr
    assert len(compiled()) == 4


def test_build_text_holds_everything_but_the_compiler_and_file_contents(monkeypatch):
    kernel = cpu_kernel("ieee", 32, 9, "rows", "x86-64-avx2")
    text = build_text(kernel)
    assert build_text(kernel) == text
    monkeypatch.setenv("CXX", "c++ -O0")
    with_options = build_text(kernel)
    monkeypatch.delenv("CXX")
    others = [
        with_options,
        build_text(kernel._replace(layout=Layout(10))),
        build_text(kernel._replace(access="columns")),
        build_text(kernel._replace(codec="integer")),
        build_text(kernel._replace(bits=64)),
        build_text(kernel._replace(layout=TILE, access="strided")),
        build_text(kernel._replace(arch="x86-64-avx512")),
    ]
    assert len({text, *others}) == len(others) + 1
    assert str(sources.INCLUDE_DIR) not in text
    assert recipe_of(kernel.target).rule(kernel.arch) in ninja.text({kernel: COMPILER})
    assert json.dumps(recipe_of(kernel.target).rule(kernel.arch))[1:-1] in text


@pytest.mark.parametrize("linker", ["bfd", "gold", "lld"])
def test_build_with_each_linker_loads(fresh_cache, linker):
    compiler = f"{shlex.join(COMPILER.command)} -fuse-ld={linker}"
    asked = f"{compiler} -Wl,--version -o {fresh_cache}.out"
    if subprocess.run(shlex.split(asked), capture_output=True).returncode != 0:
        pytest.skip(f"no {linker}")  # the default linker needs no option
    done = run(CXX=compiler, WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert done.stdout.strip() == ANSWER, done.stderr


@pytest.mark.compile
def test_options_in_cxx_build_again(copy_of_warm):
    """Options change what is compiled, so they are part of the key."""
    before = entries(copy_of_warm)
    for options in ("-O0", "-O0 -DSOMETHING"):
        done = run(
            CXX=f"{shlex.join(COMPILER.command)} {options}", WARP_SORT_CACHE_DIR=str(copy_of_warm)
        )
        assert done.stdout.strip() == ANSWER, done.stderr
        after = entries(copy_of_warm)
        assert len(after) == len(before) + 2
        before = after


def test_build_with_relative_cxx_loads(fresh_cache, counting_compiler):
    script, compiled = counting_compiler
    code = f"import os; os.chdir({str(Path(script).parent)!r}); {SORT}"
    done = run(code, CXX=f"./{Path(script).name}", WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert done.stdout.strip() == ANSWER, done.stderr
    assert len(compiled()) == 2


@pytest.mark.parametrize("tools", [{"PATH": "/nonexistent", "CXX": None}, {"CXX": "/nonexistent"}])
def test_hit_needs_no_compiler(warm, tools):
    """A cached kernel is used without a compiler; a missing one raises."""
    done = run(WARP_SORT_CACHE_DIR=str(warm), **tools)
    assert done.stdout.strip() == ANSWER, done.stderr
    more = run(SORT.replace("[3, 1, 2]", "[3, 1, 2, 0]"), WARP_SORT_CACHE_DIR=str(warm), **tools)
    assert "ToolError" in more.stderr


def test_build_whose_source_changes_meanwhile_is_not_published(fresh_cache, tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(Path(warp_bitonic_sort.__file__).parent, tree / "warp_bitonic_sort")
    header = tree / "warp_bitonic_sort/csrc/include/warp_bitonic_sort/network/bitonic.hpp"
    script = tmp_path / "editing-c++"
    real = " ".join(COMPILER.command)
    script.write_text(
        f'#!/bin/sh\n{real} "$@"; s=$?\n'
        f'case "$*" in *cpu_all*) echo "// edited" >>{header};; esac; exit $s\n'
    )
    script.chmod(0o755)
    options = {"PYTHONPATH": str(tree), "WARP_SORT_CACHE_DIR": str(fresh_cache)}
    done = run(CXX=str(script), **options)
    assert "bitonic.hpp was changed meanwhile" in done.stderr
    assert list((fresh_cache / "v1" / "entries").glob("cpu_*")) == []
    again = run(**options)
    assert again.stdout.strip() == ANSWER, again.stderr


@pytest.mark.parametrize(
    ("depfile", "paths"),
    [
        ("a.so: a.cc b.h\n", ["a.cc", "b.h"]),
        ("a.so: a.cc \\\n  /x/b.h \\\n /y/c.h\n", ["a.cc", "/x/b.h", "/y/c.h"]),
        (
            "a.so: with\\ space.h we\\#ird.h back\\slash.h\n",
            ["with space.h", "we#ird.h", "back\\slash.h"],
        ),
        ("a.so:\n", []),
        ("a.so: /a$$b/c.h\n", ["/a$b/c.h"]),
    ],
)
def test_depfile_of_escaped_paths_lists_them(depfile, paths):
    assert publish._parse_depfile(depfile) == paths


# -- failures ------------------------------------------------------------------------------------


@pytest.fixture
def nothing_loaded(monkeypatch):
    """This process as if it had opened no kernel."""
    monkeypatch.setattr(loader, "_opened", {})
    monkeypatch.setattr("warp_bitonic_sort.operations._call._prepared", {})


@pytest.mark.usefixtures("nothing_loaded", "fresh_cache")
class TestFailures:
    """Each failure is one error, whose message is tested."""

    x = np.zeros((3, 7), np.float32)

    def sort(self):
        return warp_bitonic_sort.sort(self.x)

    def test_sort_without_compiler_raises(self, monkeypatch):
        monkeypatch.delenv("CXX", raising=False)
        monkeypatch.setenv("PATH", "/nonexistent")
        with pytest.raises(ToolError, match=r"no C\+\+ compiler: .*Install one .*or set CXX"):
            self.sort()

    def test_sort_with_missing_cxx_raises(self, monkeypatch):
        monkeypatch.setenv("CXX", "/nonexistent/g++")
        with pytest.raises(ToolError, match=r"CXX: '/nonexistent/g\+\+' is not a program"):
            self.sort()

    def test_sort_with_unparsable_cxx_raises(self, monkeypatch):
        monkeypatch.setenv("CXX", 'g++ "')
        with pytest.raises(ToolError, match=r"""CXX: 'g\+\+ "' .*No closing quotation.*Set CXX"""):
            self.sort()

    def test_sort_with_cxx_that_is_no_compiler_raises(self, monkeypatch):
        monkeypatch.setenv("CXX", "false")
        # What such a program prints instead may be long, and end in anything.
        with pytest.raises(ToolError, match=r"\nHint: Set CXX to a C\+\+ compiler") as error:
            self.sort()
        assert "false' (CXX=false) does not answer --version" in str(error.value)

    def test_sort_without_ninja_raises(self, monkeypatch):
        monkeypatch.setattr(ninja, "_packaged", list)
        found = shutil.which
        is_ninja = re.compile("ninja").match
        monkeypatch.setattr(shutil, "which", lambda name: None if is_ninja(name) else found(name))
        with pytest.raises(ToolError, match=r"no ninja: .*pip install ninja") as error:
            self.sort()
        assert "registers7_rows" in str(error.value)
        assert "warp-bitonic-sort prewarm --operation sort --backend cpu" in str(error.value)
        # One error names a missing compiler and a missing ninja.
        monkeypatch.setenv("CXX", "/nonexistent/g++")
        with pytest.raises(ToolError, match=r"CXX: .* And there is no ninja: .*\)\. Or have"):
            self.sort()

    def test_sort_whose_build_fails_gives_error_hint_and_log(self, monkeypatch, tmp_path):
        broken = tmp_path / "include"
        shutil.copytree(sources.INCLUDE_DIR, broken)
        header = broken / "warp_bitonic_sort" / "network" / "bitonic.hpp"
        header.write_text(f"{header.read_text()}\nint x = undeclared_name;\nint y = also_wrong;\n")
        monkeypatch.setattr(sources, "INCLUDE_DIR", broken)
        with pytest.raises(BuildError) as caught:
            self.sort()
        lines = str(caught.value).splitlines()
        assert re.match(r"compiling .*cpu_all_none_ieee32_registers7_rows\w* failed", lines[0])
        assert "with " in lines[0]
        assert lines[2].startswith("First error: ")
        assert "bitonic.hpp" in lines[2]
        assert "undeclared_name" in lines[2]
        assert lines[3].startswith("Hint: ")
        log = Path(lines[1].removeprefix("Whole log: "))
        assert "also_wrong" in log.read_text()
        assert settings.cache_dir() in log.parents
        assert list((settings.cache_dir() / "v1" / "staging").iterdir()) == []
        header.write_text(
            (sources.CSRC / "include/warp_bitonic_sort/network/bitonic.hpp").read_text()
        )
        np.testing.assert_array_equal(self.sort(), self.x)

    @pytest.mark.parametrize(
        ("log", "line", "hint"),
        [
            ("a.cc:1:2: error: no\nx.cc:3: error: b", "a.cc:1:2: error: no", "see the log"),
            (
                "g++: error: unrecognized command-line option '-mavx512f'",
                "g++: error: unrecognized command-line option '-mavx512f'",
                "does not know this CPU",
            ),
            (
                "c++: error: unrecognized command line option '-std=c++17'",
                "c++: error: unrecognized command line option '-std=c++17'",
                "too old",
            ),
            (
                "a.h:1:10: fatal error: tvm/ffi/function.h: No such file or directory",
                "a.h:1:10: fatal error: tvm/ffi/function.h: No such file or directory",
                "reinstall it",
            ),
            (
                "a.h:1:10: fatal error: algorithm: No such file or directory",
                "a.h:1:10: fatal error: algorithm: No such file or directory",
                "system header",
            ),
            (
                "g++: fatal error: cannot execute 'as': execvp: No such file or directory",
                "g++: fatal error: cannot execute 'as': execvp: No such file or directory",
                "binutils",
            ),
            (
                "[0/1] c++\nFAILED: x\nc++ a\nc++: fatal error: Killed signal terminated program",
                "c++: fatal error: Killed signal terminated program",
                "MAX_JOBS=1",
            ),
            ("cc1plus: error: No space left on device", "cc1plus: error: No space left on device",
             "TMPDIR"),
            ("/usr/bin/ld: cannot find -ldl", "/usr/bin/ld: cannot find -ldl", "linking failed"),
            ("/bin/sh: 1: ./cc: not found", "/bin/sh: 1: ./cc: not found", "see the log"),
            ("", "the build printed nothing", "see the log"),
        ],
    )  # fmt: skip
    def test_first_error_of_a_log_has_its_line_and_a_hint(self, log, line, hint):
        found, said = hints.first_error(log)
        assert found == line
        assert hint in said

    def test_sort_with_unwritable_cache_warns_once(self, monkeypatch, tmp_path):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(tmp_path / "file" / "cache"))
        message = r"the cache folder .*file/cache cannot be written: .*Set WARP_SORT_CACHE_DIR"
        with pytest.warns(RuntimeWarning, match=message):
            np.testing.assert_array_equal(self.sort(), self.x)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # one warning a process
            other = np.zeros((3, 8), np.float32)
            np.testing.assert_array_equal(warp_bitonic_sort.sort(other), other)
        assert (tmp_path / "file").read_text() == "in the way"

    def test_sort_with_unwritable_cache_and_temporary_folder_raises(self, monkeypatch, tmp_path):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(tmp_path / "file" / "cache"))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
        with pytest.raises(CacheError, match=r"file/cache cannot be written: .*Set WARP_SORT_CACH"):
            self.sort()

    @pytest.mark.parametrize("jobs", ["many", "0", "-1", "1.5", "²", "٣", "9" * 5000])
    def test_sort_with_max_jobs_that_is_no_number_raises(self, monkeypatch, jobs):
        monkeypatch.setenv("MAX_JOBS", jobs)
        with pytest.raises(BuildError, match=f"MAX_JOBS: expected a whole number .*got '{jobs}'"):
            self.sort()

    def test_sort_with_unknown_cpu_arch_raises(self, monkeypatch):
        monkeypatch.setenv("WARP_SORT_CPU_ARCH", "pentium")
        with pytest.raises(ToolError, match="WARP_SORT_CPU_ARCH: expected one of .*got 'pentium'"):
            self.sort()

    def test_sort_with_cpu_arch_of_another_machine_raises(self, monkeypatch):
        other = "x86-64" if HOST.arch_for() == "aarch64" else "aarch64"
        monkeypatch.setenv("WARP_SORT_CPU_ARCH", other)
        with pytest.raises(ToolError, match=f"cannot run kernels built for '{other}'"):
            self.sort()


_TARGETS = cpu_targets.runnable()


@pytest.mark.parametrize("arch", _TARGETS)
@pytest.mark.compile
def test_sort_on_a_lesser_target_equals_numpy(arch):
    """Every target that this machine runs, pairwise with widths and with ways to be sorted."""
    shapes = [((70, 9), 1), ((70, 100), 1), ((21, 70), 0)]
    cases = pairwise(_TARGETS, ("u1", "i2", "f4", "i8", "f8"), shapes)
    code = f"""
        import numpy as np, warp_bitonic_sort as w
        rng = np.random.default_rng(1)
        for dtype, (shape, axis) in {[case[1:] for case in cases if case[0] == arch]}:
            x = (rng.random(shape) * 200 - 100).astype(dtype)
            np.testing.assert_array_equal(w.sort(x, axis=axis), np.sort(x, axis=axis))
        print(w.explain((3, 4)).arch)
    """
    done = run(code, WARP_SORT_CPU_ARCH=arch)
    assert done.stdout.strip() == arch, done.stderr
