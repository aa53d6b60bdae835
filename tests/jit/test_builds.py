"""Building, caching and loading: what is compiled when, what a person sees, and every failure."""

import errno
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

import warp_bitonic_sort
from support import children, cpu_targets
from support.descriptions import cpu_kernel
from warp_bitonic_sort import BuildError, CacheError, ToolError, kernels, settings
from warp_bitonic_sort.jit import builder, finders, loader, ninja, toolchain
from warp_bitonic_sort.jit.compiler import Compiler
from warp_bitonic_sort.jit.store import publish
from warp_bitonic_sort.jit.store.key import build_text
from warp_bitonic_sort.jit.store.store import Store
from warp_bitonic_sort.kernels import TILE, Layout

COMPILER = finders.find_compiler()
SORT = "import numpy as np, warp_bitonic_sort as w; print(w.sort(np.float32([[3, 1, 2]])).tolist())"
ANSWER = "[[1.0, 2.0, 3.0]]"


def run(code=SORT, **environment):
    """Run Python code in a new process."""
    given = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={name: value for name, value in given.items() if value is not None},
        capture_output=True,
        text=True,
        check=False,
    )


def entries(folder):
    return sorted(p.parent.name for p in Path(folder).glob("v1/entries/*/*"))


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """A cache that holds the runtime and the kernel of SORT; tests copy it, none changes it."""
    folder = tmp_path_factory.mktemp("warm") / "cache"
    done = run(WARP_SORT_CACHE_DIR=str(folder))
    assert done.stdout.strip() == ANSWER, done.stderr
    return folder


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


