"""What ``doctor`` knows: plain facts about this machine, and what is wrong with them.

Invariant: no array library is imported, nothing is written but by `trial`, and nothing raises: what
cannot be found out is None, and what hinders is a `Problem` that carries its fix.
"""

from __future__ import annotations

import contextlib
import ctypes
import difflib
import importlib.metadata
import json
import os
import platform
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .. import __version__, settings
from ..errors import BuildError, ToolError, TrustError
from ..jit import finders, gpu_targets, hip_compiler, ninja, toolchain
from ..jit.store import inventory, layers, maintenance
from ..jit.store.mounts import is_noexec, temporary_parent
from ..jit.store.permissions import check_writers
from ..process import threads

__all__ = [
    "Problem",
    "cache_entries",
    "facts",
    "is_refused",
    "native_targets",
    "trial",
]

Facts = dict[str, Any]
T = TypeVar("T")

_DEPENDENCIES = {
    "apache-tvm-ffi": None,
    "ninja": None,
    "click": None,
    "numpy": "numpy",
    "ml_dtypes": "numpy",
    "torch": "torch",
    "jax": "jax",
    "matplotlib": "demo",
}
_VARIABLES = (
    "WARP_SORT_CACHE_DIR",
    "WARP_SORT_CACHE_LAYERS",
    "WARP_SORT_TRUSTED_DIRS",
    "WARP_SORT_LOCK_TIMEOUT",
    "WARP_SORT_JIT_VERBOSE",
    "WARP_SORT_CPU_ARCH",
    "WARP_SORT_RTC",
    "MAX_JOBS",
    "CXX",
    "OMP_NUM_THREADS",
    "GPU_ARCH",
    "ROCM_PATH",
    "CUDA_HOME",
    "CK_DIR",
)


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Parameters
    ----------
    what : str
        What.
    fix : str
        What mends it.
    blocking : bool
        Whether a call to sort would fail because of it.
    """

    what: str
    fix: str
    blocking: bool = True


def _problem(error: Exception, fix: str, blocking: bool = True) -> Problem:
    """Split a message of the library, which ends with what would help, into what and fix."""
    text = str(error) or type(error).__name__
    for mark in ("\nHint: ", ". "):
        what, found, advice = text.rpartition(mark)
        if found:
            return Problem(what, advice, blocking)
    return Problem(text, fix, blocking)


def _found(
    find: Callable[[], T], problems: list[Problem], fix: str, blocking: bool = True
) -> T | None:
    """Call what looks for something; what it raises is a problem."""
    try:
        return find()
    except Exception as error:  # the doctor survives whatever is broken
        problems.append(_problem(error, fix, blocking))
        return None


def facts(problems: list[Problem]) -> Facts:
    """Return what there is, and append what is wrong to problems."""
    _found(toolchain.require_sources, problems, "reinstall the package")
    compiler = _compiler(problems)
    return {
        "package": {
            "version": __version__,
            "folder": str(Path(__file__).resolve().parent.parent),
        },
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
        },
        "platform": {"system": platform.platform(), "machine": platform.machine()},
        "dependencies": _dependencies(problems),
        "backends": _backends(problems),
        "compiler": compiler,
        "ninja": _ninja(problems),
        "cache": _cache(problems),
        "threads": _threads(problems),
        "environment": _environment(problems),
    }


# -- what is installed ----------------------------------------------------------------------------


def _dependencies(problems: list[Problem]) -> dict[str, str | None]:
    versions = {name: _version(name) for name in _DEPENDENCIES}
    for name, extra in _DEPENDENCIES.items():
        # (A ninja may be there without its package: the row of tools says.)
        if versions[name] is None and extra is None and name != "ninja":
            problems.append(Problem(f"{name} is not installed", f"pip install {name}"))
    if all(versions[name] is None for name in ("numpy", "torch", "jax")):
        problems.append(
            Problem(
                "no array library is installed, so there is nothing to sort",
                "pip install numpy ml_dtypes",
            )
        )
    return versions


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except Exception:  # broken metadata is as good as none
        return None


def _environment(problems: list[Problem]) -> dict[str, str | None]:
    _found(settings.max_jobs, problems, "set MAX_JOBS to a whole number of at least 1, or unset it")
    _found(
        gpu_targets.gpu_archs,
        problems,
        "set GPU_ARCH to native or to such a list, or unset it",
        blocking=False,  # arrays in CPU memory do not ask for it
    )
    _found(
        settings.lock_timeout,
        problems,
        "set WARP_SORT_LOCK_TIMEOUT to a number of seconds, or unset it",
    )
    _note_what_is_not_asked_for(problems)
    return {name: os.environ.get(name) for name in _VARIABLES}


def _note_what_is_not_asked_for(problems: list[Problem]) -> None:
    """Note variables of the package's that it does not have, and trusted folders that are none."""
    own = [name for name in _VARIABLES if name.startswith("WARP_SORT_")]
    for name in sorted(os.environ):
        known = name in own or name == "WARP_SORT_WHEEL_LAYER" or name.startswith("WARP_SORT_TESTS")
        if name.startswith("WARP_SORT_") and not known:
            near = difflib.get_close_matches(name, own, 1, cutoff=0.8)
            what = f"{name}: there is no such setting"
            fix = f"unset it, or set {near[0]}, if that is meant" if near else "unset it"
            problems.append(Problem(what, fix, blocking=False))
    for folder in _found(settings.trusted_dirs, problems, "name folders, or unset it") or []:
        if _is_no_folder(folder):
            what = f"WARP_SORT_TRUSTED_DIRS: there is no folder {folder}"
            problems.append(Problem(what, "take it off the list", blocking=False))


