"""What ``doctor`` knows about back ends: their drivers, devices and compilers.

Invariant: no array library is imported, nothing is written and nothing raises. Drivers are opened
as libraries, and the Linux kernel is asked for AMD GPUs.
"""

from __future__ import annotations

import contextlib
import ctypes
import shutil
from collections.abc import Sequence

from .. import settings
from ..errors import BuildError, ToolError
from ..jit.store import inventory, layers
from ..targets import HOST, TARGETS, device_arch, target_of
from ..targets.common.target import Target
from ._problem import Facts, Problem, attempt, problem_of


def backends(problems: list[Problem]) -> dict[str, Facts]:
    """Return the facts of each back end, and append what is wrong to problems."""
    facts = {HOST.name: _host(problems)}
    for target in map(target_of, TARGETS):
        if not target.is_host:
            facts[target.name] = gpu(target, problems)
    return facts


def _host(problems: list[Problem]) -> Facts:
    arch = attempt(HOST.arch_for, problems, "set WARP_SORT_CPU_ARCH to one of these, or unset it")
    setting = settings.cpu_arch()
    why = "as /proc/cpuinfo lists this machine"
    if setting not in (None, "native"):
        why = f"WARP_SORT_CPU_ARCH={setting}"
    return {"available": arch is not None, "arch": arch, "why": why}


def gpu(target: Target, problems: list[Problem]) -> Facts:
    """Return the facts of a back end for devices, and append what is wrong to problems."""
    probe = target.probe()
    is_configured = False
    for variable, setting in probe.folders.items():
        is_configured |= attempt(setting, problems, f"unset {variable}", blocking=False) is not None
    driver = _loadable(*probe.driver_libraries)
    missing = [] if driver else [f"no {probe.driver}"]
    devices = probe.archs or ()
    is_here = driver is not None and devices != ()
    if probe.archs is None:
        is_here = driver is not None
    archs = _archs_to_build(target, devices, is_here, problems)
    compiler: str | None = None
    compiled = 0
    try:
        target.recipe.include_dirs()
        if not archs:
            missing.append("no device that kernels can be built for")
        for arch in archs:
            found = target.recipe.find_compiler(arch, target.recipe.probe_error)
            compiler = f"{found.program} ({found.origin})"
    except BuildError as error:
        compiled = _count_compiled(target, devices)
        if not compiled:
            missing.append(f"no {target.title} compiler")
        _note_gpu(problems, error, probe.devices, is_here, is_configured, compiled)
    facts = {"driver": driver, "compiler": compiler}
    facts.update({tool: shutil.which(tool) for tool in probe.tools})
    if probe.archs is not None:
        facts["devices"] = ", ".join(devices) or None
    return {
        "available": not missing,
        "why": _why(missing, compiler, compiled),
        "found": facts,
    }


def _archs_to_build(
    target: Target, devices: Sequence[str], is_here: bool, problems: list[Problem]
) -> list[str]:
    """Return what kernels would be built for; an example where there are no devices."""
    if not devices:
        return [target.example]
    archs = set()
    for device in devices:
        try:
            archs.add(device_arch(target.name, device))
        except ToolError as error:
            if is_here:
                what = f"arrays on this machine's {device} can't be sorted: {error}"
                problems.append(Problem(what, "see what it says of GPU_ARCH", False))
    return sorted(archs)


def _note_gpu(
    problems: list[Problem],
    error: BuildError,
    devices: str,
    is_here: bool,
    is_configured: bool,
    compiled: int = 0,
) -> None:
    """Note why kernels for devices cannot be built, where they may be wanted.

    They may be wanted where the machine has such devices, and where the user set a variable that
    leads nowhere. Layers and the cache may hold some of them.
    """
    if is_here or is_configured:
        where = f"this machine's {devices}" if is_here else f"{devices}, if there were any,"
        problem = problem_of(error, "install the compiler")
        what = f"arrays on {where} can't be sorted: {problem.what}"
        if compiled:
            what = (
                f"arrays on {where} can be sorted by the {compiled} kernels for them that layers "
                f"and the cache hold, and by no others: {problem.what}"
            )
        problems.append(Problem(what, problem.fix, blocking=False))


def _count_compiled(target: Target, devices: Sequence[str]) -> int:
    """Return how many kernels for a back end's devices are compiled already."""
    try:
        roots = [*(layer.root for layer in layers.all_layers()), settings.cache_dir()]
    except BuildError:  # reported with the cache
        return 0
    kernels = {
        (item.name, item.arch)
        for root in roots
        for item in inventory.entries(root)
        if item.target == target.name
    }
    if not devices:
        return len(kernels)
    return sum(any(target.runs_on(arch, name) for name in devices) for _, arch in kernels)


def _why(missing: list[str], compiler: str | None, compiled: int) -> str:
    if missing:
        return "; ".join(missing)
    if compiler is None:
        return f"the driver is there, and {compiled} kernels in layers and the cache; no compiler"
    return "the driver and a compiler are there"


def _loadable(*libraries: str) -> str | None:
    """Return the first of some libraries that can be loaded."""
    for library in libraries:
        with contextlib.suppress(OSError):
            ctypes.CDLL(library)
            return library
    return None
