"""The runtime and the kernels that this process holds open.

Invariant: `open_kernel` answers from a dict once a kernel is open; before that it takes the cache's
entry, or builds the kernel and, in the same ninja run, the runtime if that is missing too. A
library is published only after it was loaded; a device's code object as it is, for it may be for
another machine's device.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ..errors import BuildError, CacheError, EvictedError, MissingToolError, TrustError
from ..kernels import RUNTIME, Artifact, Kernel
from ..process import forks, threads
from ..process.warn import warn
from . import cpu_targets, toolchain
from .store import layers
from .store.pinned import explained, pinned
from .store.store import Entry, Store, mark_unloadable

__all__ = [
    "build",
    "build_into",
    "device_of",
    "has_runtime",
    "import_tvm_ffi",
    "is_open",
    "open_kernel",
    "open_kernels",
    "runtime",
    "try_cpu_kernel",
]

# What TVM FFI calls the platform of a back end, as DLPack does.
_PLATFORMS = {"cuda": "cuda", "hip": "rocm"}
# How often what was found or built may be removed by another process before it is loaded.
_MAX_TRIES = 5


class _UnusableError(BuildError):
    """A runtime that was found does not load: another C library, say, than where it was built."""


_opened: dict[tuple[Kernel, str, int], Callable[..., None]] = {}
_runtime: Any = None
_was_told_of_lesser = False
# Re-entrant: a finalizer that sorts may run in the midst. Nothing is imported under it: two threads
# that had a module's lock and this one, each waiting for the other's, would wait for ever.
_guard = threading.RLock()


def open_kernels() -> list[str]:
    """Return the names of the kernels that this process holds open."""
    return sorted({kernel.name for kernel, _, _ in list(_opened)})


def is_open(kernel: Kernel, dtype: str, device: int) -> bool:
    """Tell whether `open_kernel` would answer at once."""
    return (kernel, dtype, device) in _opened


def has_runtime() -> bool:
    """Tell whether `runtime` would answer at once."""
    return _runtime is not None


def device_of(backend: str, number: int) -> Any:
    """Return what the runtime takes for a device of a back end, ``cuda`` or ``hip``."""
    import tvm_ffi

    return tvm_ffi.device(_PLATFORMS[backend], number)


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
        The specialization.
    dtype : str
        The dtype whose order it is to sort by, as ``core/dtype.hpp`` names it.
    device : int, default 0
        The number of the CUDA or HIP device.
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
        CPU's kernels, those for lesser processors will do where there is none, the best first, with
        one warning.)
    BuildError
        The compiler failed, or what it made does not load.
    CacheError
        Neither the cache folder nor a temporary one can be written.
    LockError
        Another process builds the same for longer than ``WARP_SORT_LOCK_TIMEOUT``.
    TrustError
        Other users can write what would be loaded, but for a cache folder that nobody named.
    RuntimeError
        The device's driver refused the kernel, in its own words.
    """
    function = _opened.get((kernel, dtype, device))
    if function is None:
        # The runtime is what tells; where it has to be built, the kernel is built beside it.
        had_runtime = has_runtime()
        if refuse is not None and had_runtime:
            refuse()
        asked = kernel
        kernel, function = _open_located(
            kernel, dtype, device, length, None if had_runtime else refuse
        )
        _opened[asked, dtype, device] = _opened[kernel, dtype, device] = function
    return function


def cpu_arch() -> str:
    """Return the CPU target to sort with: ``WARP_SORT_CPU_ARCH``, else this processor's best.

    Until the runtime is loaded, which asks the processor, /proc/cpuinfo tells. `open_kernel` opens
    no kernel that was planned by a promise that the processor does not keep.

    Raises
    ------
    ToolError
        ``WARP_SORT_CPU_ARCH`` names no target, or one that the processor does not run.
    """
    return toolchain.cpu_arch(None if _runtime is None else str(_runtime.cpu_arch()))


def _open_located(
    kernel: Kernel,
    dtype: str,
    device: int,
    length: int | None,
    refuse: Callable[[], None] | None,
) -> tuple[Kernel, Callable[..., None]]:
    """Open a kernel, or what this processor runs instead, and return both.

    Another process may remove it between the two steps: then it is located again.
    """
    tries = 1
    while True:
        kernel, entry = _located(kernel, dtype, length)
        if refuse is not None:
            refuse()
        try:
            return kernel, _open(entry, kernel, dtype, device)
        except EvictedError:
            if tries == _MAX_TRIES:
                raise
            tries += 1
        except RuntimeError as error:
            # It may be for another system than this, and is built again. (What a driver says of a
            # GPU's is for the caller.)
            if kernel.target != "cpu" or not mark_unloadable(entry.library, str(error)):
                raise