def _is_no_folder(folder: Path) -> bool:
    """Tell whether a folder is not there; not where nobody may look."""
    try:
        return not stat.S_ISDIR(folder.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def _threads(problems: list[Problem]) -> Facts:
    _found(
        settings.omp_num_threads,
        problems,
        "set OMP_NUM_THREADS to such a number, or unset it",
        blocking=False,  # it is ignored
    )
    count, why = threads.default()
    return {"count": count, "why": why}


# -- back ends ------------------------------------------------------------------------------------


def _backends(problems: list[Problem]) -> dict[str, Facts]:
    target = _found(
        toolchain.cpu_arch, problems, "set WARP_SORT_CPU_ARCH to one of these, or unset it"
    )
    asked = settings.cpu_arch()
    source = "as /proc/cpuinfo lists this machine"
    if asked not in (None, "native"):
        source = f"WARP_SORT_CPU_ARCH={asked}"
    return {
        "cpu": {"available": target is not None, "target": target, "why": source},
        "cuda": _cuda(problems),
        "hip": _hip(problems),
    }


def _cuda(problems: list[Problem]) -> Facts:
    home = _found(settings.cuda_home, problems, "unset CUDA_HOME", blocking=False)
    driver = _loadable("libcuda.so.1")
    missing = [] if driver else ["no NVIDIA driver (libcuda.so.1)"]
    compiler: str | None = None
    held = 0
    try:
        found = finders.find_cuda_compiler()
        compiler = f"{found.path} ({found.why})"
    except BuildError as error:
        held = _held("cuda")
        if not held:
            missing.append("no CUDA compiler")
        _note_gpu(problems, error, "CUDA devices", driver is not None, home, held)
    return {
        "available": not missing,
        "why": _why(missing, compiler, held),
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
    here: bool,
    asked: Path | None,
    held: int = 0,
) -> None:
    """Note why kernels for devices cannot be built, where somebody may want them.

    That is where the devices are, or where the user set a variable that leads nowhere. Some may be
    in layers or in the cache.
    """
    if here or asked is not None:
        where = f"this machine's {devices}" if here else f"{devices}, if there were any,"
        problem = _problem(error, "install the compiler")
        what = f"arrays on {where} can't be sorted: {problem.what}"
        if held:
            what = (
                f"arrays on {where} can be sorted by the {held} kernels for them that layers and "
                f"the cache hold, and by no others: {problem.what}"
            )
        problems.append(Problem(what, problem.fix, blocking=False))


def _held(backend: str, devices: Sequence[str] = ()) -> int:
    """Return how many kernels for a back end's devices there are that need not be compiled."""
    try:
        roots = [*(layer.root for layer in layers.all_layers()), settings.cache_dir()]
    except BuildError:  # reported with the cache
        return 0
    kernels = {
        (item.name, item.arch)
        for root in roots
        for item in inventory.entries(root)
        if item.target == f"{backend}_kernel"
    }
    if not devices:
        return len(kernels)
    return sum(any(gpu_targets.runs_on(arch, each) for each in devices) for _, arch in kernels)


def _why(missing: list[str], compiler: str | None, held: int) -> str:
    if missing:
        return "; ".join(missing)
    if compiler is None:
        return f"the driver is there, and {held} kernels in layers and the cache; no compiler"
    return "the driver and a compiler are there"


# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
_CUDA_VERSION = (75, 76)
# What doctor asks a compiler for where there is no device to ask for.
_USUAL_TARGET = "gfx942"


def _hip(problems: list[Problem]) -> Facts:
    home = _found(settings.rocm_path, problems, "unset ROCM_PATH", blocking=False)
    headers = _found(settings.ck_dir, problems, "unset CK_DIR", blocking=False)
    driver = _loadable(*_hip_libraries(home))
    devices = _amd_targets()
    missing = [] if driver else ["no HIP driver (libamdhip64.so, of ROCm)"]
    here = bool(driver and devices)
    targets = set()
    for device in devices:
        try:
            targets.add(toolchain.hip_arch(device))
        except ToolError as error:
            # Others may do.
            if here:
                what = f"arrays on this machine's {device} can't be sorted: {error}"
                problems.append(Problem(what, "see what it says of GPU_ARCH", False))
    compiler: str | None = None
    held = 0
    try:
        toolchain.ck_dir()
        if targets or not devices:
            found = hip_compiler.find_hip_compiler(sorted(targets) or [_USUAL_TARGET])
            compiler = f"{found.path} ({found.why})"
        else:
            missing.append("no device that kernels can be built for")
    except BuildError as error:
        held = _held("hip", devices)
        if not held:
            missing.append("no HIP compiler")
        _note_gpu(problems, error, "AMD GPUs", here, home or headers, held)
    return {
        "available": not missing,
        "why": _why(missing, compiler, held),
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
            said = re.search(r"^gfx_target_version (\d+)$", file.read_text(), re.MULTILINE)
            # A CPU is a node, too, whose version is 0.
            if said and int(said[1]) > 0:
                major, rest = divmod(int(said[1]), 10000)
                minor, stepping = divmod(rest, 100)
                targets.add(f"gfx{major}{minor:x}{stepping:x}")
    return sorted(targets)


def _cuda_targets() -> list[str]:
    """Return the targets of the CUDA devices that the driver knows, as in ``sm_90``."""
    targets = set()
    with contextlib.suppress(OSError, AttributeError):  # no driver, or one that is none
        driver = ctypes.CDLL("libcuda.so.1")
        device, number = ctypes.c_int(), 0
        is_there = driver.cuInit(0) == 0
        while is_there and driver.cuDeviceGet(ctypes.byref(device), number) == 0:
            version = (ctypes.c_int * 2)()
            for place, attribute in enumerate(_CUDA_VERSION):
                here = ctypes.byref(version, place * ctypes.sizeof(ctypes.c_int))
                driver.cuDeviceGetAttribute(here, attribute, device)
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


# -- tools ----------------------------------------------------------------------------------------


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _has_layer() -> bool:
    """Tell whether there are kernels that need nothing to be compiled."""
    try:
        return any(cache_entries(layer.root) for layer in layers.all_layers())
    except BuildError:  # reported with the cache
        return False


def _compiler(problems: list[Problem]) -> Facts | None:
    compiler = _found(
        finders.find_compiler, problems, "set CXX to a C++ compiler", blocking=not _has_layer()
    )
    if compiler is None:
        return None
    version = _found(compiler.version, problems, "set CXX to a C++ compiler that runs")
    return {
        "command": shlex.join(compiler.command),
        "path": str(compiler.path),
        "version": None if version is None else _first_line(version),
        "why": compiler.why,
    }


def _ninja(problems: list[Problem]) -> Facts | None:
    path = _found(finders.find_ninja, problems, "pip install ninja", blocking=not _has_layer())
    if path is None:
        return None

    reinstall = "pip install --force-reinstall ninja"
    return {"path": str(path), "version": _found(lambda: ninja.version(path), problems, reinstall)}


# -- the cache ------------------------------------------------------------------------------------


def cache_entries(root: Path) -> set[str]:
    """Return the entries of a cache, as ``artifact/key``."""
    return {f"{path.parent.name}/{path.name}" for path in root.glob("v*/entries/*/*")}


def _bytes(folders: Iterable[Path]) -> int:
    total = 0
    for folder in folders:
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):  # it may go at any time
                total += path.lstat().st_size
    return total


def _cache(problems: list[Problem]) -> Facts | None:
    return _found(
        lambda: _cache_facts(settings.cache_dir(), problems),
        problems,
        "set WARP_SORT_CACHE_DIR to a folder that this user can write",
    )


def _cache_facts(root: Path, problems: list[Problem]) -> Facts:
    reason = _unwritable(root)
    if reason is not None:
        problems.append(
            Problem(
                f"the cache folder {root} cannot be written ({reason}), so that kernels are "
                "compiled anew in every process",
                "set WARP_SORT_CACHE_DIR to a folder that this user can write",
                blocking=False,
            )
        )
    if is_noexec(root):
        parent = temporary_parent()
        where = f"in {parent}, anew in every process" if parent else "nowhere"
        problems.append(
            Problem(
                f"the cache folder {root} is on a file system that is mounted noexec, so that no "
                f"library can be loaded from there and kernels are compiled {where}",
                "set WARP_SORT_CACHE_DIR to a folder on another file system",
                blocking=parent is None,
            )
        )
    # In place of a folder that nobody named a temporary one will do.
    is_named = settings.cache_home() is None
    known = len(problems)
    _found(lambda: check_writers(root, root), problems, "chmod go-w it", is_named)
    left: list[Path] = []
    if len(problems) == known:
        fix = "let only this user write there"
        left = _found(lambda: maintenance.litter(root), problems, fix, blocking=False) or []
    if left:
        problems.append(
            Problem(
                f"{len(left)} files and folders ({_bytes(left):,} bytes) are left in the cache of "
                "builds that were killed",
                "warp-bitonic-sort cache prune",
                blocking=False,
            )
        )
    return {
        "path": str(root),
        "exists": root.is_dir(),
        "writable": reason is None,
        "entries": len(cache_entries(root)),
        "bytes": _bytes(root.glob("v*/entries")),
        "left": [str(path) for path in left],
        "layers": _layers(problems),
    }


def _layers(problems: list[Problem]) -> dict[str, int]:
    """Return how many artifacts each layer holds."""
    held: dict[str, int] = {}
    for layer in layers.all_layers():
        if layer.root == layers.PACKAGED and not layer.base.is_dir():
            continue
        closed = _unreadable(layer.base / "entries")
        held[str(layer.root)] = 0 if closed else len(cache_entries(layer.root))
        if closed:
            problems.append(
                Problem(
                    f"WARP_SORT_CACHE_LAYERS: {closed}",
                    "have whoever owns it let everybody read it (chmod -R go+rX), or take it off "
                    "the list",
                    blocking=False,
                )
            )
        elif (why := inventory.why_no_layer(layer.root)) is not None:
            problems.append(
                Problem(
                    f"WARP_SORT_CACHE_LAYERS: {why}",
                    "name a folder that warp-bitonic-sort prewarm --into has filled, or take it "
                    "off the list",
                    blocking=False,
                )
            )
        elif layer.root != layers.PACKAGED:
            refused = inventory.permission_error(inventory.entries(layer.root))
            if refused is not None:
                problems.append(_problem(TrustError(refused), "chmod go-w it"))
            if is_noexec(layer.root):
                problems.append(
                    Problem(
                        f"WARP_SORT_CACHE_LAYERS: {layer.root} is on a file system that is mounted "
                        "noexec, so that only its kernels for GPUs are used",
                        "copy it to another file system",
                        blocking=False,
                    )
                )
    return held


def _unreadable(folder: Path) -> str | None:
    """Return why a folder cannot be read, or None where it can, or where there is none."""
    try:
        os.listdir(folder)  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"{folder} cannot be read: {error.strerror}"
    return None


def _unwritable(root: Path) -> str | None:
    """Return why nothing can be written below a folder that may not exist yet, or None."""
    home = settings.cache_home()
    if home is not None and not home.is_dir():
        return f"the home folder does not exist ({home})"
    there = root
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    try:
        # Asking for permissions is not enough: disks are full, or mounted read-only.
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"\0")
    except OSError as error:
        return f"{error.strerror or error} ({there})"
    return None


