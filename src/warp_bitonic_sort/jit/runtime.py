"""The runtime that this process has loaded: the library through which kernels are called.

Invariant: a process loads one runtime. Nothing is imported under the lock: two threads that had a
module's lock and this one, each waiting for the other's, would wait for ever.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable
from typing import Any

from ..errors import BuildError, CacheError, EvictedError
from ..process import forks, threads
from .store import layers
from .store.pinned import pinned
from .store.store import Entry, mark_unloadable

_loaded: Any = None
_guard = threading.RLock()  # a finalizer that sorts may run in the midst


class UnusableError(BuildError):
    """A runtime that was found does not load: another C library, say, than where it was built."""


def loaded() -> Any:
    """Return the module of the runtime; None where none is loaded yet."""
    return _loaded


def load(entry: Entry, is_new: bool = False) -> None:
    """Load this process's runtime, unless one is loaded already.

    Parameters
    ----------
    entry : Entry
        Where it lies.
    is_new : bool, default False
        Whether it was built just now.

    Raises
    ------
    UnusableError
        It was found and does not load. It will not be found again.
    EvictedError
        It was removed or replaced since it was found.
    BuildError
        It is new and does not load.
    """
    global _loaded
    if _loaded is not None:
        return
    open_library = _library_opener(import_tvm_ffi())
    threads.get_num_threads()  # may warn, which must not happen under the lock
    try:
        with _guard:
            if _loaded is None:
                with pinned(entry) as name:
                    module = open_library(name)
                threads.attach(module.set_thread_count)
                _loaded = module
    except EvictedError:
        raise
    except RuntimeError as error:
        if is_new and isinstance(error, CacheError):
            raise
        failure: type[BuildError] = BuildError
        if not is_new and mark_unloadable(entry.library, str(error)):
            layers.disable_layer(entry.library, str(error))
            failure = UnusableError
        if _loaded is None:  # or else a finalizer that sorted has loaded another
            raise failure(
                f"the runtime {entry.library} was built but does not load: {error}. "
                f"Remove the folder {entry.folder} and try again."
            ) from error


def _library_opener(tvm_ffi: Any) -> Callable[[str], Any]:
    """Return what does as ``tvm_ffi.load_module``, which takes no name that does not end in .so."""
    load_library = tvm_ffi.get_global_func("ffi.Module.load_from_file.so")
    keep = tvm_ffi.get_global_func("ffi.ModuleGlobalsAdd")

    def opened(name: str) -> Any:
        module = load_library(name, "so")
        keep(module)  # its functions may be called until the very end of the process
        return module

    return opened


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


def import_tvm_ffi_meanwhile() -> None:
    """Begin to import tvm_ffi in another thread, while compilers run.

    The import takes as long as a compiler where torch is installed.
    """
    if _loaded is None:
        with contextlib.suppress(RuntimeError):  # no more threads: it is imported later, then
            # No daemon: a process that ended meanwhile would abort in the midst of its C++.
            threading.Thread(target=_import_in_thread).start()


def _import_in_thread() -> None:
    # The call that needs the module raises what goes wrong.
    with forks.held_off(), contextlib.suppress(Exception):
        importlib.import_module("tvm_ffi")
