"""Which CPU target a process builds for: that of the CPUID instruction, not of /proc/cpuinfo."""

import platform
import re
import shutil
import subprocess

import pytest

from support import children, elf, programs
from support.covering import pairwise
from support.cpu_targets import runnable
from warp_bitonic_sort import ToolError
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.targets import HOST
from warp_bitonic_sort.targets.common import sources
from warp_bitonic_sort.targets.cpu import arch as cpu_targets
from warp_bitonic_sort.targets.cpu.arch import CPU_ARCHS

x86_64 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="only x86-64 has several targets"
)

# The bits of each CPUID word, by the macros that compilers define for them.
LEAF1_ECX = {"SSE3": 0, "SSSE3": 9, "FMA": 12, "SSE4_1": 19, "SSE4_2": 20, "POPCNT": 23,
             "XSAVE": 27, "AVX": 28, "F16C": 29}  # fmt: skip
LEAF7_EBX = {"AVX2": 5, "BMI2": 8, "AVX512F": 16, "AVX512DQ": 17, "AVX512BW": 30, "AVX512VL": 31}
SAVED = {"xmm": 1, "ymm": 2, "mask": 5, "zmm_high": 6, "zmm16": 7}
# What compilers define beside: CRC32 is part of SSE4.2, prefetchw runs everywhere, and the rest
# says how wide clang's registers are.
NO_BIT = {"CRC32", "PRFCHW", "EVEX256", "EVEX512"}
# cpuid leaf 0 ebx and leaf 1 eax: the first letters of the vendor, and family, model, stepping.
INTEL, AMD = (int.from_bytes(name, "little") for name in (b"Genu", b"Auth"))
SAPPHIRE_RAPIDS, ZEN_4, ZEN_5 = (INTEL, 0x806F8), (AMD, 0xA10F11), (AMD, 0xB00F21)
FOR_AVX2 = {"SSE3", "SSSE3", "SSE4_1", "SSE4_2", "POPCNT", "XSAVE", "AVX", "AVX2", "BMI2"}
FOR_AVX2_SAVED = {"xmm", "ymm"}


@pytest.fixture(scope="module")
def arch_of():
    """A function that returns the targets of processors that lack some features each."""
    program = programs.build("check_cpu_arch.cc", f"-I{sources.CSRC}")

    def of(*lacking, model=SAPPHIRE_RAPIDS):
        words = []
        for each in lacking:
            for table in (LEAF1_ECX, LEAF7_EBX, SAVED):
                words.append(sum(1 << bit for name, bit in table.items() if name not in each))
            words += model
        words = [f"{word:x}" for word in words]
        done = subprocess.run([program, *words], capture_output=True, text=True, check=True)
        return done.stdout.split()

    of.program = program
    return of


@x86_64
def test_cpu_arch_of_a_processor_that_lacks_a_feature_is_the_next_lesser(arch_of):
    every = [*LEAF1_ECX, *LEAF7_EBX, *SAVED]
    found = dict(zip(every, arch_of(*({name} for name in every)), strict=True))
    assert arch_of(set()) == ["x86-64-avx512"]
    assert {name for name, arch in found.items() if arch == "x86-64"} == FOR_AVX2 | FOR_AVX2_SAVED
    assert {arch for name, arch in found.items() if name not in FOR_AVX2 | FOR_AVX2_SAVED} == {
        "x86-64-avx2"
    }
    assert arch_of(set(every)) == ["x86-64"]


@x86_64
def test_cpu_arch_has_half_vectors_on_processors_that_halve_them(arch_of):
    assert arch_of(set(), model=ZEN_4) == ["x86-64-avx512-256"]
    assert arch_of(set(), model=ZEN_5) == ["x86-64-avx512"]
    assert arch_of({"AVX512F"}, model=ZEN_4) == ["x86-64-avx2"]  # as Zen 3


AVX2, AVX512 = sorted(cpu_targets._AVX2), sorted(cpu_targets._AVX2 | cpu_targets._AVX512)


