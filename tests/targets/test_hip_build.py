"""How clang and the architectures of AMD devices are found, and the keys of HIP kernels.

No device is needed.
"""

import subprocess

import pytest

from support import amd_metadata
from support.descriptions import cuda_kernel, hip_kernel
from support.hip_clangs import fake
from warp_bitonic_sort.errors import ToolError
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.jit.build import hints
from warp_bitonic_sort.jit.store import publish
from warp_bitonic_sort.jit.store.key import build_text
from warp_bitonic_sort.jit.store.store import Store
from warp_bitonic_sort.jit.store.tools import Tools
from warp_bitonic_sort.kernels import Kernel
from warp_bitonic_sort.targets import device_arch, recipe_of, target_of
from warp_bitonic_sort.targets.hip import compiler as finder
from warp_bitonic_sort.targets.hip.compiler import find_hip_compiler

# -- where the compiler is looked for --------------------------------------------------------------


@pytest.fixture
def nothing_there(tmp_path, monkeypatch):
    """A machine with no HIP compiler, whose PATH is a folder of its own."""
    for variable in ("ROCM_PATH", "HIP_CLANG_PATH", "CK_DIR", "GPU_ARCH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(finder, "rocm_folders", lambda: [])
    monkeypatch.setattr(finder, "hiprtc_candidates", lambda *_: iter(()))
    path = tmp_path / "path"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    return path


def find(arch="gfx942"):
    return find_hip_compiler(arch)


@pytest.mark.usefixtures("nothing_there")
def test_find_hip_compiler_without_any_raises():
    with pytest.raises(
        ToolError, match=r"no HIP compiler: .*/opt/rocm.*apt install clang-19 lld-19"
    ):
        find()


def test_find_hip_compiler_with_wrong_rocm_path_raises(nothing_there, tmp_path, monkeypatch):
    fake(nothing_there, "clang-19")
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "nowhere"))
    message = r"ROCM_PATH: '.*nowhere' holds neither bin/hipcc nor llvm/bin/clang\+\+"
    with pytest.raises(ToolError, match=message):
        find()


def test_find_hip_compiler_prefers_rocm_path_then_rocm_then_path(
    nothing_there, tmp_path, monkeypatch
):
    rocm, usual = tmp_path / "rocm", tmp_path / "opt" / "rocm"

    def found(program, why):
        compiler = find()
        assert compiler.command == (str(program),)
        assert compiler.origin == why
        assert compiler.title == "HIP compiler"

    for name in ("clang-9", "clang-19", "clang-22"):
        found(fake(nothing_there, name), f"{name} on the PATH")
    for name in ("clang-tidy-99", "clang-cpp-99"):
        fake(nothing_there, name)
    found(nothing_there / "clang-22", "clang-22 on the PATH")
    found(fake(nothing_there, "clang"), "clang on the PATH")
    found(fake(nothing_there, "clang++"), "clang++ on the PATH")
    found(fake(nothing_there, "hipcc"), "hipcc on the PATH")
    monkeypatch.setattr(finder, "rocm_folders", lambda: [usual])
    found(fake(usual, "lib/llvm/bin/clang++"), f"ROCm in {usual}")
    found(fake(usual, "llvm/bin/clang++"), f"ROCm in {usual}")
    found(fake(usual, "bin/hipcc"), f"ROCm in {usual}")
    clang = fake(rocm, "llvm/bin/clang++")
    monkeypatch.setenv("ROCM_PATH", str(rocm))
    found(clang, f"ROCM_PATH={rocm}")
    found(fake(rocm, "bin/hipcc"), f"ROCM_PATH={rocm}")


def test_find_hip_compiler_passes_over_one_without_the_target(nothing_there, tmp_path, monkeypatch):
    hipcc = fake(tmp_path / "rocm", "bin/hipcc")
    newer = fake(nothing_there, "clang-20", "gfx942 gfx950")
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "rocm"))
    assert find("gfx942").command == (str(hipcc),)
    for arch in ("gfx950",):
        compiler = find(arch)
        assert compiler.command == (str(newer),)
        assert compiler.origin == f"clang-20 on the PATH; {hipcc} does not build for gfx950"


def test_find_hip_compiler_among_too_old_ones_raises(nothing_there):
    fake(nothing_there, "clang-19")
    fake(nothing_there, "clang-18", error="unknown argument: '--offload-device-only'")
    with pytest.raises(ToolError) as caught:
        find("gfx950")
    message = str(caught.value)
    assert message.startswith(
        "no HIP compiler here builds for gfx950; gfx950 needs clang 20 or newer: "
    )
    for part in (
        "clang-19 (clang-19 on the PATH) says for gfx950: clang-19: error: invalid target ID 'gfx9",
        "clang-18: error: unknown argument",
        "apt install clang-19 lld-19), or ROCm, and set ROCM_PATH to it.",
    ):
        assert part in message