def _located(kernel: Kernel, dtype: str, length: int | None) -> tuple[Kernel, Entry]:
    """Return a kernel and its entry: of a CPU's, the kernel that this processor runs."""
    if kernel.target == "cpu":
        _load_found_runtime()
    while True:
        kernel = _runnable(kernel)
        order = "--help" if length is None else _order(kernel, dtype, length)
        entry = _found(kernel, order)
        # A runtime that was missing was built beside the kernel, and is asked now.
        if _runnable(kernel) == kernel:
            return kernel, entry


def _load_found_runtime() -> None:
    """Load the runtime if a cache has it; build nothing."""
    if _runtime is None:
        # What hinders, `_ensure` meets again, and deals with.
        with contextlib.suppress(BuildError):
            found = layers.look_up([RUNTIME], layers.all_layers(), layers.stores())
            if found:
                _load_runtime(found[RUNTIME.name])


def _runnable(kernel: Kernel) -> Kernel:
    """Return a kernel, or the same one for a target that the processor runs, once that is known."""
    if kernel.target != "cpu" or _runtime is None:
        return kernel
    if cpu_targets.is_runnable(kernel.arch, str(_runtime.cpu_arch())):
        return kernel
    return kernel._replace(arch=cpu_arch())


def _found(kernel: Kernel, order: str) -> Entry:
    """Return a kernel's entry, or that of a lesser CPU target where nothing can be compiled."""
    try:
        return _ready([kernel], order)[kernel.name]
    except MissingToolError:  # a compiler that was asked for and is wrong is not made up for
        if kernel.target == "cpu":
            for arch in toolchain.lesser_cpu_archs(kernel.arch):
                lesser = kernel._replace(arch=arch)
                with contextlib.suppress(MissingToolError):
                    entry = _ready([lesser])[lesser.name]
                    _tell_of_lesser(kernel, arch, order)
                    return entry
        raise


def _tell_of_lesser(kernel: Kernel, arch: str, order: str) -> None:
    """Warn once that a kernel for a lesser target is taken."""
    global _was_told_of_lesser
    with _guard:
        was_told, _was_told_of_lesser = _was_told_of_lesser, True
    if not was_told:
        warn(
            f"the kernel {kernel.name} is in no cache and cannot be compiled here, so that for "
            f"{arch} is taken, and so are others: they sort the same, slower. Install a C++ "
            f"compiler and ninja, or have another machine compile it (warp-bitonic-sort prewarm "
            f"{order}) and name the folder in WARP_SORT_CACHE_LAYERS."
        )


def _order(kernel: Kernel, dtype: str, length: int) -> str:
    """Return the options that have ``prewarm`` make a kernel in a folder."""
    return (
        f"--backend {kernel.target} --arch {kernel.arch} --dtype {dtype} --length {length} "
        "--into FOLDER"
    )


def _open(entry: Entry, kernel: Kernel, dtype: str, device: int) -> Callable[..., None]:
    module = runtime()
    function: Callable[..., None]
    if kernel.target == "cpu":
        with pinned(entry) as name:
            function = module.open_cpu_kernel(name, dtype)
        return function
    there = device_of(kernel.target, device)
    native = str(module.gpu_arch(there))
    if native != kernel.arch and not _runs_on(kernel.arch, native):
        raise BuildError(
            f"the kernel {kernel.name} is for {kernel.arch}, and device {device} is {native}: it "
            f"is not loaded. Set GPU_ARCH to native, or to a list that has the device's target."
        )
    with pinned(entry) as name:
        function = module.open_gpu_kernel(name, dtype, there)
    return function


def _runs_on(arch: str, native: str) -> bool:
    from . import gpu_targets  # a kernel for the device's own target needs none of it

    return gpu_targets.runs_on(arch, native)


def runtime() -> Any:
    """Return the runtime module, building it first if the cache does not have it."""
    _ready([])
    return _runtime


