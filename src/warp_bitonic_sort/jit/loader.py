"""Opens kernels: finds or builds each one, loads it, and holds it open for this process.

Invariant: `open_kernel` answers from a dict once a kernel is open. Before that it uses the cache's
entry, or builds the kernel and, in the same ninja run, the runtime if that is missing. A library is
published only after it was loaded. A device's code object is published unloaded, because its device
may be in another machine. Only this module imports ``build``.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from ..errors import BuildError, CacheError, EvictedError, MissingToolError, TrustError
from ..kernels import RUNTIME, Artifact, Kernel, Runtime
from ..process import forks
from ..process.warn import warn
from ..targets import HOST, recipe_of, target_of
from ..targets.common.sources import require_sources
from . import runtime as _runtime
from .store import layers
from .store.pinned import explain_load_errors, pinned
from .store.store import Entry, Store, mark_unloadable

# How often another process may remove an entry between its look-up or build and its load.
_MAX_TRIES = 5

_opened: dict[tuple[Kernel, str, int], Callable[..., None]] = {}
_built: list[str] = []
_warned_of_lesser = False
_guard = threading.RLock()  # re-entrant: a finalizer that sorts may run while it is held


def open_kernels() -> list[str]:
    """Return the names of the kernels that this process holds open."""
    return sorted({kernel.name for kernel, _, _ in list(_opened)})


def is_open(kernel: Kernel, dtype: str, device: int) -> bool:
    """Tell whether `open_kernel` has opened a kernel already."""
    return (kernel, dtype, device) in _opened


def built() -> list[str]:
    """Return the names of the artifacts that this process has built."""
    return list(_built)


def has_runtime() -> bool:
    """Tell whether the runtime is loaded."""
    return _runtime.loaded() is not None


def runtime() -> Any:
    """Return the runtime's module, building it first if the cache does not have it."""
    _ready([])
    return _runtime.loaded()


def device_of(target: str, number: int) -> Any:
    """Return the runtime's name for a device of a back end."""
    return _runtime.import_tvm_ffi().device(target_of(target).platform, number)


def cpu_arch() -> str:
    """Return the CPU's architecture to sort with: ``WARP_SORT_CPU_ARCH``, else the processor's.

    The runtime reads the processor's features. Until it is loaded, those in /proc/cpuinfo count.
    `open_kernel` opens no kernel that the processor does not run.

    Raises
    ------
    ToolError
        ``WARP_SORT_CPU_ARCH`` is not an architecture, or the processor does not run it.
    """
    module = _runtime.loaded()
    return HOST.arch_for(None if module is None else str(module.cpu_arch()))


# -- opening ---------------------------------------------------------------------------------------


@forks.held_off()
def open_kernel(
    kernel: Kernel,
    dtype: str,
    device: int = 0,
    length: int | None = None,
    refuse: Callable[[], None] | None = None,
    operation: str = "sort",
) -> Callable[..., None]:
    """Open a kernel for a dtype, building it first if the cache does not have it.

    Parameters
    ----------
    kernel : Kernel
        The kernel.
    dtype : str
        The dtype whose order it sorts by, as ``core/dtype.hpp`` names it.
    device : int, default 0
        The number of the device.
    length : int, optional
        The length of the rows, for the error that says how to build the kernel elsewhere.
    refuse : callable, optional
        Raises if no kernel can be opened now. Called with the runtime loaded: before the kernel is
        built if the runtime is loaded already, else before the kernel is opened.
    operation : str, default "sort"
        The operation that needs the kernel, for the same error as the length.

    Returns
    -------
    callable
        ``call(inputs..., outputs..., axis, descending, nan_last)``: sorts along axis. A device's
        kernel has two more parameters: the stream, and optionally whether the runtime's launch
        cache should remember the launch.

    Raises
    ------
    ToolError
        The cache does not have the kernel, and the compiler or ninja is missing or does not work.
        (If one is missing, a CPU's kernel for a lesser architecture is used, with one warning.)
    BuildError
        The compiler failed, or its product does not load.
    CacheError
        Neither the cache folder nor a temporary one can be written.
    LockError
        Another process builds the same kernel for longer than ``WARP_SORT_LOCK_TIMEOUT``.
    TrustError
        Other users can write the files that would be loaded, in a folder that the user named.
    RuntimeError
        The device's driver did not load the kernel; the message is the driver's.
    """
    function = _opened.get((kernel, dtype, device))
    if function is None:
        # `refuse` needs the runtime. A missing runtime is built together with the kernel.
        if refuse is not None and has_runtime():
            refuse()
            refuse = None
        opened, function = _open_located(kernel, dtype, device, length, refuse, operation)
        _opened[kernel, dtype, device] = _opened[opened, dtype, device] = function
    return function