def test_find_hip_compiler_without_lld_raises(nothing_there):
    fake(
        nothing_there,
        "clang-19",
        "",
        'unable to execute command: Executable \\"lld\\" doesn\'t exist!',
    )
    with pytest.raises(ToolError, match="it finds no lld"):
        find()


def test_find_hip_compiler_that_makes_a_bundle_raises(nothing_there):
    program = fake(nothing_there, "clang-19")
    program.write_text(program.read_text().replace("\\177ELF", "__CLANG_OFFLOAD_BUNDLE__"))
    with pytest.raises(ToolError, match="its output is not a code object"):
        find()


def test_find_hip_compiler_that_does_not_run_raises(nothing_there):
    program = nothing_there / "clang-19"
    program.write_text("#!/nowhere/sh\n")
    program.chmod(0o755)
    with pytest.raises(ToolError, match="it cannot be run: "):
        find()


@pytest.mark.usefixtures("nothing_there")
def test_probe_of_a_compiler_runs_it_once_a_target(tmp_path, monkeypatch):
    """The answer is kept by the identity of the binary, and of the clang behind a script."""
    store = Store(tmp_path / "cache")
    rocm = tmp_path / "rocm"
    asked = rocm / "asked"
    program, clang = fake(rocm, "bin/hipcc"), fake(rocm, "llvm/bin/clang++", "")
    monkeypatch.setenv("ROCM_PATH", str(rocm))

    def answers(arch, count):
        compiler = next(finder._candidates())
        assert compiler.program == program
        answer = Tools([store], publish.remember)._probe_error(
            target_of("hip").recipe, compiler, arch
        )
        assert len(asked.read_text().splitlines()) == count
        return answer

    for count in (1, 1):
        assert answers("gfx942", count) == ""
    for count in (2, 2):
        assert "invalid target ID" in answers("gfx950", count)
    clang.write_text(clang.read_text() + "# newer\n")
    assert answers("gfx942", 3) == ""
    monkeypatch.setenv("HIP_CLANG_PATH", str(fake(tmp_path / "other", "clang++").parent))
    assert answers("gfx942", 4) == ""
    assert answers("gfx942", 4) == ""
    # Nothing is remembered of a script whose compiler is not found.
    monkeypatch.setenv("HIP_CLANG_PATH", str(tmp_path / "nowhere"))
    assert [answers("gfx942", count) for count in (5, 6)] == ["", ""]
    # Neither is an error that may pass while the compiler stays the same.
    monkeypatch.delenv("HIP_CLANG_PATH")
    fake(rocm, "bin/hipcc", "", "No space left on device")
    assert [answers("gfx942", count) for count in (7, 8)] == [
        "hipcc: error: No space left on device"
    ] * 2


# -- targets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "native", "expected"),
    [
        (None, "gfx942:sramecc+:xnack-", "gfx942"),
        ("native", "gfx90a:sramecc+:xnack-", "gfx90a"),
        ("sm_90,gfx942", "gfx942", "gfx942"),
        ("gfx90a;gfx942", "gfx942:xnack+", "gfx942"),
        ("gfx9-4-generic,gfx942", "gfx942", "gfx942"),
        ("sm_80,gfx9-4-generic", "gfx950", "gfx9-4-generic"),
        ("gfx9-generic,gfx11-generic", "gfx1151", "gfx11-generic"),
        ("gfx9-generic,gfx11-generic", "gfx906", "gfx9-generic"),
        ("gfx10-1-generic,gfx10-3-generic", "gfx1034", "gfx10-3-generic"),
        ("gfx12-generic", "gfx1201", "gfx12-generic"),
    ],
)
def test_arch_for_picks_the_first_listed_arch_that_runs(asked, native, expected, monkeypatch):
    monkeypatch.delenv("GPU_ARCH", raising=False)
    if asked is not None:
        monkeypatch.setenv("GPU_ARCH", asked)
    assert device_arch("hip", native) == expected


@pytest.mark.parametrize(
    ("asked", "native"),
    [
        ("gfx90a,gfx941", "gfx942"),  # of one family, and not compatible
        ("sm_90", "gfx942"),
        ("gfx9-generic", "gfx90a"),
        ("gfx11-generic", "gfx1201"),
    ],
)
def test_arch_for_without_an_arch_that_runs_raises(asked, native, monkeypatch):
    monkeypatch.setenv("GPU_ARCH", asked)
    with pytest.raises(ToolError, match=f"GPU_ARCH: none of .* runs on this device, .* {native}"):
        device_arch("hip", native)


def test_arch_for_with_archs_of_two_makers_picks_its_own(monkeypatch):
    monkeypatch.setenv("GPU_ARCH", "gfx942,sm_80,gfx11-generic")
    assert device_arch("cuda", "sm_86") == "sm_80"
    assert device_arch("hip", "gfx1100") == "gfx11-generic"
    for family in target_of("hip").archs:
        monkeypatch.setenv("GPU_ARCH", f"gfx942,{family}")
        assert device_arch("hip", "gfx942") == "gfx942"
    for wrong in ("gfx", "gfx942:xnack-", "gfx13-generic", "GFX942", "mi300"):
        monkeypatch.setenv("GPU_ARCH", f"gfx942,{wrong}")
        with pytest.raises(ToolError, match=rf"expected native or a list .*'{wrong}'"):
            device_arch("hip", "gfx942")


