"""The key of an entry: which changes build a kernel again, and which hit."""

import json
import os
import shlex
import shutil
from pathlib import Path

import pytest

import warp_bitonic_sort
from support import children
from support.children import ANSWER, SORT, entries, run
from support.descriptions import cpu_kernel
from warp_bitonic_sort.jit.build import ninja
from warp_bitonic_sort.jit.store import publish
from warp_bitonic_sort.jit.store.key import build_text
from warp_bitonic_sort.kernels import TILE, Layout
from warp_bitonic_sort.targets import HOST, recipe_of
from warp_bitonic_sort.targets.common import sources
from warp_bitonic_sort.targets.common.host import find_compiler

COMPILER = find_compiler()


@pytest.mark.compile
def test_edited_header_builds_again_and_a_touched_one_does_not(cache_copy, tmp_path):
    """The package is copied, so that the copy's headers can be changed."""
    script, compiled = children.counting(tmp_path)
    tree = tmp_path / "moved here $"  # what make, ninja and the shell escape
    shutil.copytree(Path(warp_bitonic_sort.__file__).parent, tree / "warp_bitonic_sort")
    header = tree / "warp_bitonic_sort/csrc/include/warp_bitonic_sort/network/bitonic.hpp"
    options = {"PYTHONPATH": str(tree), "WARP_SORT_CACHE_DIR": str(cache_copy)}

    def sorted_here():
        done = run(f"{SORT}; import sys; print(w.__file__)", **options)
        answer, where = done.stdout.split("\n")[:2]
        assert answer == ANSWER, done.stderr
        assert where.startswith(str(tree))

    before = entries(cache_copy)
    sorted_here()
    assert entries(cache_copy) == before, "a moved tree hits"
    os.utime(header, (1, 1))
    sorted_here()
    assert entries(cache_copy) == before, "a touched header hits"
    header.write_text(header.read_text() + "// changed\n")
    sorted_here()
    after = entries(cache_copy)
    assert len(after) == len(before) + 1, "the kernel was built again, the runtime was not"
    options["CXX"] = script
    sorted_here()
    assert len(compiled()) == 0, "the same compiler behind another name has the same version"


@pytest.mark.compile
@pytest.mark.usefixtures("runtime_layer")
def test_another_compiler_version_builds_again(cache_copy, tmp_path):
    script = tmp_path / "newer-c++"
    real = " ".join(COMPILER.command)
    script.write_text(
        f'#!/bin/sh\nif [ "$1" = --version ]; then echo "c++ 99.0"; exit 0; fi\nexec {real} "$@"\n'
    )
    script.chmod(0o755)
    before = entries(cache_copy)
    done = run(CXX=str(script), WARP_SORT_CACHE_DIR=str(cache_copy))
    assert done.stdout.strip() == ANSWER, done.stderr
    assert len(entries(cache_copy)) == len(before) + 1, "layers are of any version"


def test_another_compiler_of_the_same_version_hits(cache_copy, tmp_path):
    """A script is run for its version at every start."""
    script = tmp_path / "c++"
    script.write_text(f'#!/bin/sh\nexec {shutil.which(COMPILER.command[0])} "$@"\n')
    script.chmod(0o755)
    before = entries(cache_copy)
    code = f"{SORT}\nimport sys; print('warp_bitonic_sort.jit.build' in sys.modules)"
    done = run(code, CXX=str(script), WARP_SORT_CACHE_DIR=str(cache_copy))
    assert done.stdout.split("\n") == [ANSWER, "True", ""], done.stderr
    assert entries(cache_copy) == before


@pytest.mark.usefixtures("runtime_layer")
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
    assert versions == ["1", "2"]


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
def test_damaged_entry_is_never_loaded(cache_copy, damages, tmp_path):
    script, compiled = children.counting(tmp_path)
    libraries = sorted(cache_copy.glob("v1/entries/*/*/library.so"))
    for library, how in zip(libraries, damages, strict=True):
        _damage(library, how)
    for _ in range(2):
        done = run(WARP_SORT_CACHE_DIR=str(cache_copy), CXX=script)
        assert done.stdout.strip() == ANSWER, done.stderr
        assert len(entries(cache_copy)) == 2
        assert len(compiled()) == 2, "built again once, then whole"


def test_manifest_of_a_kernel_has_its_text_and_dependencies(warm_cache):
    (manifest,) = warm_cache.glob("v1/entries/cpu_all_none_*/*/manifest.json")
    data = json.loads(manifest.read_text())
    assert data["text"]["arch"] == HOST.arch_for()
    assert data["text"]["source"].startswith("#include <warp_bitonic_sort/kernel.hpp>")
    assert any(path.startswith("{package_include}/") for path in data["dependencies"])
    assert not any(str(sources.INCLUDE_DIR) in path for path in data["dependencies"])


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


@pytest.mark.compile
def test_options_in_cxx_build_again(cache_copy):
    """Options change what is compiled, so they are part of the key."""
    before = entries(cache_copy)
    for options in ("-O0", "-O0 -DSOMETHING"):
        done = run(
            CXX=f"{shlex.join(COMPILER.command)} {options}", WARP_SORT_CACHE_DIR=str(cache_copy)
        )
        assert done.stdout.strip() == ANSWER, done.stderr
        after = entries(cache_copy)
        assert len(after) == len(before) + 2
        before = after


def test_build_whose_source_changes_meanwhile_is_not_published(half_cache, tmp_path):
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
    options = {"PYTHONPATH": str(tree), "WARP_SORT_CACHE_DIR": str(half_cache)}
    done = run(CXX=str(script), **options)
    assert "bitonic.hpp was changed meanwhile" in done.stderr
    assert entries(half_cache) == ["runtime"]
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