def _open_located(
    kernel: Kernel,
    dtype: str,
    device: int,
    length: int | None,
    refuse: Callable[[], None] | None,
    operation: str,
) -> tuple[Kernel, Callable[..., None]]:
    """Open a kernel, or the kernel that this processor runs instead; return both.

    If another process removes the entry before it is opened, the kernel is located again.
    """
    tries = 1
    while True:
        kernel, entry = _locate(kernel, dtype, length, operation)
        if refuse is not None:
            refuse()
        try:
            return kernel, _open(entry, kernel, dtype, device)
        except EvictedError:
            if tries == _MAX_TRIES:
                raise
            tries += 1
        except RuntimeError as error:
            # A library of another system does not load here, and is built again.
            is_host = target_of(kernel.target).is_host
            if not is_host or not mark_unloadable(entry.library, str(error)):
                raise


def _locate(kernel: Kernel, dtype: str, length: int | None, operation: str) -> tuple[Kernel, Entry]:
    """Return a kernel, for the CPU one that this processor runs, and its entry."""
    if target_of(kernel.target).is_host:
        _load_found_runtime()
    while True:
        kernel = _runnable(kernel)
        entry = _entry_of(kernel, _prewarm_hint(kernel, dtype, length, operation))
        # If the runtime was built together with the kernel, the processor is known only now.
        if _runnable(kernel) == kernel:
            return kernel, entry


def _load_found_runtime() -> None:
    """Load the runtime if a cache has it; do not build it."""
    if not has_runtime():
        # `_ensure` meets the same error again, and handles it.
        with contextlib.suppress(BuildError):
            entries = layers.look_up([RUNTIME], layers.all_layers(), layers.stores())
            if entries:
                _runtime.load(entries[RUNTIME.name])


def _runnable(kernel: Kernel) -> Kernel:
    """Return a kernel; if this processor does not run it, the same one for its architecture."""
    target, module = target_of(kernel.target), _runtime.loaded()
    if not target.is_host or module is None:
        return kernel
    if target.runs_on(kernel.arch, str(module.cpu_arch())):
        return kernel
    return kernel._replace(arch=cpu_arch())


def _entry_of(kernel: Kernel, prewarm_hint: str) -> Entry:
    """Return a kernel's entry, or one for a lesser architecture if a tool is missing."""
    try:
        return _ready([kernel], prewarm_hint)[kernel.name]
    except MissingToolError:  # not where the user chose a compiler that does not work
        for arch in target_of(kernel.target).lesser_archs(kernel.arch):
            lesser = kernel._replace(arch=arch)
            with contextlib.suppress(MissingToolError):
                entry = _ready([lesser])[lesser.name]
                _warn_lesser_arch(kernel, arch, prewarm_hint)
                return entry
        raise


def _warn_lesser_arch(kernel: Kernel, arch: str, prewarm_hint: str) -> None:
    """Warn once that a kernel for a lesser architecture is used."""
    global _warned_of_lesser
    with _guard:
        warned, _warned_of_lesser = _warned_of_lesser, True
    if not warned:
        warn(
            f"the kernel {kernel.name} is in no cache and cannot be compiled here. A slower kernel "
            f"for {arch} is used; other sorts may use slower kernels, too. Install a C++ compiler "
            f"and ninja, or have another machine compile it (warp-bitonic-sort prewarm "
            f"{prewarm_hint}) and name the folder in WARP_SORT_CACHE_LAYERS."
        )


def _prewarm_hint(kernel: Kernel, dtype: str, length: int | None, operation: str) -> str:
    """Return the options with which ``prewarm`` builds a kernel into a folder."""
    if length is None:
        return "--help"
    return (
        f"--operation {operation} --backend {kernel.target} --arch {kernel.arch} --dtype {dtype} "
        f"--length {length} --into FOLDER"
    )


def _open(entry: Entry, kernel: Kernel, dtype: str, device: int) -> Callable[..., None]:
    module = runtime()
    target = target_of(kernel.target)
    function: Callable[..., None]
    if target.is_host:
        with pinned(entry) as name:
            function = module.open_cpu_kernel(name, dtype)
        return function
    ffi_device = device_of(kernel.target, device)
    native = str(module.gpu_arch(ffi_device))
    if native != kernel.arch and not target.runs_on(kernel.arch, native):
        raise BuildError(
            f"the kernel {kernel.name} is for {kernel.arch}, but device {device} is {native}, so "
            f"that it cannot be loaded. Set GPU_ARCH to native, or to a list with {native}."
        )
    with pinned(entry) as name:
        function = module.open_gpu_kernel(name, dtype, ffi_device)
    return function