def test_the_first_call_builds_the_runtime_and_just_its_kernel(fresh_cache, counting_compiler):
    script, compiled = counting_compiler
    done = run(CXX=script, WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert done.stdout.strip() == ANSWER
    assert [Path(p).parent.name for p in compiled()] == [children.KERNEL.name, "runtime"]
    assert len(entries(fresh_cache)) == 2
    assert list((fresh_cache / "v1" / "staging").iterdir()) == []
    assert done.stderr == "", "a build is quiet when nobody watches"
    # Another specialization compiles itself alone; nothing else compiles again.
    more = run(SORT.replace("[3, 1, 2]", "[3, 1, 2, 0]"), CXX=script,
               WARP_SORT_CACHE_DIR=str(fresh_cache))  # fmt: skip
    assert more.stdout.strip() == "[[0.0, 1.0, 2.0, 3.0]]"
    assert len(compiled()) == 3
    again = run(CXX=script, WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert again.stdout.strip() == ANSWER
    assert len(compiled()) == 3


def test_a_warm_process_starts_no_tool_and_writes_nothing(warm):
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
def test_a_start_imports_nothing_that_only_a_build_or_a_device_needs(warm, tmp_path, variable):
    """Each module takes a tenth of a millisecond, and there were ten of them."""
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
    built = {"ninja", "hip_compiler", "rtc_compilers", "rtc_search", "building"}
    built |= {f"store.{name}" for name in ("locks", "maintenance", "inventory", "publish")}
    of_devices = {"jit.gpu_targets", "layouts"}
    of_others = {"framework", "explanation"}
    needless = {*(f"jit.{name}" for name in built), *of_devices, *of_others}
    if variable == "PACKAGED":
        needless.add("jit.store.permissions")
    if variable != "WARP_SORT_CACHE_DIR" or finders.find_compiler().identity() is not None:
        # A script's version has to be asked for.
        needless |= {"jit.builder", "jit.compiler", "jit.finders"}
    assert "arrays._numpy" in done.stdout.split(), done.stderr
    assert not needless & set(done.stdout.split())


def test_who_refuses_a_kernel_is_asked_before_it_is_opened(fresh_cache):
    """With the runtime loaded, which tells; and then before anything is built, too."""
    code = """
        import os
        from warp_bitonic_sort.jit import loader, toolchain
        from warp_bitonic_sort.kernels import Kernel, Layout
        entries, arch = os.environ["WARP_SORT_CACHE_DIR"] + "/v1/entries", toolchain.cpu_arch()
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


def test_a_read_only_cache_is_hit(copy_of_warm):
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
    assert said.startswith(f"{shlex.join(COMPILER.command)} ({COMPILER.why}; ")


def test_max_jobs_bounds_the_compilers(fresh_cache, tmp_path):
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


def test_a_header_edit_builds_again_and_a_touch_does_not(copy_of_warm, tmp_path, counting_compiler):
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
    """What made an entry spares asking for a version; what did not is asked."""
    script = tmp_path / "c++"
    script.write_text(f'#!/bin/sh\nexec {shutil.which(COMPILER.command[0])} "$@"\n')
    script.chmod(0o755)
    before = entries(copy_of_warm)
    code = f"{SORT}\nimport sys; print('warp_bitonic_sort.jit.builder' in sys.modules)"
    done = run(code, CXX=str(script), WARP_SORT_CACHE_DIR=str(copy_of_warm))
    assert done.stdout.split("\n") == [ANSWER, "True", ""], done.stderr
    assert entries(copy_of_warm) == before


def test_who_made_an_entry_is_known_of_compilers_alone(warm, tmp_path):
    """Behind a script that does more, another compiler may be when it is still the same."""
    script = tmp_path / "c++"
    script.write_text(f'#!/bin/sh\ntrue; exec {shutil.which(COMPILER.command[0])} "$@"\n')
    script.chmod(0o755)
    done = run(CXX=str(script), WARP_SORT_CACHE_DIR=str(tmp_path / "cache"))
    assert done.stdout.strip() == ANSWER, done.stderr
    for folder, identity in ((warm, COMPILER.identity()), (tmp_path / "cache", None)):
        manifests = list(folder.glob("v1/entries/*/*/manifest.json"))
        assert [json.loads(file.read_text())["maker"] for file in manifests] == [identity] * 2


def test_a_compiler_that_is_replaced_while_it_compiles_has_made_nothing(fresh_cache, tmp_path):
    """Nobody knows which of the two did, so that the version is asked for."""
    code = f"""
        import os, sys
        from warp_bitonic_sort.jit import ninja
        build = ninja.build
        def replaced(*arguments):
            failure = build(*arguments)
            os.utime("c++")
            return failure
        ninja.build = replaced
        {SORT}
    """
    (tmp_path / "c++").write_text(f'#!/bin/sh\nexec {shutil.which(COMPILER.command[0])} "$@"\n')
    (tmp_path / "c++").chmod(0o755)
    code = code.replace('"c++"', repr(str(tmp_path / "c++")))
    done = run(code, CXX=str(tmp_path / "c++"), WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert done.stdout.strip() == ANSWER, done.stderr
    manifests = list(fresh_cache.glob("v1/entries/*/*/manifest.json"))
    assert [json.loads(file.read_text())["maker"] for file in manifests] == [None, None]


@pytest.mark.parametrize("damage", ["truncate", "flip", "manifest", "remove"])
def test_a_damaged_entry_is_never_loaded(copy_of_warm, damage, counting_compiler):
    script, compiled = counting_compiler
    for library in copy_of_warm.glob("v1/entries/*/*/library.so"):
        data = library.read_bytes()
        if damage == "truncate":
            library.write_bytes(data[: len(data) // 2])
        elif damage == "flip":
            middle = len(data) // 2
            library.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        elif damage == "manifest":
            (library.parent / "manifest.json").write_text('{"build": [')
        else:
            library.unlink()
    for _ in range(2):
        done = run(WARP_SORT_CACHE_DIR=str(copy_of_warm), CXX=script)
        assert done.stdout.strip() == ANSWER, done.stderr
        assert len(entries(copy_of_warm)) == 2
        assert len(compiled()) == 2, "built again once, then whole"


def test_the_manifest_says_what_was_built(warm):
    (manifest,) = warm.glob("v1/entries/cpu_all_none_*/*/manifest.json")
    data = json.loads(manifest.read_text())
    assert data["text"]["arch"] == toolchain.cpu_arch()
    assert data["text"]["source"].startswith("#include <warp_bitonic_sort/kernel.hpp>")
    assert any(" {package_include}/" in line for line in data["dependencies"])
    assert not any(str(toolchain.INCLUDE_DIR) in line for line in data["dependencies"])


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


def test_the_build_text_holds_everything_but_the_compiler_and_file_contents():
    kernel = cpu_kernel("ieee", 32, 9, "rows", "x86-64-avx2")
    text = build_text(kernel)
    assert build_text(kernel) == text
    others = [
        build_text(kernel, ["-O0"]),
        build_text(kernel._replace(layout=Layout(10))),
        build_text(kernel._replace(access="columns")),
        build_text(kernel._replace(codec="integer")),
        build_text(kernel._replace(bits=64)),
        build_text(kernel._replace(layout=TILE, access="strided")),
        build_text(kernel._replace(arch="x86-64-avx512")),
    ]
    assert len({text, *others}) == len(others) + 1
    assert str(toolchain.INCLUDE_DIR) not in text
    assert ninja.rule(kernel) in ninja.text([kernel], {"cpu": COMPILER})
    assert json.dumps(ninja.rule(kernel))[1:-1] in text


@pytest.mark.parametrize("linker", ["bfd", "gold", "lld"])
def test_linkers(fresh_cache, linker):
    compiler = f"{shlex.join(COMPILER.command)} -fuse-ld={linker}"
    asked = f"{compiler} -Wl,--version -o {fresh_cache}.out"
    if subprocess.run(shlex.split(asked), capture_output=True).returncode != 0:
        pytest.skip(f"no {linker}")  # the default one is not asked for
    done = run(CXX=compiler, WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert done.stdout.strip() == ANSWER, done.stderr


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


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A PATH of nothing but these, each of which answers when it is run."""
    for name in ("g++", "ccache", "env", "test", "yes", "c++"):
        (tmp_path / name).write_bytes(b"\x7fELF")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "name", "options", "is_known"),
    [
        ("g++", "g++", (), True),
        ("ccache g++", "g++", (), True),
        ("ccache g++ -O2", "g++", ("-O2",), True),
        # What follows an option is no program, though there is one of that name; but whether it is
        # run is not known.
        ("g++ -D test", "g++", ("-D", "test"), False),
        ("g++ -D yes", "g++", ("-D", "yes"), False),
        ("env -u HOME g++", "env", ("-u", "HOME", "g++"), False),
        ("env A=1 g++", "g++", ("A=1",), True),
        ("c++ --param x=1", "c++", ("--param", "x=1"), True),
    ],
)
def test_which_words_of_cxx_are_programs(programs, monkeypatch, asked, name, options, is_known):
    monkeypatch.setenv("CXX", asked)
    found = finders.find_compiler()
    assert toolchain.cxx_options() == options
    assert found.path == programs / name
    assert found.command == tuple(asked.split())
    assert (found.identity() is not None) is is_known