def cpuinfo(vendor, family, flags):
    lines = ["processor\t: 0", f"vendor_id\t: {vendor}", f"cpu family\t: {family}"]
    return "\n".join([*lines, f"flags\t\t: {' '.join(flags)}", ""])


@x86_64
@pytest.mark.parametrize(
    ("vendor", "family", "flags", "expected"),
    [
        ("AuthenticAMD", 25, AVX512, "x86-64-avx512-256"),
        ("AuthenticAMD", 26, AVX512, "x86-64-avx512"),
        ("GenuineIntel", 25, AVX512, "x86-64-avx512"),
        ("AuthenticAMD", 25, AVX2, "x86-64-avx2"),  # Zen 3
        ("AuthenticAMD", 25, [], "x86-64"),
    ],
)
def test_listed_arch_is_that_of_the_first_processor(
    vendor, family, flags, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr(cpu_targets, "_CPUINFO", tmp_path / "cpuinfo")
    second = cpuinfo("GenuineIntel", 6, AVX512)
    (tmp_path / "cpuinfo").write_text(cpuinfo(vendor, family, flags) + "\n" + second)
    assert cpu_targets._listed_cpu_arch.__wrapped__() == expected


@x86_64
def test_listed_arch_of_an_emulated_processor_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu_targets, "_CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: neon\n")
    assert cpu_targets._listed_cpu_arch.__wrapped__() is None