def test_arch_for_of_too_old_device_raises():
    for native in ("gfx803", "gfx701"):
        with pytest.raises(ToolError, match=f"x: .* {native}, .* gfx9 and newer"):
            device_arch("hip", native)


# -- the key ---------------------------------------------------------------------------------------

KERNEL = hip_kernel("ieee", 32, 8, 1, 0, "rows", "gfx942")


def test_name_of_a_hip_kernel_describes_it_without_hyphens():
    assert KERNEL.name == "hip_all_none_ieee32_lanes2_registers8_rows_gfx942"
    generic = hip_kernel("integer", 8, 32, 6, 1, "rows", "gfx9-4-generic")
    assert generic.name == "hip_all_none_integer8_warps2_lanes64_registers32_rows_gfx9_4_generic"
    assert generic.layout.capacity == 4096
    assert KERNEL.target == "hip"


def test_build_text_of_hip_kernel_changes_with_ck_dir(tmp_path, monkeypatch):
    monkeypatch.delenv("CK_DIR", raising=False)
    cuda = cuda_kernel("ieee", 32, 8, 1, 0, "rows", "sm_90")
    without, of_cuda = build_text(KERNEL), build_text(cuda)
    texts = {without}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv("CK_DIR", str(tmp_path / name))
        assert "-I$ck_dir" in recipe_of(KERNEL.target).rule(KERNEL.arch)
        texts.add(build_text(KERNEL))
        (tmp_path / name / "include").mkdir()
        assert "-I$ck_dir -I$ck_include" in recipe_of(KERNEL.target).rule(KERNEL.arch)
        texts.add(build_text(KERNEL))
    assert len(texts) == 5
    assert build_text(cuda) == of_cuda
    monkeypatch.setenv("CK_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ToolError, match=r"CK_DIR: '.*nowhere' is not a folder"):
        build_text(KERNEL)


@pytest.fixture
def tiny(monkeypatch):
    """HIP kernels are one line, of which a header may be the first."""
    lines = ["", 'extern "C" __attribute__((global)) void f(int* p) { *p = 1; }\n']
    monkeypatch.setattr(Kernel, "source", lambda _: "\n".join(lines))
    return lines


@pytest.mark.usefixtures("no_runtime")
def test_build_after_change_of_ck_dirs_header_compiles_again(
    hip_compiler, tiny, tmp_path, monkeypatch, fresh_cache
):
    hip_compiler("gfx942")
    header = tmp_path / "ck $" / "include" / "of_ck.hpp"  # what make, ninja and the shell escape
    header.parent.mkdir(parents=True)
    monkeypatch.setenv("CK_DIR", str(tmp_path / "ck $"))
    tiny[0] = "#include <of_ck.hpp>"
    for text in ("// one\n", "// two\n", "// two\n"):
        header.write_text(text)
        loader.build([KERNEL])
    entries = sorted(fresh_cache.glob(f"v1/entries/{KERNEL.name}/*"))
    assert len(entries) == 2
    for entry in entries:
        assert "{ck_include}/of_ck.hpp" in (entry / "manifest.json").read_text()
        assert sorted(file.name for file in entry.iterdir()) == [
            "kernel.hsaco", "manifest.json", "source.hip",
        ]  # fmt: skip
        assert amd_metadata.metadata((entry / "kernel.hsaco").read_bytes())


@pytest.mark.usefixtures("no_runtime", "tiny", "fresh_cache")
def test_warm_build_starts_no_process(hip_compiler, monkeypatch):
    if hip_compiler("gfx942").identity() is None:
        pytest.skip("the HIP compiler here is a wrapper, which is asked every time")
    loader.build([KERNEL])
    monkeypatch.setattr(subprocess, "run", lambda command, **_: pytest.fail(f"started {command}"))
    loader.build([KERNEL])


@pytest.mark.usefixtures("no_runtime", "tiny", "fresh_cache")
def test_build_of_cached_kernel_needs_no_compiler(hip_compiler, monkeypatch, tmp_path):
    hip_compiler("gfx942")
    loader.build([KERNEL])
    monkeypatch.setenv("ROCM_PATH", str(tmp_path))
    loader.build([KERNEL])
    with pytest.raises(ToolError, match="ROCM_PATH: .* holds neither bin/hipcc"):
        loader.build([hip_kernel("ieee", 32, 8, 2, 0, "rows", "gfx942")])


@pytest.mark.parametrize(
    ("log", "hint"),
    [
        ("clang-19: error: invalid target ID 'gfx950'; format is", "does not know the device's"),
        ('clang++: error: unable to execute command: Executable "lld" doesn\'t exist!', "no lld"),
    ],
)
def test_first_error_of_clang_has_a_hint(log, hint):
    line, said = hints.first_error(log)
    assert line == log
    assert hint in said