def still_is(*identities):
    """Which of these a start takes for the compiler's, which is to be the one that it has."""
    found = [toolchain.still_is("cpu", each) for each in identities]
    assert found == [each == toolchain.identity("cpu") for each in identities]
    return found


@pytest.mark.parametrize("asked", [None, "g++", "{}/g++", "./g++"])
def test_the_quick_identity_is_that_of_what_is_found(programs, monkeypatch, asked):
    monkeypatch.chdir(programs)
    monkeypatch.delenv("CXX", raising=False)
    if asked is not None:
        monkeypatch.setenv("CXX", asked.format(programs))
    quick = toolchain.identity("cpu")
    assert quick == finders.find_compiler().identity() is not None
    for kind in ("runtime", "cpu"):
        assert toolchain.identity(kind) == quick
    name = "c++" if asked is None else "g++"
    (programs / name).rename(programs / "newer")
    (programs / name).symlink_to("newer")
    # What a link leads to is what counts, as it is for who finds it.
    assert toolchain.identity("cpu") == finders.find_compiler().identity() == quick
    assert (
        still_is(quick, "another", "", "None", f"{quick}|", f"{quick}|\0|1") == [True] + [False] * 5
    )
    # Of the same size, too.
    (programs / "newer").write_bytes(b"\x7fELf")
    os.utime(programs / "newer", ns=(0, 1))
    edited = toolchain.identity("cpu")
    assert edited == finders.find_compiler().identity() != quick
    assert still_is(edited, quick) == [True, False]
    (programs / "newest").write_bytes(b"\x7fELf")
    (programs / "newest").chmod(0o755)
    os.utime(programs / "newest", ns=(0, 1))
    (programs / "newest").replace(programs / "newer")
    assert toolchain.identity("cpu") == finders.find_compiler().identity() != edited
    assert still_is(edited, quick) == [False, False]
    (programs / "newer").unlink()
    assert not any(still_is(edited, quick))


