"""HIP kernels as clang makes them: for every target, without scratch memory.

No device is needed.
"""

import collections
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from support import cells, gpu_code, hip_clangs
from support.descriptions import hip_kernel
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.kernels import Kernel
from warp_bitonic_sort.targets import recipe_of
from warp_bitonic_sort.targets.common import sources
from warp_bitonic_sort.targets.common.compiler import Compiler

# Accesses to memory of a kind unknown at compile time, and to scratch memory.
_WRONG_ACCESS = re.compile(r"^\t((?:flat|scratch|buffer)_(?:load|store|atomic)\w*)", re.MULTILINE)


def _wrong_accesses(assembly: str):
    """Yield what is wrong with a kernel's instructions."""
    assert re.search(r"^\tglobal_load", assembly, re.MULTILINE), "no assembly of a kernel"
    wrong = collections.Counter(_WRONG_ACCESS.findall(assembly))
    if wrong:
        yield f"has {dict(wrong)}"


def _disassembly(compiler: Compiler, kernel: Kernel, product: Path) -> str:
    """Return the instructions of a code object, as its compiler's own disassembler shows them."""
    tool = Path(compiler.command[0]).resolve().with_name("llvm-objdump")
    if tool.exists():
        command, text = [str(tool), "-d", "--no-leading-addr", str(product)], ""
    else:
        flags = [*recipe_of(kernel.target).flags(kernel.arch), f"-I{sources.INCLUDE_DIR}"]
        command, text = [*compiler.command, *flags, "-S", "-", "-o", "-"], kernel.source()
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _check(compiler: Compiler, kernels: Sequence[Kernel]) -> None:
    built = loader.build(kernels)
    wrong = []
    for kernel in kernels:
        product = built[kernel.name].library
        wrong += [
            f"{kernel.name} {each}"
            for each in (
                *gpu_code.wrong_hip_code(kernel, product.read_bytes()),
                *_wrong_accesses(_disassembly(compiler, kernel, product)),
            )
        ]
    assert wrong == []


@pytest.mark.compile
@pytest.mark.parametrize("arch", cells.HIP_ARCHS)
def test_hip_code_uses_no_scratch_memory_and_no_flat_access(
    clang_age, each_hip_compiler, clangs_for_hip, arch
):
    ages = ("oldest", "newest") if len(clangs_for_hip) > 1 else ("newest",)
    kernels = cells.hip_cells(ages)[clang_age]
    _check(each_hip_compiler(arch), [kernel for kernel in kernels if kernel.arch == arch])


@pytest.mark.compile
@pytest.mark.parametrize("arch", cells.HIP_INDEX_ARCHS)
def test_hip_code_with_an_index_uses_no_scratch_memory_and_no_flat_access(
    clang_age, each_hip_compiler, clangs_for_hip, arch
):
    ages = ("oldest", "newest") if len(clangs_for_hip) > 1 else ("newest",)
    kernels = cells.hip_index_cells(ages)[clang_age]
    _check(each_hip_compiler(arch), [kernel for kernel in kernels if kernel.arch == arch])


@pytest.mark.compile
@pytest.mark.parametrize("arch", cells.HIP_INDEX_ARCHS)
def test_hip_code_for_first_elements_uses_no_scratch_memory_and_no_flat_access(
    clang_age, each_hip_compiler, clangs_for_hip, arch
):
    ages = ("oldest", "newest") if len(clangs_for_hip) > 1 else ("newest",)
    kernels = cells.hip_first_cells(ages)[clang_age]
    _check(each_hip_compiler(arch), [kernel for kernel in kernels if kernel.arch == arch])


_FAMILIES = ("gfx900", "gfx908", "gfx90c", "gfx1010", "gfx1151", "gfx9-generic",
             "gfx9-4-generic", "gfx10-3-generic", "gfx11-generic", "gfx12-generic")  # fmt: skip


@pytest.mark.compile
@pytest.mark.parametrize(
    ("clang_age", "arch"),
    [*(("newest", arch) for arch in _FAMILIES), ("oldest", "gfx900"), ("oldest", "gfx12-generic")],
)
def test_hip_kernel_for_every_family_compiles(each_hip_compiler, arch):
    kernel = hip_kernel("ieee", 32, 8, 5, 0, "rows", arch)
    _check(each_hip_compiler(arch), [kernel])


@pytest.mark.parametrize(
    ("there", "outcome"), [("", "1 skipped"), ("/there/hipcc", "has /there/hipcc, and the package")]
)
@pytest.mark.stress
def test_missing_hip_compiler_skips_tests_unless_ci_names_one(there, outcome):
    environment = {"ROCM_PATH": "/nowhere", "WARP_SORT_TESTS_HIP": there}
    test = f"{__file__}::test_hip_code_uses_no_scratch_memory_and_no_flat_access[newest-gfx90a]"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", test],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert outcome in ran.stdout
    assert ran.returncode == (1 if there else 0)


def test_access_of_unknown_kind_or_to_scratch_is_wrong():
    good = "\tglobal_load_dword v0, v[0:1], off\n\tds_read_b32 v0, v1\n\tbuffer_inv sc1\n"
    assert list(_wrong_accesses(good)) == []
    for name in ("flat_store_b128", "flat_load_ushort", "flat_atomic_add", "scratch_load_dword",
                 "buffer_store_dword"):  # fmt: skip
        assert list(_wrong_accesses(f"{good}\t{name} v[0:1], v2\n")) == [f"has {{'{name}': 1}}"]


def test_unused_compiler_of_ci_is_named(monkeypatch):
    clangs = {version: Path(f"/there/clang-{version}") for version in (19, 20, 22)}
    for named, unused in (("", []), ("/there/clang-22:/there/clang-19", []),
                          ("/there/clang-20", ["/there/clang-20"]),
                          ("/there/clang-22:/there/clang-23", ["/there/clang-23"])):  # fmt: skip
        monkeypatch.setenv("WARP_SORT_TESTS_HIP", named)
        assert hip_clangs.unused(clangs) == unused
