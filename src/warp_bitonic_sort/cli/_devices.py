"""What ``doctor`` knows about back ends: their drivers, devices and compilers.

Invariant: no array library is imported, nothing is written and nothing raises. Drivers are opened
as libraries, and the Linux kernel is asked for AMD GPUs.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from .. import settings
from ..errors import BuildError, ToolError
from ..jit import finders, gpu_targets, hip_compiler, toolchain
from ..jit.store import inventory, layers
from ._problem import Facts, Problem, attempt, problem_of

# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
_CUDA_VERSION = (75, 76)
# doctor asks a compiler for this target where there is no device to ask for.
_USUAL_TARGET = "gfx942"


def backends(problems: list[Problem]) -> dict[str, Facts]:
    target = attempt(
        toolchain.cpu_arch, problems, "set WARP_SORT_CPU_ARCH to one of these, or unset it"
    )
    setting = settings.cpu_arch()
    why = "as /proc/cpuinfo lists this machine"
    if setting not in (None, "native"):
        why = f"WARP_SORT_CPU_ARCH={setting}"
    return {
        "cpu": {"available": target is not None, "target": target, "why": why},
        "cuda": _cuda(problems),
        "hip": _hip(problems),
    }


def _cuda(problems: list[Problem]) -> Facts:
    home = attempt(settings.cuda_home, problems, "unset CUDA_HOME", blocking=False)
    driver = _loadable("libcuda.so.1")
    missing = [] if driver else ["no NVIDIA driver (libcuda.so.1)"]
    compiler: str | None = None
    compiled = 0
    try:
        nvcc = finders.find_cuda_compiler()
        compiler = f"{nvcc.path} ({nvcc.why})"
    except BuildError as error:
        compiled = _count_compiled("cuda")
        if not compiled:
            missing.append("no CUDA compiler")
        _note_gpu(problems, error, "CUDA devices", driver is not None, home, compiled)
    return {
        "available": not missing,
        "why": _why(missing, compiler, compiled),
        "found": {
            "driver": driver,
            "compiler": compiler,
            "nvidia-smi": shutil.which("nvidia-smi"),
        },
    }


def _note_gpu(
    problems: list[Problem],
    error: BuildError,
    devices: str,
    is_here: bool,
    setting: Path | None,
    compiled: int = 0,
) -> None:
    """Note why kernels for devices cannot be built, where they may be wanted.

    They may be wanted where the machine has such devices, and where the user set a variable that
    leads nowhere. Layers and the cache may hold some of them.
    """
    if is_here or setting is not None:
        where = f"this machine's {devices}" if is_here else f"{devices}, if there were any,"
        problem = problem_of(error, "install the compiler")
        what = f"arrays on {where} can't be sorted: {problem.what}"
        if compiled:
            what = (
                f"arrays on {where} can be sorted by the {compiled} kernels for them that layers "
                f"and the cache hold, and by no others: {problem.what}"
            )
        problems.append(Problem(what, problem.fix, blocking=False))


def _count_compiled(backend: str, devices: Sequence[str] = ()) -> int:
    """Return how many kernels for a back end's devices are compiled already."""
    try:
        roots = [*(layer.root for layer in layers.all_layers()), settings.cache_dir()]
    except BuildError:  # reported with the cache
        return 0
    kernels = {
        (item.name, item.arch)
        for root in roots
        for item in inventory.entries(root)
        if item.target == backend
    }
    if not devices:
        return len(kernels)
    return sum(any(gpu_targets.runs_on(arch, name) for name in devices) for _, arch in kernels)


def _why(missing: list[str], compiler: str | None, compiled: int) -> str:
    if missing:
        return "; ".join(missing)
    if compiler is None:
        return f"the driver is there, and {compiled} kernels in layers and the cache; no compiler"
    return "the driver and a compiler are there"