PLAIN_SCRIPT = '#!/bin/sh\n# the real one\n\nexec {}/g++-real -B/opt/ -isystem /usr/include "$@"\n'


def write_script(file, text):
    file.unlink(missing_ok=True)
    file.write_text(text.replace("{}", str(file.parent)))
    file.chmod(0o755)


@pytest.mark.parametrize("asked", [None, "c++", "{}/c++"])
def test_a_script_that_runs_one_program_is_as_good_as_that(programs, monkeypatch, asked):
    monkeypatch.delenv("CXX", raising=False)
    if asked is not None:
        monkeypatch.setenv("CXX", asked.format(programs))
    write_script(programs / "c++", PLAIN_SCRIPT)
    assert toolchain.identity("runtime") is None, "what it would run is not there"
    (programs / "g++").rename(programs / "g++-real")
    first = toolchain.identity("runtime")
    assert first == finders.find_compiler().identity() is not None
    assert still_is(first) == [True]
    (programs / "g++-real").write_bytes(b"\x7fELF, newer")
    second = toolchain.identity("runtime")
    assert second == finders.find_compiler().identity() != first
    assert still_is(first, second) == [False, True]
    with monkeypatch.context() as context:
        context.setattr("builtins.open", lambda *_: pytest.fail("a start reads the script"))
        assert toolchain.still_is("runtime", second)
    write_script(programs / "c++", PLAIN_SCRIPT.replace("-B/opt/", "-B/new/"))
    os.utime(programs / "c++", ns=(0, 1))
    assert toolchain.identity("runtime") not in (None, second)
    assert still_is(first, second) == [False, False]
    third = toolchain.identity("runtime")
    (programs / "g++-real").rename(programs / "g++-13")
    assert still_is(third) == [False]
    # A link that the script goes through counts as what it leads to.
    (programs / "g++-real").symlink_to("g++-13")
    assert still_is(third) == [True]
    shutil.copy(programs / "g++-13", programs / "g++-14")
    (programs / "g++-real").unlink()
    (programs / "g++-real").symlink_to("g++-14")
    assert still_is(third) == [False]


@pytest.mark.parametrize(
    "text",
    [
        '#!/usr/bin/python3\nexec {}/g++ "$@"\n',
        '#!/bin/sh\nexec g++ "$@"\n',
        '#!/bin/sh\nexec {}/g++ $FLAGS "$@"\n',
        '#!/bin/sh\nexec {}/g++ `flags` "$@"\n',
        '#!/bin/sh\nexec {}/env g++ "$@"\n',
        '#!/bin/sh\nexec {}/ccache "$@"\n',
        # What follows may be a program though it is none on the PATH, or a script.
        '#!/bin/sh\nexec {}/env PATH=/opt/gcc:/usr/bin mygxx "$@"\n',
        '#!/bin/sh\nexec {}/python3 {}/wrap.py "$@"\n',
        '#!/bin/sh\nexec {}/python3 -mwrap "$@"\n',
        '#!/bin/sh\nexec {}/docker run --rm gcc:14 g++-14 "$@"\n',
        '#!/bin/sh\nexec {}/g++ {}/wrap.py "$@"\n',
        '#!/bin/sh\nexec {}/g++ -wrapper {}/wrap.py "$@"\n',
        '#!/bin/sh\nexec {}/g++ @{}/wrap.py "$@"\n',
        '#!/bin/sh\nexec\t{}/g++ "$@"\n',
        '#!/bin/sh\nexec {}/linked "$@"\n',
        '#!/bin/sh\nexec {}/g++-linked "$@"\n',
        '#!/bin/sh\nexec {}/script "$@"\n',
        "#!/bin/sh\nexec {}/g++\n",
        '#!/bin/sh\nexec {}/g++ "$1"\n',
        '#!/bin/sh\n{}/g++ "$@"\n',
        '#!/bin/sh\nset -e\nexec {}/g++ "$@"\n',
        '#!/bin/sh\nexec {}/g++ \\\n"$@"\n',
        '#!/bin/sh\nexec {}/g++ "$@"; g++ "$@"\n',
        '#!/bin/sh\nexec {}/g++ "$@"\nexec {}/c++ "$@"\n',
        "#!/bin/sh\n" + 4096 * "#" + '\nexec {}/g++ "$@"\n',
        "#!/bin/sh\nexec {}/g++ '$@'\n",
        "#!",
        "#!/bin/sh\n\xff",
    ],
)
def test_of_any_other_script_nobody_knows_what_it_runs(programs, monkeypatch, text):
    monkeypatch.setenv("CXX", "c++")
    (programs / "linked").symlink_to("ccache")
    (programs / "g++-linked").symlink_to("ccache")
    (programs / "wrap.py").write_text("")  # which nobody may run as it is
    for name in ("python3", "docker"):
        (programs / name).hardlink_to(programs / "g++")
    write_script(programs / "script", '#!/bin/sh\nexec {}/g++ "$@"\n')
    write_script(programs / "c++", text)
    assert toolchain.identity("runtime") is None
    assert finders.find_compiler().identity() is None


