"""Run-time compilers: NVRTC's products, a double of hipRTC, and the search for both.

NVRTC comes with the ``test`` extra; no device is needed, nor a toolkit.
"""

import functools
import json
import os
import platform
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from support import amd_metadata, cubin, driver_double, gpu_code, hip_clangs
from support.descriptions import cuda_kernel, gpu_cells, hip_kernel
from warp_bitonic_sort.cli import _devices
from warp_bitonic_sort.errors import BuildError, ToolError
from warp_bitonic_sort.jit import loader
from warp_bitonic_sort.jit.build import hints
from warp_bitonic_sort.jit.store import publish
from warp_bitonic_sort.jit.store.key import build_text
from warp_bitonic_sort.targets import recipe_of, target_of
from warp_bitonic_sort.targets.common import sources
from warp_bitonic_sort.targets.common.compiler import Compiler
from warp_bitonic_sort.targets.common.host import find_compiler
from warp_bitonic_sort.targets.common.recipe import DEPFILE
from warp_bitonic_sort.targets.cuda import compiler as cuda_compiler
from warp_bitonic_sort.targets.hip import compiler as hip_compiler
from warp_bitonic_sort.targets.hip.compiler import find_hip_compiler
from warp_bitonic_sort.targets.rtc import libraries as rtc_libraries
from warp_bitonic_sort.targets.rtc import program as rtc

KERNEL = cuda_kernel("ieee", 32, 8, 1, 0, "rows", "sm_90")
HIP_KERNEL = hip_kernel("ieee", 32, 8, 1, 0, "rows", "gfx942")


@pytest.fixture(scope="session")
def nvrtc():
    """The NVRTC of this machine."""
    found, _ = cuda_compiler.find_nvrtc(None, cuda_compiler.toolkit_folders())
    if found is None:
        if (sys.platform, platform.machine()) == ("linux", "x86_64"):
            pytest.fail("no NVRTC, which the test extra brings: pip install '.[test]'")
        pytest.skip("no NVRTC")
    return found