def _hip(problems: list[Problem]) -> Facts:
    home = attempt(settings.rocm_path, problems, "unset ROCM_PATH", blocking=False)
    headers = attempt(settings.ck_dir, problems, "unset CK_DIR", blocking=False)
    driver = _loadable(*_hip_libraries(home))
    devices = _amd_targets()
    missing = [] if driver else ["no HIP driver (libamdhip64.so, of ROCm)"]
    is_here = bool(driver and devices)
    targets = set()
    for device in devices:
        try:
            targets.add(toolchain.hip_arch(device))
        except ToolError as error:
            if is_here:
                what = f"arrays on this machine's {device} can't be sorted: {error}"
                problems.append(Problem(what, "see what it says of GPU_ARCH", False))
    compiler: str | None = None
    compiled = 0
    try:
        toolchain.ck_dir()
        if targets or not devices:
            clang = hip_compiler.find_hip_compiler(sorted(targets) or [_USUAL_TARGET])
            compiler = f"{clang.path} ({clang.why})"
        else:
            missing.append("no device that kernels can be built for")
    except BuildError as error:
        compiled = _count_compiled("hip", devices)
        if not compiled:
            missing.append("no HIP compiler")
        _note_gpu(problems, error, "AMD GPUs", is_here, home or headers, compiled)
    return {
        "available": not missing,
        "why": _why(missing, compiler, compiled),
        "found": {
            "driver": driver,
            "compiler": compiler,
            "devices": ", ".join(devices) or None,
        },
    }


def _hip_libraries(home: Path | None) -> list[str]:
    """Return the names of ROCm's driver: in ROCM_PATH, where the loader looks, and in /opt/rocm."""
    names = ["libamdhip64.so", *(f"libamdhip64.so.{version}" for version in (7, 6, 5))]
    folders = [*([f"{home}/lib/"] if home else []), "", "/opt/rocm/lib/"]
    return [folder + name for folder in folders for name in names]


def _amd_targets(nodes: str = "/sys/class/kfd/kfd/topology/nodes") -> list[str]:
    """Return the targets of the AMD GPUs that the kernel knows, as in ``gfx942``."""
    targets = set()
    for file in Path(nodes).glob("*/properties"):
        with contextlib.suppress(OSError):
            version = re.search(r"^gfx_target_version (\d+)$", file.read_text(), re.MULTILINE)
            # A CPU is also a node. Its version is 0.
            if version and int(version[1]) > 0:
                major, rest = divmod(int(version[1]), 10000)
                minor, stepping = divmod(rest, 100)
                targets.add(f"gfx{major}{minor:x}{stepping:x}")
    return sorted(targets)


def _cuda_targets() -> list[str]:
    """Return the targets of the CUDA devices that the driver knows, as in ``sm_90``."""
    targets = set()
    with contextlib.suppress(OSError, AttributeError):  # no driver, or not a real one
        driver = ctypes.CDLL("libcuda.so.1")
        device, number = ctypes.c_int(), 0
        is_there = driver.cuInit(0) == 0
        while is_there and driver.cuDeviceGet(ctypes.byref(device), number) == 0:
            version = (ctypes.c_int * 2)()
            for index, attribute in enumerate(_CUDA_VERSION):
                part = ctypes.byref(version, index * ctypes.sizeof(ctypes.c_int))
                driver.cuDeviceGetAttribute(part, attribute, device)
            targets.add(f"sm_{version[0]}{version[1]}")
            number += 1
    return sorted(targets)


def native_targets(backend: str) -> list[str]:
    """Return the targets of this machine's processor or devices that there are kernels for."""
    if backend == "cpu":
        return [toolchain.native_cpu_arch()]
    devices = _cuda_targets() if backend == "cuda" else _amd_targets()
    return [device for device in devices if gpu_targets.backend_of(device) == backend]


def _loadable(*libraries: str) -> str | None:
    """Return the first of some libraries that can be loaded."""
    for library in libraries:
        with contextlib.suppress(OSError):
            ctypes.CDLL(library)
            return library
    return None