# -- the trial ------------------------------------------------------------------------------------

_TRIAL_SECONDS = 600
# How the message of a TrustError begins.
_REFUSAL = "nothing is loaded from "


def _is_refusal(problem: Problem) -> bool:
    return problem.what.startswith(_REFUSAL)


def is_refused(problems: Iterable[Problem]) -> bool:
    """Tell whether a cache or layer is refused, for others can write there."""
    return any(_is_refusal(problem) for problem in problems)


def trial(problems: list[Problem]) -> Facts:
    """Sort a small array in a process of its own, and append what goes wrong to problems."""
    answer = _run_trial()
    error = answer.pop("error")
    if error:
        problem = _problem(RuntimeError(error), "mend the problems above first, if there are any")
        # One that was found already is not told twice. (A folder is refused for one reason; which
        # of what is in it is named depends on which is looked at first.)
        cause = problem.what.partition(": ")[0] if _is_refusal(problem) else problem.what
        if not any(known.what.startswith(cause) for known in problems):
            problems.append(Problem(f"a small sort failed: {problem.what}", problem.fix))
    return {"status": "failed" if error else "passed", **answer}


def _run_trial() -> Facts:
    """Return what ``_trial`` prints, or what came instead."""
    nothing: Facts = {"kernel": "", "seconds": None, "compiled": []}
    try:
        done = subprocess.run(
            [sys.executable, "-m", f"{__package__}._trial"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TRIAL_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return {**nothing, "error": f"it could not be run to its end: {error}"}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            with contextlib.suppress(ValueError):
                answer: Facts = json.loads(line)
                return answer
    status = f"exit status {done.returncode}"
    if done.returncode < 0:
        with contextlib.suppress(ValueError):
            status = signal.Signals(-done.returncode).name
    said = done.stderr.strip().splitlines()[-1:] or ["it printed nothing"]
    return {**nothing, "error": f"the process ended with {status}: {said[0]}"}