@pytest.mark.usefixtures("programs")
def test_another_mount_of_the_same_compiler_is_no_other_compiler(monkeypatch):
    """Each container sees its image's files on another device."""
    monkeypatch.setenv("CXX", "g++")
    before, seen = toolchain.identity("runtime"), os.stat

    def elsewhere(path, **options):
        found = seen(path, **options)
        fields = {name: getattr(found, name) for name in dir(found) if name.startswith("st_")}
        return types.SimpleNamespace(**{**fields, "st_dev": found.st_dev + 1})

    monkeypatch.setattr(toolchain.os, "stat", elsewhere)
    assert toolchain.identity("runtime") == before


def test_a_compiler_that_two_installations_share_is_two(programs, tmp_path, monkeypatch):
    """Links of one file, each of which says where it is installed."""
    identities = set()
    monkeypatch.setenv("CXX", "clang++")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "clang++").hardlink_to(programs / "g++")
        monkeypatch.setenv("PATH", str(tmp_path / name))
        identities.add(toolchain.identity("runtime"))
        identities.add(finders.find_compiler().identity())
    assert len(identities) == 2


def test_a_runtime_keeps_its_symbols_where_options_are_given(monkeypatch):
    monkeypatch.setenv("CXX", "c++ -g")
    assert "-s" not in toolchain.compile_flags(kernels.RUNTIME)
    monkeypatch.setenv("CXX", "c++")
    assert "-s" in toolchain.compile_flags(kernels.RUNTIME)
    assert " -s " in toolchain.rule(kernels.RUNTIME)


@pytest.mark.parametrize("asked", ["ccache g++", "g++ -O2", "nothing", "'g++'", "-O2", " "])
def test_there_is_no_quick_identity_of_more_than_one_word(programs, monkeypatch, asked):
    monkeypatch.setenv("CXX", asked)
    if asked.strip() and asked != "nothing":
        # A program of that name is not what would be run.
        (programs / asked).write_bytes(b"\x7fELF")
        (programs / asked).chmod(0o755)
    (programs / "c++").unlink()
    (programs / "g++").chmod(0o644 if asked == " " else 0o755)
    assert toolchain.identity("cpu") is None


def test_nothing_is_remembered_of_a_wrapper(programs, monkeypatch, tmp_path):
    """Its quick identity stays as it is when what it runs does not."""
    monkeypatch.setenv("CXX", "ccache")
    (programs / "ccache").write_text("#!/bin/sh\necho 1.0\n")
    asked = []
    version = Compiler.version
    monkeypatch.setattr(Compiler, "version", lambda self: asked.append(self) or version(self))
    store = Store(tmp_path / "cache")
    for _ in range(2):
        tool = builder.Tool([store], "runtime", finders.find_compiler)
        assert tool.version == "1.0"
    assert len(asked) == 2
    assert not (store.base / "tools").exists()


def test_a_compiler_whose_version_is_remembered_is_not_looked_for(programs, monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "g++")
    monkeypatch.setattr(Compiler, "version", lambda _: "1.0")
    store = Store(tmp_path / "cache")
    found = []
    find = lambda: found.append(1) or finders.find_compiler()  # noqa: E731
    for _ in range(2):
        tool = builder.Tool([store], "runtime", find)
        assert (tool.version, len(found)) == ("1.0", 1)
    assert (tool.compiler.command, tool.error, len(found)) == (("g++",), None, 2)
    (programs / "g++").unlink()
    tool = builder.Tool([store], "runtime", finders.find_compiler)
    assert (tool.version, tool.compiler) == (None, None)
    assert "is not a program on the PATH" in str(tool.error)