def build(
    artifacts: Iterable[Artifact],
    jobs: int | None = None,
    is_quiet: bool = False,
    may_degrade: bool = True,
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
    may_degrade : bool, default True
        Whether a temporary folder will do where the cache cannot be written.

    Returns
    -------
    dict of str to Entry
        The entry of each by its name.
    """
    needed = [] if _runtime is not None else [RUNTIME]
    wanted = dict.fromkeys([*needed, *artifacts])
    return _ensure(list(wanted), may_degrade, jobs=jobs, is_quiet=is_quiet)


def _ready(kernels: Sequence[Kernel], order: str = "--help") -> dict[str, Entry]:
    """Load the runtime and return each kernel's entry, building what is missing."""
    wanted: list[Artifact] = [] if _runtime is not None else [RUNTIME]
    wanted += kernels
    return _ensure(wanted, order=order) if wanted else {}


@forks.held_off()
def _ensure(
    wanted: Sequence[Artifact],
    may_degrade: bool = True,
    into: Store | None = None,
    **options: Any,
) -> dict[str, Entry]:
    """Find or build what is wanted, and load the runtime; options are those of `builder`."""
    toolchain.require_sources()
    tries = 1
    while True:
        readers, stores = (layers.all_layers(), layers.stores()) if into is None else ([], [into])
        try:
            found = layers.look_up(wanted, readers, stores)
            if len(found) < len(wanted):
                found = _build(wanted, readers, stores, options)
            if RUNTIME.name in found:
                _load_runtime(found[RUNTIME.name])
        except (CacheError, TrustError) as error:
            if isinstance(error, EvictedError) and tries < _MAX_TRIES:
                tries += 1
                continue
            if not may_degrade or not layers.use_temporary_store(error, stores[-1]):
                raise
        except _UnusableError:
            continue  # without the one that was found
        else:
            return found


def _build(
    wanted: Sequence[Artifact],
    readers: Sequence[Store],
    stores: Sequence[Store],
    options: Mapping[str, Any],
) -> dict[str, Entry]:
    from . import builder  # which most processes do without

    given = builder.Options(_import_tvm_ffi, _check, **options)
    return builder.ensure(wanted, readers, stores, given)


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
    # What is filled is for others; a failure is this user's own.
    options = {"jobs": jobs, "is_quiet": is_quiet, "logs": layers.user_store()}
    return _ensure([RUNTIME, *kernels], may_degrade=False, into=store, **options)


def _import_tvm_ffi() -> None:
    if _runtime is None:
        # Importing tvm_ffi takes as long as a compiler does where torch is installed: do both. (Not
        # as a daemon: a process that ended meanwhile would abort in the midst of its C++.)
        with contextlib.suppress(RuntimeError):  # no more threads: it is imported later, then
            threading.Thread(target=_imported_tvm_ffi).start()


def _imported_tvm_ffi() -> None:
    # What hinders, whoever needs it is told.
    with forks.held_off(), contextlib.suppress(Exception):
        importlib.import_module("tvm_ffi")


@forks.held_off()
def _check(artifact: Artifact, entries: Mapping[str, Entry]) -> None:
    """Load what a build made, as far as this machine can."""
    if artifact is RUNTIME:
        _load_runtime(entries[RUNTIME.name], is_new=True)
    elif artifact.target == "cpu":
        if RUNTIME.name in entries:
            _load_runtime(entries[RUNTIME.name])
        # It lies in a private folder. It stays loaded wherever its file goes, and opening it from
        # there finds it by its inode.
        path = entries[artifact.name].library
        module = runtime()
        with explained(path, str(path)):
            module.describe_cpu_kernel(str(path))


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


def _load_runtime(entry: Entry, is_new: bool = False) -> None:
    """Load this process's runtime, unless it is loaded already.

    One that was found and does not load is not found again. A new one that does not is an error.
    """
    global _runtime
    if _runtime is not None:
        return
    load = _loading(import_tvm_ffi())
    threads.get_num_threads()  # may warn, which is not to be done under the lock
    try:
        with _guard:
            if _runtime is None:
                with pinned(entry) as name:
                    loaded = load(name)
                threads.attach(loaded.set_thread_count)
                _runtime = loaded
    except EvictedError:
        raise
    except RuntimeError as error:
        if is_new and isinstance(error, CacheError):
            raise
        failure: type[BuildError] = BuildError
        if not is_new and mark_unloadable(entry.library, str(error)):
            layers.disable_layer(entry.library, str(error))
            failure = _UnusableError
        if _runtime is None:  # or else a finalizer that sorted has built another
            raise failure(
                f"the runtime {entry.library} was built but does not load: {error}. "
                f"Remove the folder {entry.folder} and try again."
            ) from error


def _loading(tvm_ffi: Any) -> Callable[[str], Any]:
    """Return what does as ``tvm_ffi.load_module``, which takes no name that does not end in .so."""
    load = tvm_ffi.get_global_func("ffi.Module.load_from_file.so")
    keep = tvm_ffi.get_global_func("ffi.ModuleGlobalsAdd")

    def loaded(name: str) -> Any:
        module = load(name, "so")
        keep(module)  # its functions may be called until the very end of the process
        return module

    return loaded


def import_tvm_ffi() -> Any:
    """Import tvm_ffi and return it.

    Raises
    ------
    BuildError
        This call has interrupted that very import on the same thread.
    """
    import tvm_ffi

    if not hasattr(tvm_ffi, "get_global_func"):
        raise BuildError(
            "a signal handler or a finalizer called sort while this thread was importing tvm_ffi, "
            "which the first call of a process does. Sort something before, or later."
        )
    return tvm_ffi