@pytest.fixture
def no_nvcc(nvrtc, tmp_path, monkeypatch):
    """A machine with NVRTC and no nvcc."""
    for variable in ("CUDA_HOME", "WARP_SORT_RTC"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.setattr(cuda_compiler, "toolkit_folders", lambda: [])
    monkeypatch.setattr(cuda_compiler, "find_nvrtc", lambda *_: (nvrtc, ""))


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A copy of the package's headers, below what make, ninja and the shell escape."""
    csrc = tmp_path / "a folder $ #1" / "csrc"
    shutil.copytree(sources.CSRC, csrc)
    monkeypatch.setattr(sources, "CSRC", csrc)
    monkeypatch.setattr(sources, "INCLUDE_DIR", csrc / "include")
    return csrc / "include" / "warp_bitonic_sort"


def run(compiler, *words, folder=None):
    """Run a compiler, which may fail."""
    return subprocess.run(
        [*compiler.command, *map(str, words)], capture_output=True, text=True, cwd=folder
    )


def compiled(compiler, kernel, folder: Path, include=None):
    """Compile a kernel with the command line of ninja's rule; return the product and depfile."""
    source = folder / kernel.name / recipe_of(kernel.target).source
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(kernel.source())
    product = source.with_name(recipe_of(kernel.target).product)
    depfile = source.with_name(DEPFILE)
    depends = recipe_of(kernel.target).dependency_flags(str(depfile), str(product))
    flags = [
        *recipe_of(kernel.target).flags(kernel.arch),
        f"-I{include or sources.INCLUDE_DIR}",
        *depends,
    ]
    done = run(compiler, *flags, source, "-o", product)
    assert (done.returncode, done.stderr) == (0, "")
    return product, depfile


# -- what NVRTC makes ------------------------------------------------------------------------------


def arch_of(image: bytes) -> int:
    (flags,) = struct.unpack_from("<I", image, 48)
    return flags >> 8 & 0xFF if image[8] >= 8 else flags & 0xFF


def test_local_memory_of_a_kernel_that_uses_it_is_reported(nvrtc, tmp_path):
    source = tmp_path / "source.cu"
    source.write_text(
        'extern "C" __attribute__((global)) void f(int* p, int n) {\n'
        "  int a[64];\n"
        "  for (int i = 0; i < 64; ++i) a[i] = p[i];\n"
        "  for (int i = 0; i < n; ++i) a[a[i] & 63] += i;\n"
        "  for (int i = 0; i < 64; ++i) p[i] = a[i];\n}\n"
    )
    product = tmp_path / "kernel.cubin"
    done = run(nvrtc, *recipe_of(KERNEL.target).flags(KERNEL.arch), source, "-o", product)
    assert done.returncode == 0, done.stderr
    assert gpu_code.local_memory(product.read_bytes()) == 256


@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_120"])
@pytest.mark.parametrize(("codec", "bits"), [("fnuz", 8), ("ieee", 16), ("ieee", 32), ("ieee", 64)])
@pytest.mark.compile
def test_nvrtc_compiles_kernels_of_every_width(nvrtc, codec, bits, arch, tmp_path):
    rows = (16, 1, 0, "rows") if bits < 64 else (8, 2, 0, "rows")
    columns = next(layout for layout in gpu_cells(bits, "sm_90") if layout[3] == "columns")
    for layout in (rows, columns):
        assert layout in gpu_cells(bits, "sm_90")
        kernel = cuda_kernel(codec, bits, *layout, arch)
        image = compiled(nvrtc, kernel, tmp_path)[0].read_bytes()
        assert image[:4] == b"\x7fELF"
        assert struct.unpack_from("<H", image, 18) == (190,)
        assert arch_of(image) == int(arch[3:])
        assert b"\0warp_bitonic_sort_rows\0" in image
        assert b"\0.nv.global" not in image, "variables, which a driver has to make as it loads it"
        assert not list(gpu_code.wrong_cuda_code(kernel, image))


@pytest.mark.compile
def test_nvrtc_compiles_a_kernel_for_clusters(nvrtc, tmp_path):
    kernel = cuda_kernel("ieee", 32, 4, 5, 8, "rows", "sm_90")
    kernel = kernel._replace(selection="first16", payload="index")
    image = compiled(nvrtc, kernel, tmp_path)[0].read_bytes()
    assert not list(gpu_code.wrong_cuda_code(kernel, image))
    assert gpu_code.cluster_shape(image) == (8, 1, 1)
    name = image.index(kernel.name.encode() + b"\0")
    *_, blocks, threads, rows, _ = struct.unpack_from(cubin.KERNEL, image, name - cubin.NAME_OFFSET)
    assert (blocks, threads, rows) == (8, 1024, 1)


def listed(depfile: Path) -> list[str]:
    return [os.path.normpath(path) for path in publish._parse_depfile(depfile.read_text())]


def test_depfile_of_rtc_lists_what_a_preprocessor_reads(nvrtc, tree, tmp_path):
    include = tree.parent
    product, depfile = compiled(nvrtc, KERNEL, tmp_path / "of rtc", include)
    ours = listed(depfile)
    host = tmp_path / "host.d"
    command = [*find_compiler().command, "-std=c++17", "-D__CUDACC__", f"-I{include}"]
    subprocess.run(
        [*command, "-x", "c++", "-M", "-MF", host, product.with_name("source.cu")], check=True
    )
    read = {path for path in listed(host) if path.startswith(str(tmp_path))}
    assert len(read) > 15
    assert read <= set(ours)
    assert len(ours) == len(set(ours))


def test_depfile_of_rtc_lists_every_header_that_nvcc_reads(nvrtc, nvcc, tmp_path):
    theirs = compiled(Compiler((nvcc,), Path(nvcc), ""), KERNEL, tmp_path / "nvcc")[1]
    folder = str(sources.INCLUDE_DIR)
    read = {path for path in listed(theirs) if path.startswith(folder)}
    assert len(read) > 15
    assert read <= set(listed(compiled(nvrtc, KERNEL, tmp_path / "rtc")[1]))


# -- the command line ------------------------------------------------------------------------------


def test_version_of_nvrtc_names_library_and_program(nvrtc):
    text = nvrtc.version()
    assert text.startswith("NVRTC 1")
    assert nvrtc.program.resolve().name in text
    assert "by rtc, " in text
    assert text == nvrtc.version()


@pytest.mark.parametrize(
    ("kind", "version", "told"),
    [
        ("nvrtc", (12, 8), []),
        ("nvrtc", (12, 9), ["--no-cache"]),
        ("nvrtc", (13, 0), ["--no-cache"]),
        ("hiprtc", (13, 0), []),
    ],
)
def test_fixed_options_disable_the_librarys_own_cache(kind, version, told):
    """NVRTC before 12.9 has no such option."""
    library = rtc._Library.__new__(rtc._Library)
    library._prefix, library._numbers = kind, version
    assert library.fixed_options() == told


def test_error_of_nvrtc_leaves_no_output(nvrtc, tmp_path):
    source = tmp_path / "source.cu"
    source.write_text("\nint f() { return nothing; }\n")
    flags = [*recipe_of(KERNEL.target).flags(KERNEL.arch), "-MMD", "-MF", "source.d"]
    done = run(nvrtc, *flags, "source.cu", "-o", "kernel.cubin", folder=tmp_path)
    assert done.returncode == 1
    line, _ = hints.first_error(done.stderr)
    assert line.startswith("source.cu(2): error: ")
    assert list(tmp_path.iterdir()) == [source]


def test_error_of_nvrtc_for_unknown_architecture_has_a_hint(nvrtc, tmp_path):
    (tmp_path / "source.cu").write_text("")
    done = run(nvrtc, "-arch=sm_999", "source.cu", "-o", "kernel.cubin", folder=tmp_path)
    assert done.returncode == 1
    line, hint = hints.first_error(done.stderr)
    assert "error: invalid value for --gpu-architecture" in line
    assert "does not know the device's architecture" in hint


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "expected nvrtc|hiprtc LIBRARY"),
        (["clang", "x", "y"], "expected nvrtc|hiprtc LIBRARY"),
        (["nvrtc", "/nowhere/libnvrtc.so.13", "--version"], "NVRTC does not load: /nowhere"),
        (["nvrtc", "libc.so.6", "--version"], "libc.so.6 is not NVRTC: it lacks nvrtcVersion"),
        (["hiprtc", "libc.so.6", "--version"], "libc.so.6 is not hipRTC: it lacks hiprtcVersion"),
        (
            ["nvrtc", "x", "-lineinfo", "a.cu", "-o", "b"],
            "'-lineinfo' is not one of the supported flags of nvcc",
        ),
        (
            ["hiprtc", "x", "--save-temps", "-c"],
            "'--save-temps' is not one of the supported flags of clang",
        ),
        (["nvrtc", "x", "-cubin", "-o"], "-o: expected a word after it, got the end"),
        (["nvrtc", "x", "-cubin", "a.cu"], "expected a source and -o with a product"),
        (["nvrtc", "x", "/nowhere/a.cu", "-o", "b"], "error: /nowhere/a.cu: No such file"),
    ],
)
def test_rtc_with_wrong_command_line_says_what_is_wrong(words, said):
    program = Compiler((sys.executable, str(rtc_libraries.PROGRAM)), Path(), "")
    done = run(program, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("rtc: error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_rtc_imports_neither_site_nor_the_package(nvrtc):
    assert nvrtc.command[1:3] == ("-I", "-S")
    done = subprocess.run(
        [*nvrtc.command[:1], "-X", "importtime", *nvrtc.command[1:4]],
        capture_output=True,
        text=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "ctypes" in imported
    assert not imported & {"site", "warp_bitonic_sort", "subprocess"}


# -- the whole way ---------------------------------------------------------------------------------


def manifests(folder: Path):
    return [json.loads(file.read_text()) for file in folder.glob("v1/entries/*/*/manifest.json")]


@pytest.mark.usefixtures("no_nvcc", "no_runtime")
def test_build_without_nvcc_uses_nvrtc(nvrtc, tree, fresh_cache, monkeypatch):
    loader.build([KERNEL])
    (manifest,) = manifests(fresh_cache)
    assert manifest["compiler"] == nvrtc.version()
    # The hashed text has nothing of the compiler but its version.
    assert manifest["text"] == json.loads(build_text(KERNEL))
    assert any(path.startswith("{package_include}/") for path in manifest["dependencies"])
    (entry,) = fresh_cache.glob(f"v1/entries/{KERNEL.name}/*")
    assert sorted(file.name for file in entry.iterdir()) == [
        "kernel.cubin", "manifest.json", "source.cu",
    ]  # fmt: skip
    assert arch_of((entry / "kernel.cubin").read_bytes()) == 90

    with monkeypatch.context() as context:
        context.setattr(subprocess, "run", lambda command, **_: pytest.fail(f"started {command}"))
        loader.build([KERNEL])
    assert len(manifests(fresh_cache)) == 1

    header = tree / "network/leaves.hpp"
    header.write_text(header.read_text() + "// edited\n")
    loader.build([KERNEL])
    assert len(manifests(fresh_cache)) == 2


@pytest.mark.usefixtures("no_nvcc", "no_runtime", "fresh_cache")
def test_build_error_of_nvrtc_names_file_and_line(tree):
    header = tree / "core/codec.hpp"
    text = header.read_text()
    header.write_text(f"{text}int wrong = nothing;\n")
    number = text.count("\n") + 1
    with pytest.raises(BuildError) as caught:
        loader.build([KERNEL])
    assert f"First error: {header}({number}): error: " in str(caught.value)
    assert "there is no nvcc" in str(caught.value)


# -- where NVRTC is looked for ---------------------------------------------------------------------


def library(folder: Path, name: str = "libnvrtc.so.13") -> Path:
    """Make a file with the name of a library; it is never loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"\x7fELF")
    return folder / name


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A machine with neither nvcc nor ROCm nor a run-time compiler; the root of its places."""
    for name in ("CUDA_HOME", "ROCM_PATH", "HIP_CLANG_PATH", "WARP_SORT_RTC", "LD_LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "path").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    packages = {"nvidia": tmp_path / "site" / "nvidia", "torch": tmp_path / "site" / "torch"}
    monkeypatch.setattr(
        rtc_libraries, "package_folders", lambda name: [packages[name]] if name in packages else []
    )
    monkeypatch.setattr(rtc_libraries, "system_folders", lambda: [tmp_path / "usr"])
    monkeypatch.setattr(cuda_compiler, "toolkit_folders", lambda: [tmp_path / "cuda"])
    monkeypatch.setattr(hip_compiler, "rocm_folders", lambda: [tmp_path / "rocm"])
    return tmp_path


def nvcc_at(home: Path) -> Path:
    program = home / "bin" / "nvcc"
    program.parent.mkdir(parents=True)
    program.write_text("")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("links", "version"),
    [
        ({"libnvrtc.so": "libnvrtc.so.12", "libnvrtc.so.12": "libnvrtc.so.12.4.127"}, 12),
        # For programs that were linked with an older one.
        ({"libnvrtc.so": "libnvrtc.so.12.4.127", "libnvrtc.so.11.2": "libnvrtc.so.12.4.127"}, 12),
        ({"libnvrtc.so": "../elsewhere/libnvrtc.so.13"}, 13),
        ({"libnvrtc.so": "nowhere"}, None),
    ],
)
def test_libraries_with_several_names_have_the_version_of_their_target(tmp_path, links, version):
    folder = tmp_path / "lib"
    library(tmp_path / "elsewhere", "libnvrtc.so.13")
    library(folder, "libnvrtc-builtins.so.12.4.127")
    if version == 12:
        library(folder, "libnvrtc.so.12.4.127")
    for name, target in links.items():
        (folder / name).symlink_to(target)
    found = [] if version is None else [(version, folder / "libnvrtc.so")]
    assert rtc_libraries.libraries(folder, "libnvrtc.so") == found


def test_find_cuda_compiler_looks_for_nvrtc_in_order(empty, monkeypatch):
    def found(file, why):
        compiler = cuda_compiler.find_cuda_compiler()
        assert compiler.command[-2:] == ("nvrtc", str(file))
        assert compiler.origin == why
        assert compiler.title == "CUDA run-time compiler"
        assert compiler.identity() is not None

    none = "; there is no nvcc"
    found(library(empty / "usr"), f"NVRTC in {empty / 'usr'}{none}")
    toolkit = empty / "cuda"
    found(library(toolkit / "targets" / "x86_64-linux" / "lib", "libnvrtc.so.12"),
          f"NVRTC of the toolkit in {toolkit}{none}")  # fmt: skip
    site = empty / "site" / "nvidia"
    twelve = library(site / "cuda_nvrtc" / "lib", "libnvrtc.so.12")
    found(twelve, f"NVRTC in {twelve.parent}{none}")
    (empty / "site" / "nvidia_cuda_nvrtc_cu12-12.9.86.dist-info").mkdir()
    found(twelve, f"NVRTC of the package nvidia-cuda-nvrtc-cu12 12.9.86{none}")
    (empty / "site" / "nvidia_cuda_nvrtc-13.0.88.dist-info").mkdir()
    # Neither of these is NVRTC.
    library(site / "cu13" / "lib", "libnvrtc.alt.so.13")
    library(site / "cu13" / "lib", "libnvrtc-builtins.so.13.0")
    found(twelve, f"NVRTC of the package nvidia-cuda-nvrtc-cu12 12.9.86{none}")
    thirteen = library(site / "cu13" / "lib")
    found(thirteen, f"NVRTC of the package nvidia-cuda-nvrtc 13.0.88{none}")
    home = empty / "home"
    monkeypatch.setenv("CUDA_HOME", str(home))
    found(library(home / "lib64"), f"NVRTC in CUDA_HOME={home}{none}")

    program = nvcc_at(home)
    compiler = cuda_compiler.find_cuda_compiler()
    assert (compiler.command, compiler.origin) == ((str(program),), f"CUDA_HOME={home}")
    monkeypatch.setenv("WARP_SORT_RTC", "1")
    found(home / "lib64" / "libnvrtc.so.13",
          f"NVRTC in CUDA_HOME={home}; WARP_SORT_RTC is set")  # fmt: skip
    (home / "lib64" / "libnvrtc.so.13").unlink()
    found(thirteen, "NVRTC of the package nvidia-cuda-nvrtc 13.0.88; WARP_SORT_RTC is set")
    shutil.rmtree(site)
    shutil.rmtree(empty / "usr")
    shutil.rmtree(toolkit)
    compiler = cuda_compiler.find_cuda_compiler()
    assert compiler.command == (str(program),)
    assert compiler.origin == f"CUDA_HOME={home}; WARP_SORT_RTC is set, but there is no NVRTC"
    monkeypatch.setenv("WARP_SORT_RTC", "off")
    assert cuda_compiler.find_cuda_compiler().origin == f"CUDA_HOME={home}"


def test_find_cuda_compiler_passes_over_old_nvrtc(empty):
    lib = empty / "cuda" / "lib64"
    old = library(lib, "libnvrtc.so.11.2")
    (lib / "libnvrtc.so").symlink_to(old.name)
    with pytest.raises(ToolError, match=r"no CUDA compiler: .*libnvrtc\.so is older than 12\.0"):
        cuda_compiler.find_cuda_compiler()
    new = library(empty / "usr", "libnvrtc.so.12")
    compiler = cuda_compiler.find_cuda_compiler()
    assert compiler.command[-1] == str(new)
    assert "libnvrtc.so is older than 12.0; there is no nvcc" in compiler.origin


@pytest.mark.usefixtures("empty")
def test_find_cuda_compiler_without_any_raises():
    with pytest.raises(ToolError) as caught:
        cuda_compiler.find_cuda_compiler()
    for part in ("neither nvcc", "nor NVRTC", "Install the CUDA toolkit (12.0 or newer)",
                 "pip install nvidia-cuda-nvrtc", "set CUDA_HOME"):  # fmt: skip
        assert part in str(caught.value)


def test_find_cuda_compiler_with_wrong_cuda_home_raises(empty, monkeypatch):
    library(empty / "usr")
    monkeypatch.setenv("CUDA_HOME", str(empty / "home"))
    for asked in ("0", "1"):
        monkeypatch.setenv("WARP_SORT_RTC", asked)
        with pytest.raises(
            ToolError, match=r"CUDA_HOME: '.*home' holds neither bin/nvcc nor NVRTC"
        ):
            cuda_compiler.find_cuda_compiler()


def test_find_cuda_compiler_without_sys_executable_raises(empty, monkeypatch):
    library(empty / "usr")
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(ToolError, match=r"sys\.executable is empty"):
        cuda_compiler.find_cuda_compiler()
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    assert cuda_compiler.find_cuda_compiler().identity() is not None


def test_identity_of_nvrtc_changes_with_library_and_program(empty, monkeypatch):
    """Both are part of the identity: the library, and the program that loads it."""
    file = library(empty / "usr")
    program = empty / "program.py"
    program.write_text("")
    monkeypatch.setattr(rtc_libraries, "PROGRAM", program)
    identities = {cuda_compiler.find_cuda_compiler().identity()}
    file.write_bytes(b"\x7fELF, newer")
    identities.add(cuda_compiler.find_cuda_compiler().identity())
    program.write_text("# newer\n")
    identities.add(cuda_compiler.find_cuda_compiler().identity())
    assert len(identities) == 3
    assert None not in identities


def test_version_of_library_that_does_not_load_raises(empty):
    library(empty / "usr")
    with pytest.raises(ToolError, match=r"the CUDA run-time compiler .* does not answer --version"):
        cuda_compiler.find_cuda_compiler().version()


@pytest.mark.usefixtures("fresh_cache")
def test_doctor_names_the_cuda_compiler_in_use(empty, monkeypatch):
    file = library(empty / "usr")
    home = empty / "home"
    used = _devices.gpu(target_of("cuda"), [])["found"]["compiler"]
    assert used == f"{file} (NVRTC in {file.parent}; there is no nvcc)"
    monkeypatch.setenv("CUDA_HOME", str(home))
    program = nvcc_at(home)
    assert (
        _devices.gpu(target_of("cuda"), [])["found"]["compiler"] == f"{program} (CUDA_HOME={home})"
    )
    monkeypatch.delenv("CUDA_HOME")
    file.unlink()
    monkeypatch.setattr(_devices, "_loadable", lambda *_: "libcuda.so.1")
    problems = []
    assert "no CUDA compiler" in _devices.gpu(target_of("cuda"), problems)["why"]
    (problem,) = problems
    assert "pip install nvidia-cuda-nvrtc" in problem.fix


# -- hipRTC ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def hiprtc_library(tmp_path_factory):
    """The double's file: a folder's libhiprtc.so."""
    file = tmp_path_factory.mktemp("rocm") / "lib" / "libhiprtc.so"
    file.parent.mkdir()
    driver_double.build("fake_hiprtc.cc", file)
    return file


@pytest.fixture
def hiprtc(hip_compiler, hiprtc_library, monkeypatch, request):
    """The double of hipRTC, on a machine without hipcc; a function, as `hip_compiler`."""
    clang = hip_compiler("gfx942").command[0]
    request.getfixturevalue("empty")
    monkeypatch.setenv("FAKE_HIPRTC_CLANG", clang)
    monkeypatch.setenv("ROCM_PATH", str(hiprtc_library.parent.parent))
    return lambda arch: find_hip_compiler(arch)


@pytest.mark.parametrize("bundles", [False, True])
def test_hiprtc_compiles_a_kernel_and_its_depfile(
    hiprtc, bundles, hiprtc_library, tmp_path, monkeypatch
):
    if bundles:
        monkeypatch.setenv("FAKE_HIPRTC_BUNDLES", "1")
    compiler = hiprtc("gfx942")
    assert compiler.command[-2:] == ("hiprtc", str(hiprtc_library))
    assert compiler.origin == f"hipRTC in ROCM_PATH={hiprtc_library.parent.parent}"
    assert compiler.version().startswith("hipRTC 99.1 (libhiprtc.so, ")
    product, depfile = compiled(compiler, HIP_KERNEL, tmp_path / "a folder")
    image = product.read_bytes()
    assert not list(gpu_code.wrong_hip_code(HIP_KERNEL, image))
    assert amd_metadata.metadata(image)["amdhsa.target"].endswith("gfx942")
    assert {"target.hpp", "config.hpp", "rows.hpp"} <= {Path(p).name for p in listed(depfile)}


@pytest.mark.usefixtures("no_runtime", "hiprtc")
def test_build_by_hiprtc_is_cached_until_a_header_changes(fresh_cache, monkeypatch, tree):
    loader.build([HIP_KERNEL])
    (manifest,) = manifests(fresh_cache)
    assert manifest["compiler"].startswith("hipRTC 99.1")
    assert manifest["text"] == json.loads(build_text(HIP_KERNEL))
    with monkeypatch.context() as context:
        context.setattr(subprocess, "run", lambda command, **_: pytest.fail(f"started {command}"))
        loader.build([HIP_KERNEL])
    (tree / "core/codec.hpp").write_text("#error as edited\n")
    with pytest.raises(BuildError, match=r"First error: .*codec\.hpp:1:2: error: as edited"):
        loader.build([HIP_KERNEL])


def test_find_hip_compiler_for_target_unknown_to_hiprtc_raises(hiprtc):
    with pytest.raises(ToolError, match=r"hipRTC in ROCM_PATH=.* says for gfx9999: .*error"):
        hiprtc("gfx9999")


def test_real_hiprtc_compiles_a_kernel(tmp_path):
    """Skipped without a hipRTC; one of two targets is enough."""
    folders = [Path("/opt/rocm")]
    for compiler in hip_compiler.hiprtc_candidates(None, folders):
        for arch in ("gfx942", "gfx90a"):
            if not hip_compiler.probe_error(compiler, arch):
                kernel = hip_kernel("ieee", 32, 8, 1, 0, "rows", arch)
                image = compiled(compiler, kernel, tmp_path)[0].read_bytes()
                assert not list(gpu_code.wrong_hip_code(kernel, image))
                return
    pytest.skip("no hipRTC here; the tests above run a double of it")


def test_find_hip_compiler_looks_for_hiprtc_in_order(empty, monkeypatch):
    def found(file, why, *others):
        # A compiler that refuses is passed over; the rest come behind.
        first = find_hip_compiler("gfx942", lambda *_: "")
        assert first.command[-1] == str(file)
        assert first.origin == why
        rest = [each.command[-1] for each in hip_compiler._candidates()][1:]
        assert rest == [str(each) for each in others]

    with pytest.raises(ToolError, match=r"no HIP compiler: .*nor hipRTC \(libhiprtc\.so\)"):
        find_hip_compiler("gfx942")
    driver = library(empty / "usr", "libamdhip64.so.5")
    found(driver, f"hipRTC in {empty / 'usr'}")
    of_torch = library(empty / "site" / "torch" / "lib", "libhiprtc.so")
    found(of_torch, "hipRTC of the package torch", driver)
    rocm = library(empty / "rocm" / "lib", "libhiprtc.so.7")
    found(rocm, f"hipRTC of ROCm in {empty / 'rocm'}", of_torch, driver)
    home = empty / "home"
    monkeypatch.setenv("ROCM_PATH", str(home))
    with pytest.raises(ToolError, match=r"ROCM_PATH: .*home' holds neither .* nor lib/libhiprtc"):
        find_hip_compiler("gfx942")
    of_home = library(home / "lib", "libhiprtc.so.7")
    found(of_home, f"hipRTC in ROCM_PATH={home}")
    clang = hip_clangs.fake(empty / "path", "clang")
    found(clang, "clang on the PATH", of_home)
    monkeypatch.setenv("WARP_SORT_RTC", "1")
    found(of_home, f"hipRTC in ROCM_PATH={home}", clang)


@pytest.mark.parametrize("backend", ["cuda", "hip"])
def test_doctor_counts_the_kernels_that_layers_hold(empty, monkeypatch, backend):
    """Without a compiler, arrays on a device are sorted by these."""
    kernel = KERNEL if backend == "cuda" else HIP_KERNEL
    look = functools.partial(_devices.gpu, target_of(backend))
    monkeypatch.setattr(_devices, "_loadable", lambda *_: "the driver")
    monkeypatch.setattr("warp_bitonic_sort.targets.hip.arch.native_hip_archs", lambda: ["gfx942"])
    monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(empty / "cache"))
    monkeypatch.setenv("WARP_SORT_CACHE_LAYERS", str(empty / "layer"))
    problems = []
    facts = look(problems)
    assert not facts["available"]
    assert "can't be sorted" in problems[0].what
    for arch in (kernel.arch, "sm_80" if backend == "cuda" else "gfx90a"):
        other = kernel._replace(arch=arch)
        entry = empty / "layer" / "v1" / "entries" / other.name / "0"
        entry.mkdir(parents=True)
        (entry / "manifest.json").write_text(json.dumps({"target": kernel.target, "arch": arch}))
    problems = []
    facts = look(problems)
    assert facts["available"]
    # Doctor counts CUDA kernels of every architecture.
    held = 2 if backend == "cuda" else 1
    assert f"and {held} kernels in layers and the cache; no compiler" in facts["why"]
    (problem,) = problems
    assert f"can be sorted by the {held} kernels for them that layers" in problem.what
    assert "can't be sorted" not in problem.what


def test_find_compiler_in_frozen_application_does_not_run_it(empty, monkeypatch):
    """The application is no Python: the error names the libraries that were passed over."""
    nvrtc, hiprtc = library(empty / "usr"), library(empty / "usr", "libhiprtc.so")
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: pytest.fail(f"started {command}"))
    said = rf"cannot be run: .*sys\.executable \({sys.executable}\) is a frozen application"
    with pytest.raises(ToolError, match=f"no CUDA compiler: .*{nvrtc} {said}"):
        cuda_compiler.find_cuda_compiler()
    with pytest.raises(ToolError, match=f"{hiprtc} .*{said}"):
        find_hip_compiler("gfx942")
    home = empty / "home"
    monkeypatch.setenv("CUDA_HOME", str(home))
    monkeypatch.setenv("WARP_SORT_RTC", "1")
    program = nvcc_at(home)
    compiler = cuda_compiler.find_cuda_compiler()
    assert compiler.command == (str(program),)
    assert "is a frozen application" in compiler.origin


def test_version_by_an_executable_that_is_no_python_raises(empty, monkeypatch):
    """An application that Python is a part of answers with what it is, and compiles nothing."""
    library(empty / "usr")
    library(empty / "usr", "libhiprtc.so")
    application = empty / "application"
    application.write_text("#!/bin/sh\necho The Application 1.0\n")
    application.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(application))
    said = "answers --version with 'The Application 1.0', not with"
    with pytest.raises(ToolError, match=f"{said} NVRTC: {application} is not a Python"):
        cuda_compiler.find_cuda_compiler().version()
    with pytest.raises(ToolError, match=f"{said} hipRTC: {application} is not a Python"):
        find_hip_compiler("gfx942")


def test_depfile_lists_every_header_of_the_folders(tmp_path):
    extra = tmp_path / "extra"
    (extra / "include" / "deep").mkdir(parents=True)
    for name in ("a.hpp", "include/deep/b.h", "include/no header"):
        (extra / name).touch()
    found = rtc._headers([str(sources.INCLUDE_DIR), str(extra), str(extra / "include")])
    ours = {str(file) for file in sources.INCLUDE_DIR.rglob("*.h*")}
    assert len(ours) > 20
    assert set(found) == {*ours, f"{extra}/a.hpp", f"{extra}/include/deep/b.h"}
    assert len(found) == len(set(found))
