"""The kernels that this process holds open, and the one door to ``build``.

Invariant: `open_kernel` answers from a dict once a kernel is open. Before that it takes the cache's
entry, or builds the kernel and, in the same ninja run, the runtime if that is missing too. A
library is published only after it was loaded; a device's code object is published unloaded, for it
may be for another machine's device.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

from ..errors import BuildError, CacheError, EvictedError, MissingToolError, TrustError
from ..kernels import RUNTIME, Artifact, Kernel
from ..process import forks
from ..process.warn import warn
from ..targets import HOST, target_of
from ..targets.common.sources import require_sources
from . import runtime as _runtime
from .store import layers
from .store.pinned import explain_load_errors, pinned
from .store.store import Entry, Store, mark_unloadable

# How often what was found or built may be removed by another process before it is loaded.
_MAX_TRIES = 5

_opened: dict[tuple[Kernel, str, int], Callable[..., None]] = {}
_built: list[str] = []
_warned_of_lesser = False
_guard = threading.RLock()  # a finalizer that sorts may run in the midst


def open_kernels() -> list[str]:
    """Return the names of the kernels that this process holds open."""
    return sorted({kernel.name for kernel, _, _ in list(_opened)})


def is_open(kernel: Kernel, dtype: str, device: int) -> bool:
    """Tell whether `open_kernel` would answer at once."""
    return (kernel, dtype, device) in _opened


def built() -> list[str]:
    """Return the names of the artifacts that this process has built, wherever it put them."""
    return list(_built)


def has_runtime() -> bool:
    """Tell whether `runtime` would answer at once."""
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

    Until the runtime is loaded, which asks the processor, /proc/cpuinfo tells. `open_kernel` opens
    no kernel that the processor does not run.

    Raises
    ------
    ToolError
        ``WARP_SORT_CPU_ARCH`` names no architecture, or one that the processor does not run.
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
) -> Callable[..., None]:
    """Open a kernel for a dtype, building it first if the cache does not have it.

    Parameters
    ----------
    kernel : Kernel
        The kernel.
    dtype : str
        The dtype whose order it is to sort by, as ``core/dtype.hpp`` names it.
    device : int, default 0
        The number of the device.
    length : int, optional
        The length of the rows, for the error that says how to have the kernel made elsewhere.
    refuse : callable, optional
        Called before a kernel is opened, with the runtime loaded, and before it is built if the
        runtime was loaded already: raises if that may not be now.

    Returns
    -------
    callable
        ``call(x, out, axis, descending, nan_last)``: sorts x along axis into out; a device's
        takes a stream as a sixth argument, and may take a seventh that tells whether to remember
        the sort for the runtime's ``open_launch_cache``.

    Raises
    ------
    ToolError
        No compiler or no ninja, or one that is wrong, and the cache does not have the kernel. (Of a
        CPU's kernels, one for a lesser architecture is taken then, with one warning.)
    BuildError
        The compiler failed, or its product does not load.
    CacheError
        Neither the cache folder nor a temporary one can be written.
    LockError
        Another process builds the same for longer than ``WARP_SORT_LOCK_TIMEOUT``.
    TrustError
        Other users can write the files that would be loaded, in a folder that the user named.
    RuntimeError
        The device's driver refused the kernel, in its own words.
    """
    function = _opened.get((kernel, dtype, device))
    if function is None:
        # `refuse` asks the runtime; where that has to be built, the kernel is built beside it.
        if refuse is not None and has_runtime():
            refuse()
            refuse = None
        opened, function = _open_located(kernel, dtype, device, length, refuse)
        _opened[kernel, dtype, device] = _opened[opened, dtype, device] = function
    return function


def _open_located(
    kernel: Kernel,
    dtype: str,
    device: int,
    length: int | None,
    refuse: Callable[[], None] | None,
) -> tuple[Kernel, Callable[..., None]]:
    """Open a kernel, or one that this processor runs instead, and return both.

    Another process may remove it between the two steps: then it is located again.
    """
    tries = 1
    while True:
        kernel, entry = _locate(kernel, dtype, length)
        if refuse is not None:
            refuse()
        try:
            return kernel, _open(entry, kernel, dtype, device)
        except EvictedError:
            if tries == _MAX_TRIES:
                raise
            tries += 1
        except RuntimeError as error:
            # A library may be for another system than this one, and is built again.
            is_host = target_of(kernel.target).is_host
            if not is_host or not mark_unloadable(entry.library, str(error)):
                raise


def _locate(kernel: Kernel, dtype: str, length: int | None) -> tuple[Kernel, Entry]:
    """Return a kernel and its entry: of a CPU's, the kernel that this processor runs."""
    if target_of(kernel.target).is_host:
        _load_found_runtime()
    while True:
        kernel = _runnable(kernel)
        entry = _entry_of(kernel, _prewarm_hint(kernel, dtype, length))
        # A runtime that was missing was built beside the kernel, and is asked now.
        if _runnable(kernel) == kernel:
            return kernel, entry


def _load_found_runtime() -> None:
    """Load the runtime if a cache has it; build nothing."""
    if not has_runtime():
        # `_ensure` meets an error again, and deals with it.
        with contextlib.suppress(BuildError):
            found = layers.look_up([RUNTIME], layers.all_layers(), layers.stores())
            if found:
                _runtime.load(found[RUNTIME.name])


def _runnable(kernel: Kernel) -> Kernel:
    """Return a kernel, or the same one for an architecture that this processor runs."""
    target, module = target_of(kernel.target), _runtime.loaded()
    if not target.is_host or module is None:
        return kernel
    if target.runs_on(kernel.arch, str(module.cpu_arch())):
        return kernel
    return kernel._replace(arch=cpu_arch())


def _entry_of(kernel: Kernel, prewarm_hint: str) -> Entry:
    """Return a kernel's entry, or that of a lesser architecture where nothing can be compiled."""
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
    """Warn once that a kernel for a lesser architecture is taken."""
    global _warned_of_lesser
    with _guard:
        warned, _warned_of_lesser = _warned_of_lesser, True
    if not warned:
        warn(
            f"the kernel {kernel.name} is in no cache and cannot be compiled here, so that for "
            f"{arch} is taken, and so are others: they sort the same, slower. Install a C++ "
            f"compiler and ninja, or have another machine compile it (warp-bitonic-sort prewarm "
            f"{prewarm_hint}) and name the folder in WARP_SORT_CACHE_LAYERS."
        )


def _prewarm_hint(kernel: Kernel, dtype: str, length: int | None) -> str:
    """Return the options that have ``prewarm`` make a kernel in a folder."""
    if length is None:
        return "--help"
    return (
        f"--backend {kernel.target} --arch {kernel.arch} --dtype {dtype} --length {length} "
        f"--into FOLDER"
    )


def _open(entry: Entry, kernel: Kernel, dtype: str, device: int) -> Callable[..., None]:
    module = runtime()
    target = target_of(kernel.target)
    function: Callable[..., None]
    if target.is_host:
        with pinned(entry) as name:
            function = module.open_cpu_kernel(name, dtype)
        return function
    place = device_of(kernel.target, device)
    native = str(module.gpu_arch(place))
    if native != kernel.arch and not target.runs_on(kernel.arch, native):
        raise BuildError(
            f"the kernel {kernel.name} is for {kernel.arch}, and device {device} is {native}: it "
            f"is not loaded. Set GPU_ARCH to native, or to a list that has the device's target."
        )
    with pinned(entry) as name:
        function = module.open_gpu_kernel(name, dtype, place)
    return function


def try_cpu_kernel(entry: Entry) -> None:
    """Load a CPU kernel and check its ABI.

    Raises
    ------
    EvictedError
        It was removed or replaced since it was checked.
    RuntimeError
        It does not load, or is no kernel of this runtime's.
    """
    module = runtime()
    with pinned(entry) as name:
        module.describe_cpu_kernel(name)


# -- building --------------------------------------------------------------------------------------


def build_module() -> ModuleType:
    """Import the module that builds: `build.run`. Most processes do without it."""
    from .build import run

    return run


def build(
    artifacts: Iterable[Artifact],
    jobs: int | None = None,
    is_quiet: bool = False,
    may_be_temporary: bool = True,
) -> dict[str, Entry]:
    """Put artifacts into the cache, compiling at once what no layer has, and load the runtime.

    Parameters
    ----------
    artifacts : iterable of Artifact
        What to build; a GPU need not be there.
    jobs : int, optional
        How many compilers may run at once.
    is_quiet : bool, default False
        Whether a person at a terminal is not to see what is being compiled.
    may_be_temporary : bool, default True
        Whether a temporary folder will do where the cache cannot be written.

    Returns
    -------
    dict of str to Entry
        The entry of each by its name.
    """
    needed = [] if has_runtime() else [RUNTIME]
    wanted = dict.fromkeys([*needed, *artifacts])
    return _ensure(list(wanted), may_be_temporary, jobs=jobs, is_quiet=is_quiet)


def build_into(
    kernels: Sequence[Kernel], store: Store, jobs: int | None = None, is_quiet: bool = False
) -> dict[str, Entry]:
    """Put kernels and the runtime into one cache, whatever other ones have; return the entries.

    Parameters
    ----------
    kernels : sequence of Kernel
        What to build; a GPU need not be there.
    store : Store
        Where to.
    jobs : int, optional
        How many compilers may run at once.
    is_quiet : bool, default False
        Whether a person at a terminal is not to see what is being compiled.
    """
    # The folder is filled for others; the log of a failure is this user's own.
    options = {"jobs": jobs, "is_quiet": is_quiet, "logs": layers.user_store()}
    return _ensure([RUNTIME, *kernels], may_be_temporary=False, into=store, **options)


def _ready(kernels: Sequence[Kernel], prewarm_hint: str = "--help") -> dict[str, Entry]:
    """Load the runtime and return each kernel's entry, building what is missing."""
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
    """Find or build what is wanted, and load the runtime; options are those of `run.Options`."""
    require_sources()
    tries = 1
    while True:
        readers, stores = (layers.all_layers(), layers.stores()) if into is None else ([], [into])
        try:
            found = layers.look_up(wanted, readers, stores)
            if len(found) < len(wanted):
                build = build_module()
                given = build.Options(
                    _runtime.import_tvm_ffi_meanwhile, _check, _built.append, **options
                )
                found = build.ensure(wanted, readers, stores, given)
            if RUNTIME.name in found:
                _runtime.load(found[RUNTIME.name])
        except (CacheError, TrustError) as error:
            if isinstance(error, EvictedError) and tries < _MAX_TRIES:
                tries += 1
                continue
            if not may_be_temporary or not layers.use_temporary_store(error, stores[-1]):
                raise
        except _runtime.UnusableError:
            continue  # without the one that was found
        else:
            return found


@forks.held_off()
def _check(artifact: Artifact, entries: Mapping[str, Entry]) -> None:
    """Load what a build made, as far as this machine can."""
    if artifact is RUNTIME:
        _runtime.load(entries[RUNTIME.name], is_new=True)
    elif target_of(artifact.target).is_host:
        if RUNTIME.name in entries:
            _runtime.load(entries[RUNTIME.name])
        # It lies in a private folder. It stays loaded wherever its file goes, and opening it from
        # there finds it by its inode.
        path = entries[artifact.name].library
        module = runtime()
        with explain_load_errors(path, str(path)):
            module.describe_cpu_kernel(str(path))