def test_a_compiler_whose_version_is_not_utf_8(tmp_path, monkeypatch):
    script = tmp_path / "c++"
    script.write_bytes(b"#!/bin/sh\necho 'c++ \xff 1.0'\n")
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    assert finders.find_compiler().version() == "c++ \ufffd 1.0"


def test_a_compiler_that_may_be_run_and_not_read(programs, monkeypatch):
    """Nobody knows whether it is a script, which another compiler may be behind."""
    monkeypatch.setenv("CXX", str(programs / "g++"))
    assert finders.find_compiler().identity() is not None

    def refused(file, *_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))

    monkeypatch.setattr("builtins.open", refused)
    assert finders.find_compiler().identity() is None


def test_a_relative_cxx(fresh_cache, counting_compiler):
    script, compiled = counting_compiler
    code = f"import os; os.chdir({str(Path(script).parent)!r}); {SORT}"
    done = run(code, CXX=f"./{Path(script).name}", WARP_SORT_CACHE_DIR=str(fresh_cache))
    assert done.stdout.strip() == ANSWER, done.stderr
    assert len(compiled()) == 2


@pytest.mark.parametrize("tools", [{"PATH": "/nonexistent", "CXX": None}, {"CXX": "/nonexistent"}])
def test_a_hit_needs_no_compiler(warm, tools):
    """What is in the cache is used where no compiler is; what is not names the compiler."""
    done = run(WARP_SORT_CACHE_DIR=str(warm), **tools)
    assert done.stdout.strip() == ANSWER, done.stderr
    more = run(SORT.replace("[3, 1, 2]", "[3, 1, 2, 0]"), WARP_SORT_CACHE_DIR=str(warm), **tools)
    assert "ToolError" in more.stderr


