"""The fixtures of all tests: one cache for the whole run, empty ones, and compilers for devices.

Invariant: nothing long happens in silence. Tests compile what they use; a fixture that compiles
more says how far it is.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from support import programs
from support.shared import filled_once
from warp_bitonic_sort.targets import device_arch
from warp_bitonic_sort.targets.cuda import compiler as cuda_compiler

_CACHE = pytest.StashKey()
_NOT_EMULATED = []
# Tests that have one of these compile, whatever other caches hold.
_EMPTY_CACHES = {"fresh_cache", "half_cache"}

hypothesis.settings.register_profile("default", deadline=None, max_examples=200)
hypothesis.settings.load_profile("default")


# Before anything imports JAX: it would take most of a device's memory, which other libraries' tests
# need, too.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def pytest_configure(config):
    # A developer may keep a cache between runs by naming one; otherwise every run starts cold.
    if "WARP_SORT_CACHE_DIR" not in os.environ:
        config.stash[_CACHE] = tempfile.TemporaryDirectory(prefix="warp-sort-tests-")
        os.environ["WARP_SORT_CACHE_DIR"] = config.stash[_CACHE].name
    folder = Path(os.environ["WARP_SORT_CACHE_DIR"]).absolute() / "test-programs"
    os.environ[programs.VARIABLE] = str(folder)


@pytest.hookimpl(tryfirst=True)  # before -m looks for the markers
def pytest_collection_modifyitems(items):
    for item in items:
        if _EMPTY_CACHES & set(item.fixturenames):
            item.add_marker(pytest.mark.compile)


def pytest_runtest_logreport(report):
    if report.skipped and "test_hip_emulated.py" in report.nodeid:
        _, _, reason = report.longrepr
        _NOT_EMULATED.append(reason.removeprefix("Skipped: "))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """Print last which tests did not run."""
    if _NOT_EMULATED and not hasattr(config, "workerinput"):
        reasons = "; ".join(sorted(set(_NOT_EMULATED)))
        terminal = config.pluginmanager.get_plugin("terminalreporter")
        terminal.write_line(
            f"NOT RUN: {len(_NOT_EMULATED)} tests of tests/kernels/test_hip_emulated.py, which "
            f"execute AMD kernels on an emulator: {reasons}"
        )


@pytest.fixture
def kernels_of_any_size(monkeypatch):
    """Let kernels answer for tensors that are so small that PyTorch would."""
    from warp_bitonic_sort.torch import _routes

    monkeypatch.setattr(_routes, "FEWEST_ELEMENTS", 0)


@pytest.fixture(scope="session")
def cuda_kernels(pytestconfig):
    """Build every layout of every codec for this machine's devices, all cores at once."""
    import torch

    from support.descriptions import cuda_kernel, gpu_cells
    from warp_bitonic_sort.dtypes import DTYPES
    from warp_bitonic_sort.jit import loader

    devices = range(torch.cuda.device_count())
    native = {"sm_{}{}".format(*torch.cuda.get_device_capability(number)) for number in devices}
    wanted = [
        cuda_kernel(codec, bits, *layout, device_arch("cuda", arch))
        for arch in sorted(native)
        for codec, bits in sorted({(dtype.codec, dtype.bits) for dtype in DTYPES.values()})
        for layout in gpu_cells(bits, "sm_90")
    ]
    capture = pytestconfig.pluginmanager.get_plugin("capturemanager")
    for done in range(0, len(wanted), 50):
        with capture.global_and_fixture_disabled():
            sys.stderr.write(f"\nkernels for CUDA: {done} of {len(wanted)}\n")
        loader.build(wanted[done : done + 50])
    return wanted


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch) -> Path:
    """An empty cache folder for this process's environment and its children's."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def no_runtime(monkeypatch):
    """Kernels are built and the runtime, which the test does not call, is not."""
    from warp_bitonic_sort.jit import runtime

    monkeypatch.setattr(runtime, "_loaded", object())


@pytest.fixture
def nothing_open(monkeypatch):
    """As in a new process: no kernel is open and no call prepared."""
    monkeypatch.setattr("warp_bitonic_sort.jit.loader._opened", {})
    monkeypatch.setattr("warp_bitonic_sort.operations._call.prepared_calls", {})


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder below a sticky one: every user can reach it, and only its owner can write it."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="warp-sort-tests-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="session")
def nvcc() -> str:
    """The nvcc that kernels would be built with; without one the test skips.

    CI looks for nvcc by means of its own and names what it finds, which the package must not miss.
    """
    named = os.environ.get("WARP_SORT_TESTS_NVCC")
    compiler = cuda_compiler.find_nvcc()
    if compiler is None:
        if named:
            pytest.fail(f"this machine has {named}, and the package finds no nvcc")
        pytest.skip("no nvcc")
    return str(compiler.program)


@pytest.fixture(scope="session")
def hip_compiler():
    """A function that returns the compiler for an AMD GPU's target; without one the test skips.

    CI looks for one by means of its own and names what it finds, which the package must not miss.
    It may know some targets and be too old for others.
    """
    from warp_bitonic_sort.errors import ToolError
    from warp_bitonic_sort.targets.hip.compiler import find_hip_compiler

    named = os.environ.get("WARP_SORT_TESTS_HIP")
    try:
        find_hip_compiler("gfx942")
    except ToolError as error:
        if named:
            pytest.fail(f"this machine has {named}, and the package finds no HIP compiler: {error}")
        pytest.skip("no HIP compiler")

    def of(arch):
        try:
            return find_hip_compiler(arch)
        except ToolError as error:
            if named and "invalid target" not in str(error):
                pytest.fail(f"{named} should build for {arch}: {error}")
            pytest.skip(f"no HIP compiler here builds for {arch}: {error}")

    return of


@pytest.fixture(scope="session")
def clangs_for_hip():
    """The clangs for AMD GPUs by version. CI names those it found; the tests must run them all."""
    from support import hip_clangs

    clangs = hip_clangs.found()
    unused = hip_clangs.unused(clangs)
    if unused:
        pytest.fail(f"this machine has {', '.join(unused)}, and the tests would run only {clangs}")
    return clangs


@pytest.fixture(params=["oldest", "newest"])
def clang_age(request) -> str:
    """Which of the clangs that the README accepts."""
    return request.param


@pytest.fixture(scope="session")
def rocm_folders(clangs_for_hip, tmp_path_factory) -> dict[int, Path]:
    """For each clang, a folder that `ROCM_PATH` may name."""
    from support import hip_clangs

    return {
        version: hip_clangs.rocm_with(clang, tmp_path_factory.mktemp("rocm"))
        for version, clang in clangs_for_hip.items()
    }


@pytest.fixture
def each_hip_compiler(clang_age, hip_compiler, clangs_for_hip, rocm_folders, monkeypatch):
    """`hip_compiler`, once with the oldest clang that the README accepts, once with the newest."""
    versions = list(clangs_for_hip)
    if clang_age == "oldest" and len(versions) < 2:
        pytest.skip(f"only one clang here builds for AMD GPUs, the newest: {clangs_for_hip}")
    if not versions:
        return hip_compiler
    version = versions[0 if clang_age == "oldest" else -1]
    rocm = rocm_folders[version]
    monkeypatch.setenv("ROCM_PATH", str(rocm))

    def of(arch):
        compiler = hip_compiler(arch)
        if not compiler.command[0].startswith(str(rocm)):
            pytest.skip(f"clang {version} does not build for {arch}")
        return compiler

    return of


@pytest.fixture(scope="session")
def warm_cache(tmp_path_factory) -> Path:
    """A cache of the runtime and one kernel, for tests to copy; none changes it."""
    from support import children

    def fill(folder):
        done = children.run(WARP_SORT_CACHE_DIR=folder)
        assert done.stdout.strip() == children.ANSWER, done.stderr

    return filled_once(tmp_path_factory, "warm-cache", fill)


@pytest.fixture
def runtime_layer(warm_cache, tmp_path_factory, monkeypatch) -> None:
    """A layer of the runtime alone: a test compiles only its kernels."""
    import shutil

    from support import children

    def fill(folder):
        children.copy(warm_cache, folder)
        shutil.rmtree(folder / "v1" / "entries" / children.KERNEL.name)

    layer = filled_once(tmp_path_factory, "runtime-layer", fill)
    monkeypatch.setenv("WARP_SORT_CACHE_LAYERS", str(layer))


@pytest.fixture
def cache_copy(warm_cache, tmp_path, monkeypatch) -> Path:
    """A copy of it that is this process's cache and its children's."""
    from support import children

    monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(tmp_path / "cache"))
    return children.copy(warm_cache, tmp_path / "cache")


@pytest.fixture
def half_cache(cache_copy) -> Path:
    """Likewise, but without the kernel: the runtime alone."""
    import shutil

    from support import children

    shutil.rmtree(cache_copy / "v1" / "entries" / children.KERNEL.name)
    return cache_copy


@pytest.fixture(scope="session")
def whole_layer(tmp_path_factory) -> Path:
    """A layer of the runtime and the kernels for rows of three float32; none changes it."""
    from support import children

    def fill(folder):
        done = children.program("prewarm", "--length", 3, "--into", folder)
        assert done.returncode == 0, done.stderr

    return filled_once(tmp_path_factory, "whole-layer", fill)
