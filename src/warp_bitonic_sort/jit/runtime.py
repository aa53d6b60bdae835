"""Loads the runtime, the library through which kernels are called.

Invariant: a process loads one runtime. Nothing is imported while the lock is held: a thread that
holds a module's import lock may wait for this lock, and both threads would deadlock.
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
_guard = threading.RLock()  # re-entrant: a finalizer that sorts may run while it is held


class UnusableError(BuildError):
    """A cached runtime does not load, for example because it needs another C library."""


def loaded() -> Any:
    """Return the module of the runtime; None if it is not loaded yet."""
    return _loaded


def load(entry: Entry, is_new: bool = False) -> None:
    """Load the runtime, unless this process has loaded one already.

    Parameters
    ----------
    entry : Entry
        The runtime's entry.
    is_new : bool, default False
        Whether this process has just built the runtime.

    Raises
    ------
    UnusableError
        A cached runtime does not load. Later look-ups do not find it.
    EvictedError
        The entry was removed or replaced since it was looked up.
    BuildError
        A new runtime does not load.
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
        if _loaded is None:  # a finalizer that sorts may have loaded another one
            raise failure(
                f"the runtime {entry.library} was built but does not load: {error}. "
                f"Remove the folder {entry.folder} and try again."
            ) from error


def _library_opener(tvm_ffi: Any) -> Callable[[str], Any]:
    """Return ``tvm_ffi.load_module``, but for names of any ending, not only .so."""
    load_library = tvm_ffi.get_global_func("ffi.Module.load_from_file.so")
    keep_loaded = tvm_ffi.get_global_func("ffi.ModuleGlobalsAdd")

    def open_library(name: str) -> Any:
        module = load_library(name, "so")
        keep_loaded(module)  # its functions may be called until the very end of the process
        return module

    return open_library


def import_tvm_ffi() -> Any:
    """Import tvm_ffi and return it.

    Raises
    ------
    BuildError
        This call has interrupted an import of tvm_ffi on the same thread.
    """
    import tvm_ffi

    if not hasattr(tvm_ffi, "get_global_func"):
        raise BuildError(
            "a signal handler or a finalizer called sort while this thread was importing tvm_ffi "
            "for the first call of the process. Sort once before that, or call it later."
        )
    return tvm_ffi


def import_tvm_ffi_meanwhile() -> None:
    """Import tvm_ffi in another thread, while compilers run.

    If torch is installed, the import takes as long as a compiler.
    """
    if _loaded is None:
        with contextlib.suppress(RuntimeError):  # no more threads: it is imported later
            # Not a daemon thread: if the process ended meanwhile, its C++ code would abort.
            threading.Thread(target=_import_in_thread).start()


def _import_in_thread() -> None:
    # The call that needs the module raises the error again.
    with forks.held_off(), contextlib.suppress(Exception):
        importlib.import_module("tvm_ffi")