def test_a_source_that_changes_while_it_is_compiled_is_not_vouched_for(fresh_cache, tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(Path(warp_bitonic_sort.__file__).parent, tree / "warp_bitonic_sort")
    header = tree / "warp_bitonic_sort/csrc/include/warp_bitonic_sort/network/bitonic.hpp"
    script = tmp_path / "editing-c++"
    real = " ".join(COMPILER.command)
    script.write_text(
        f'#!/bin/sh\n{real} "$@"; s=$?\n'
        f'case "$*" in *sort_cpu*) echo "// edited" >>{header};; esac; exit $s\n'
    )
    script.chmod(0o755)
    options = {"PYTHONPATH": str(tree), "WARP_SORT_CACHE_DIR": str(fresh_cache)}
    done = run(CXX=str(script), **options)
    assert "bitonic.hpp was changed meanwhile" in done.stderr
    assert list((fresh_cache / "v1" / "entries").glob("sort_cpu*")) == []
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
def test_depfiles(depfile, paths):
    assert publish._parse_depfile(depfile) == paths


# -- failures ------------------------------------------------------------------------------------


@pytest.fixture
def nothing_loaded(monkeypatch):
    """This process as if it had opened no kernel."""
    monkeypatch.setattr(loader, "_opened", {})
    monkeypatch.setattr("warp_bitonic_sort.ops._prepared", {})


@pytest.mark.usefixtures("nothing_loaded", "fresh_cache")
class TestFailures:
    """One clear error each; the message is the whole contract, so it is what is tested."""

    x = np.zeros((3, 7), np.float32)

    def sort(self):
        return warp_bitonic_sort.sort(self.x)

    def test_no_compiler(self, monkeypatch):
        monkeypatch.delenv("CXX", raising=False)
        monkeypatch.setenv("PATH", "/nonexistent")
        with pytest.raises(ToolError, match=r"no C\+\+ compiler: .*Install one .*or set CXX"):
            self.sort()

    def test_cxx_that_is_not_there(self, monkeypatch):
        monkeypatch.setenv("CXX", "/nonexistent/g++")
        with pytest.raises(ToolError, match=r"CXX: '/nonexistent/g\+\+' is not a program"):
            self.sort()

    def test_cxx_that_no_shell_would_take(self, monkeypatch):
        monkeypatch.setenv("CXX", 'g++ "')
        with pytest.raises(ToolError, match=r"""CXX: 'g\+\+ "' .*No closing quotation.*Set CXX"""):
            self.sort()

    def test_cxx_that_is_no_compiler(self, monkeypatch):
        monkeypatch.setenv("CXX", "false")
        # What such a program prints instead may be long, and end in anything.
        with pytest.raises(ToolError, match=r"\nHint: Set CXX to a C\+\+ compiler") as error:
            self.sort()
        assert "'false' (CXX=false) does not answer --version" in str(error.value)

    def test_no_ninja(self, monkeypatch):
        monkeypatch.setattr(finders, "_packaged_ninjas", list)
        found = shutil.which
        is_ninja = re.compile("ninja").match
        monkeypatch.setattr(shutil, "which", lambda name: None if is_ninja(name) else found(name))
        with pytest.raises(ToolError, match=r"no ninja: .*pip install ninja") as error:
            self.sort()
        assert "registers7_rows" in str(error.value)
        assert "warp-bitonic-sort prewarm --backend cpu" in str(error.value)
        # Neither, when a compiler is missing, too, does it take two errors to say so.
        monkeypatch.setenv("CXX", "/nonexistent/g++")
        with pytest.raises(ToolError, match=r"CXX: .* And there is no ninja: .*\)\. Or have"):
            self.sort()

    def test_a_compile_that_fails(self, monkeypatch, tmp_path):
        broken = tmp_path / "include"
        shutil.copytree(toolchain.INCLUDE_DIR, broken)
        header = broken / "warp_bitonic_sort" / "network" / "bitonic.hpp"
        header.write_text(f"{header.read_text()}\nint x = undeclared_name;\nint y = also_wrong;\n")
        monkeypatch.setattr(toolchain, "INCLUDE_DIR", broken)
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
            (toolchain._CSRC / "include/warp_bitonic_sort/network/bitonic.hpp").read_text()
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
    def test_the_first_error_is_distilled(self, log, line, hint):
        found, said = ninja.first_error(log)
        assert found == line
        assert hint in said

    def test_a_cache_that_cannot_be_written(self, monkeypatch, tmp_path):
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

    def test_a_cache_that_cannot_be_written_nor_a_temporary_folder(self, monkeypatch, tmp_path):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(tmp_path / "file" / "cache"))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
        with pytest.raises(CacheError, match=r"file/cache cannot be written: .*Set WARP_SORT_CACH"):
            self.sort()

    @pytest.mark.parametrize("jobs", ["many", "0", "-1", "1.5", "²", "٣", "9" * 5000])
    def test_max_jobs_that_is_no_number(self, monkeypatch, jobs):
        monkeypatch.setenv("MAX_JOBS", jobs)
        with pytest.raises(BuildError, match=f"MAX_JOBS: expected a whole number .*got '{jobs}'"):
            self.sort()

    def test_a_target_that_is_unknown(self, monkeypatch):
        monkeypatch.setenv("WARP_SORT_CPU_ARCH", "pentium")
        with pytest.raises(ToolError, match="WARP_SORT_CPU_ARCH: expected one of .*got 'pentium'"):
            self.sort()

    def test_a_target_that_this_machine_cannot_run(self, monkeypatch):
        other = "x86-64" if toolchain.cpu_arch() == "aarch64" else "aarch64"
        monkeypatch.setenv("WARP_SORT_CPU_ARCH", other)
        with pytest.raises(ToolError, match=f"cannot run kernels built for '{other}'"):
            self.sort()


def test_lesser_targets_sort_the_same():
    """Every target that this machine runs, on a few shapes of every width."""
    code = """
        import numpy as np, warp_bitonic_sort as w
        rng = np.random.default_rng(1)
        for dtype in ("u1", "i2", "f4", "i8", "f8"):
            for shape, axis in (((70, 9), 1), ((70, 100), 1), ((21, 70), 0)):
                x = (rng.random(shape) * 200 - 100).astype(dtype)
                np.testing.assert_array_equal(w.sort(x, axis=axis), np.sort(x, axis=axis))
        print(w.explain((3, 4)).arch)
    """
    for level in cpu_targets.runnable():
        done = run(code, WARP_SORT_CPU_ARCH=level)
        assert done.stdout.strip() == level, done.stderr