def try_cpu_kernel(entry: Entry) -> None:
    """Load a CPU kernel and check its ABI.

    Raises
    ------
    EvictedError
        The entry was removed or replaced since it was checked.
    RuntimeError
        The library does not load, or is not a kernel with this runtime's ABI.
    """
    module = runtime()
    with pinned(entry) as name:
        module.describe_cpu_kernel(name)


# -- building --------------------------------------------------------------------------------------


def build_module() -> ModuleType:
    """Import and return `build.run`, which processes with a warm cache do not need."""
    from .build import run

    return run


def build(
    artifacts: Iterable[Artifact],
    jobs: int | None = None,
    is_quiet: bool = False,
    may_be_temporary: bool = True,
) -> dict[str, Entry]:
    """Put artifacts that no layer has into the cache, in one build, and load the runtime.

    Parameters
    ----------
    artifacts : iterable of Artifact
        The artifacts; no GPU is needed.
    jobs : int, optional
        How many compilers may run at once.
    is_quiet : bool, default False
        Whether to print no message that something is being compiled.
    may_be_temporary : bool, default True
        Whether a temporary folder is used if the cache cannot be written.

    Returns
    -------
    dict of str to Entry
        The entry of each artifact by its name.
    """
    needed = [] if has_runtime() else [RUNTIME]
    wanted = dict.fromkeys([*needed, *artifacts])
    return _ensure(list(wanted), may_be_temporary, jobs=jobs, is_quiet=is_quiet)


def build_into(
    runtime: Runtime,
    kernels: Sequence[Kernel],
    store: Store,
    jobs: int | None = None,
    is_quiet: bool = False,
) -> dict[str, Entry]:
    """Put kernels and a runtime into one cache, even if others have them; return the entries.

    Parameters
    ----------
    runtime : Runtime
        The runtime; one for another machine is not loaded.
    kernels : sequence of Kernel
        The kernels; no GPU is needed.
    store : Store
        The cache.
    jobs : int, optional
        How many compilers may run at once.
    is_quiet : bool, default False
        Whether to print no message that something is being compiled.
    """
    # Other users read the cache, but not the log of a failure, which is kept in the user's cache.
    options = {"jobs": jobs, "is_quiet": is_quiet, "logs": layers.user_store()}
    return _ensure([runtime, *kernels], may_be_temporary=False, into=store, **options)


def _ready(kernels: Sequence[Kernel], prewarm_hint: str = "--help") -> dict[str, Entry]:
    """Load the runtime and return each kernel's entry, building missing ones."""
    wanted: list[Artifact] = [] if has_runtime() else [RUNTIME]
    wanted += kernels
    return _ensure(wanted, prewarm_hint=prewarm_hint) if wanted else {}


@forks.held_off()
def _ensure(
    wanted: Sequence[Artifact],
    may_be_temporary: bool = True,
    into: Store | None = None,
    **options: Any,
) -> dict[str, Entry]:
    """Find or build artifacts, and load this machine's runtime if it is one of them.

    Options are those of `run.Options`.
    """
    require_sources()
    tries = 1
    while True:
        readers, stores = (layers.all_layers(), layers.stores()) if into is None else ([], [into])
        try:
            entries = layers.look_up(wanted, readers, stores)
            if len(entries) < len(wanted):
                run = build_module()
                run_options = run.Options(
                    _runtime.import_tvm_ffi_meanwhile, _check, _built.append, **options
                )
                entries = run.ensure(wanted, readers, stores, run_options)
            if RUNTIME in wanted:
                _runtime.load(entries[RUNTIME.name])
        except (CacheError, TrustError) as error:
            if isinstance(error, EvictedError) and tries < _MAX_TRIES:
                tries += 1
                continue
            if not may_be_temporary or not layers.use_temporary_store(error, stores[-1]):
                raise
        except _runtime.UnusableError:
            continue  # the unusable entry is not found again
        else:
            return entries


@forks.held_off()
def _check(artifact: Artifact, entries: Mapping[str, Entry]) -> None:
    """Load a built artifact, unless it is a device's code object, or for another machine."""
    if artifact == RUNTIME:
        _runtime.load(entries[RUNTIME.name], is_new=True)
    elif recipe_of(artifact.target).loads_here(artifact.arch):
        if RUNTIME.name in entries:
            _runtime.load(entries[RUNTIME.name])
        # The staging folder is private. The library stays loaded when its file is moved, and a
        # later load from the cache finds it by its inode.
        path = entries[artifact.name].library
        module = runtime()
        with explain_load_errors(path, str(path)):
            module.describe_cpu_kernel(str(path))