@x86_64
@pytest.mark.parametrize(
    "compiler",
    [*filter(shutil.which, ["c++", "g++", "clang++", *(f"clang++-{n}" for n in range(14, 40))])],
)
def test_cpu_arch_asks_for_every_feature_that_the_flags_imply(compiler):
    def macros(arch):
        command = [compiler, *CPU_ARCHS[arch], "-x", "c++", "-dM", "-E", "/dev/null"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return set(re.findall(r"^#define __([A-Z0-9_]+)__ 1$", done.stdout, re.MULTILINE))

    base = macros("x86-64")
    assert macros("x86-64-avx512-256") == macros("x86-64-avx512")
    of_avx2, of_avx512 = (macros(f"x86-64-{level}") - base - NO_BIT for level in ("avx2", "avx512"))
    assert of_avx2 == FOR_AVX2
    assert of_avx512 <= {*LEAF1_ECX, *LEAF7_EBX}
    assert of_avx512 | {"FMA", "F16C"} == {*LEAF1_ECX, *LEAF7_EBX}


@x86_64
@pytest.mark.compile
@pytest.mark.parametrize(
    "cell",
    [
        "all, none, ieee, 32, columns, 9",
        "all, index, ieee, 32, rows, 9",
        "all, index, integer, 64, columns, 5",
        "first, index, ieee, 16, strided, 0",
    ],
)
def test_kernel_of_one_arch_for_two_has_one_code(cell, tmp_path):
    _, payload, _, _, access, _ = cell.split(", ")
    source = tmp_path / "kernel.cc"
    source.write_text(
        "#include <warp_bitonic_sort/kernel.hpp>\n"
        f'WARP_BITONIC_SORT_KERNEL("kernel", {cell}, 0, 0)\n'
    )
    archs = ("x86-64-avx512", "x86-64-avx512-256")
    assert [HOST.kernel_arch(arch, payload, access) for arch in archs] == [archs[0]] * 2
    texts = []
    for arch in archs:
        flags = [*HOST.recipe.flags(arch), f"-I{sources.CSRC / 'include'}"]
        command = ["c++", *(flag for flag in flags if flag != "-shared"), "-S", "-o", "-", source]
        texts.append(subprocess.run(command, capture_output=True, check=True).stdout)
    assert texts[0] == texts[1] != b""


@x86_64
def test_kernel_arch_of_rows_of_keys_is_that_of_the_processor():
    for access in ("rows", "strided"):
        assert HOST.kernel_arch("x86-64-avx512-256", "none", access) == "x86-64-avx512-256"
    assert HOST.kernel_arch("x86-64-avx2", "index", "columns") == "x86-64-avx2"


def test_cpu_arch_of_the_runtime_runs_on_this_machine():
    found = str(loader.runtime().cpu_arch())
    assert found in cpu_targets.CPU_ARCHS
    assert cpu_targets.is_runnable(cpu_targets.native_cpu_arch(), found)


# -- a processor that is less than /proc/cpuinfo lists ---------------------------------------------

ACTUAL = "x86-64"
LISTED = cpu_targets.native_cpu_arch()
has_lesser = pytest.mark.skipif(
    not cpu_targets.lesser_cpu_archs(LISTED), reason="there is no lesser architecture"
)
# What runs here is a processor of the least target, whatever /proc/cpuinfo lists.
LESSER = f"""
class Runtime:
    def __init__(self, module): self.module = module
    def __getattr__(self, name): return getattr(self.module, name)
    def cpu_arch(self): return {ACTUAL!r}
from warp_bitonic_sort.jit import runtime
opener = runtime._library_opener
runtime._library_opener = lambda ffi: lambda name: Runtime(opener(ffi)(name))
from warp_bitonic_sort.jit.build import ninja
build, runs = ninja.run, []
sources = lambda folder: len([*folder.glob("*/source.cc")])
ninja.run = lambda folder, *more: runs.append(sources(folder)) or build(folder, *more)
"""
OPENED = """
mapped = open("/proc/self/maps")
print(*sorted({line.split("/")[-3] for line in mapped if "/cpu_all_none_" in line}))
"""
LESSER_KERNEL = children.KERNEL._replace(arch=ACTUAL).name


@has_lesser
def test_cold_start_on_a_lesser_processor_runs_the_lesser_kernel(fresh_cache):
    # The one of /proc/cpuinfo was built beside the runtime, and loaded to check it, not run.
    code = f"{LESSER}\n{children.SORT}\nprint(runs)\nprint(w.explain((3, 3)).kernel)"
    done = children.run(code)
    assert done.stdout.splitlines() == [children.ANSWER, "[2, 1]", LESSER_KERNEL], done.stderr
    assert children.entries(fresh_cache) == [LESSER_KERNEL, children.KERNEL.name, "runtime"]
    done = children.run(f"{LESSER}\n{children.SORT}\nprint(runs)\n{OPENED}")
    assert done.stdout.splitlines() == [children.ANSWER, "[]", LESSER_KERNEL], done.stderr


@has_lesser
def test_start_with_a_runtime_on_a_lesser_processor_builds_its_kernel_alone(half_cache):
    code = f"{LESSER}\n{children.SORT}\nprint(runs)\nx = w.explain((3, 3))\nprint(x.arch, x.open)"
    done = children.run(code)
    assert done.stdout.splitlines() == [children.ANSWER, "[1]", f"{ACTUAL} True"], done.stderr
    assert children.entries(half_cache) == [LESSER_KERNEL, "runtime"]


@has_lesser
@pytest.mark.parametrize("is_cold", [True, False])
@pytest.mark.compile
def test_target_that_the_processor_lacks_is_refused_by_name(
    is_cold, request, tmp_path, monkeypatch
):
    if is_cold:
        monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(tmp_path / "cold"))
    else:
        request.getfixturevalue("cache_copy")
    done = children.run(f"{LESSER}\n{children.SORT}", WARP_SORT_CPU_ARCH=LISTED)
    said = f"ToolError: WARP_SORT_CPU_ARCH: this machine ({ACTUAL}) cannot run kernels built for "
    assert f"{said}{LISTED!r}; it runs {ACTUAL}, generic." in done.stderr


@has_lesser
def test_sort_on_lesser_processor_without_compiler_loads_its_kernel_silently(
    whole_layer, fresh_cache, tmp_path
):
    layer = children.copy(whole_layer, tmp_path / "layer")
    filled = children.program("prewarm", "--length", 3, "--arch", ACTUAL, "--into", layer)
    assert filled.returncode == 0, filled.stderr
    how = {"WARP_SORT_CACHE_LAYERS": layer, **children.NO_COMPILER}
    done = children.run(f"{LESSER}\n{children.SORT}", **how)
    assert (done.stdout.strip(), done.stderr) == (children.ANSWER, "")
    assert not fresh_cache.exists()


def test_load_of_a_kernel_runs_none_of_its_code(warm_cache):
    """A build loads what it has made for any target: beside the C library's hook, nothing runs."""
    library = children.folder_of(warm_cache, children.KERNEL) / "library.so"
    sections = elf.sections(library.read_bytes())
    assert len(sections[".init_array"]) == 8
    assert ".ctors" not in sections


# -- what /proc/cpuinfo lists ----------------------------------------------------------------------


@pytest.fixture
def listed(monkeypatch):
    """A function that sets what is listed of this machine; None for an unknown processor."""
    monkeypatch.delenv("WARP_SORT_CPU_ARCH", raising=False)
    return lambda arch: monkeypatch.setattr(cpu_targets, "_listed_cpu_arch", lambda: arch)


def test_cpu_arch_of_an_unknown_x86_64_is_the_baseline(listed):
    listed(None)
    assert cpu_targets.native_cpu_arch() == cpu_targets.cpu_arch() == "x86-64"


def test_cpu_arch_of_an_unknown_x86_64_is_the_requested_one(listed, monkeypatch):
    listed(None)
    monkeypatch.setenv("WARP_SORT_CPU_ARCH", "x86-64-avx2")
    assert cpu_targets.cpu_arch() == "x86-64-avx2"
    assert cpu_targets.cpu_arch("x86-64-avx512") == "x86-64-avx2"
    with pytest.raises(ToolError, match=r"this machine \(x86-64\) cannot run .*'x86-64-avx2'"):
        cpu_targets.cpu_arch("x86-64")
    monkeypatch.setenv("WARP_SORT_CPU_ARCH", "aarch64")
    with pytest.raises(ToolError, match=r"cannot run .*'aarch64'; it runs x86-64, x86-64-avx2, "):
        cpu_targets.cpu_arch()


def test_cpu_arch_of_the_processor_wins_over_the_listed_one(listed):
    listed("x86-64-avx512")
    assert cpu_targets.cpu_arch("x86-64-avx2") == "x86-64-avx2"
    listed("x86-64")
    assert cpu_targets.cpu_arch("x86-64-avx2") == "x86-64-avx2"


@pytest.mark.parametrize(
    ("arch", "native", "expected"),
    [
        ("x86-64", "x86-64-avx512", True),
        ("x86-64-avx512", "x86-64-avx512", True),
        ("x86-64-avx512", "x86-64-avx512-256", True),
        ("x86-64-avx512-256", "x86-64-avx512", True),
        ("x86-64-avx512", "x86-64-avx2", False),
        ("generic", "x86-64", True),
        ("generic", "aarch64", True),
        ("aarch64", "x86-64-avx512", False),
        ("x86-64", "aarch64", False),
    ],
)
def test_is_runnable_is_true_for_generic_and_lesser_levels(arch, native, expected):
    assert cpu_targets.is_runnable(arch, native) == expected


def test_lesser_archs_are_listed_from_best_to_least():
    assert HOST.lesser_archs("x86-64-avx512") == ("x86-64-avx512-256", "x86-64-avx2", "x86-64")
    assert HOST.lesser_archs("x86-64-avx512-256") == ("x86-64-avx512", "x86-64-avx2", "x86-64")
    assert HOST.lesser_archs("x86-64-avx2") == ("x86-64",)
    assert [HOST.lesser_archs(arch) for arch in ("x86-64", "aarch64", "generic")] == [()] * 3


_TARGETS = runnable()


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
    done = children.run(code, WARP_SORT_CPU_ARCH=arch)
    assert done.stdout.strip() == arch, done.stderr
