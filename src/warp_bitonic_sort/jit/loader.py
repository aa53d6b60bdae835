"""The launcher and the kernels that this process holds open.

Invariant: `open_kernel` answers from a dict once a kernel is open; before that it takes the cache's
entry, or builds the kernel and, in the same ninja run, the launcher if that is missing too. Nothing
is published before it was loaded.
"""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from . import ninja, settings, toolchain
from .cache import Cache, build_text, source_digests
from .errors import BuildError, CacheError, ToolError
from .spec import LAUNCHER, Artifact, CpuKernel

__all__ = ["build", "launcher", "open_kernel", "open_kernels"]

_opened: dict[tuple[CpuKernel, str], Callable[..., None]] = {}
_launcher: Any = None
_guard = threading.Lock()


def open_kernels() -> list[str]:
    """Return the names of the kernels that this process holds open."""
    return sorted({kernel.name for kernel, _ in list(_opened)})


def open_kernel(kernel: CpuKernel, dtype: str) -> Callable[..., None]:
    """Open a kernel for a dtype, building it first if the cache does not have it.

    Parameters
    ----------
    kernel : CpuKernel
        The specialization.
    dtype : str
        The dtype whose order it is to sort by, as ``dtype.hpp`` names it.

    Returns
    -------
    callable
        ``call(x, out, axis, descending, nan_last)``: sorts x along axis into out.

    Raises
    ------
    ToolError
        No compiler or no ninja, and the cache does not have the kernel.
    BuildError
        The compiler failed, or the library it made does not load.
    CacheError
        The cache folder cannot be written.
    """
    function = _opened.get((kernel, dtype))
    if function is None:
        path = _ensure([kernel])[kernel.name]
        function = _load_launcher(None).open_cpu_kernel(str(path), dtype)
        _opened[kernel, dtype] = function
    return function


def launcher() -> Any:
    """Return the launcher module, building it first if the cache does not have it."""
    _ensure([])
    return _load_launcher(None)


def build(kernels: Iterable[CpuKernel]) -> None:
    """Put kernels into the cache, compiling in one ninja run what it does not have yet."""
    _ensure(list(dict.fromkeys(kernels)))


def _ensure(kernels: Sequence[CpuKernel]) -> dict[str, Path]:
    """Load the launcher and return each kernel's library, building what is missing."""
    wanted: list[Artifact] = [] if _launcher is not None else [LAUNCHER]
    wanted += kernels
    if not wanted:
        return {}
    cache = Cache(settings.cache_dir())
    try:
        compiler = toolchain.find_compiler()
    except ToolError as error:
        # What is in the cache needs no compiler; only building does.
        found = _find(cache, wanted, {a.name: build_text(a) for a in wanted}, None)
        if len(found) < len(wanted):
            raise error
        _load_launcher(found.get(LAUNCHER.name))
        return found
    identity = compiler.identity()
    version = None if identity is None else cache.recall(identity)
    if version is None:
        version = compiler.version()
        if identity is not None:
            cache.remember(identity, version)
    texts = {artifact.name: build_text(artifact, compiler.options()) for artifact in wanted}
    found = _find(cache, wanted, texts, version)
    missing = [artifact for artifact in wanted if artifact.name not in found]
    if missing:
        with cache.locked(missing):
            # Whoever held the locks before may have built what is missing here.
            found.update(_find(cache, missing, texts, version))
            missing = [artifact for artifact in missing if artifact.name not in found]
            if missing:
                found.update(
                    _build(cache, compiler, version, missing, texts, found.get(LAUNCHER.name))
                )
    _load_launcher(found.get(LAUNCHER.name))
    return found


def _find(
    cache: Cache, artifacts: list[Artifact], texts: dict[str, str], version: str | None
) -> dict[str, Path]:
    entries = {a.name: cache.find(a, texts[a.name], version) for a in artifacts}
    return {name: entry.library for name, entry in entries.items() if entry is not None}


def _build(
    cache: Cache,
    compiler: toolchain.Compiler,
    version: str,
    missing: list[Artifact],
    texts: dict[str, str],
    launcher_path: Path | None,
) -> dict[str, Path]:
    """Build in a staging folder, load from there, then publish; return the libraries."""
    program = toolchain.find_ninja()
    start = time.monotonic()
    sources = source_digests()
    files = {f"{artifact.name}/{ninja.SOURCE}": artifact.source() for artifact in missing}
    files["build.ninja"] = ninja.text(missing, compiler)
    if _launcher is None:
        # Importing tvm_ffi takes as long as a compiler does where torch is installed: do both.
        threading.Thread(target=importlib.import_module, args=("tvm_ffi",), daemon=True).start()
    with cache.staging(files) as folder:
        failure = ninja.build(folder, missing, program)
        if failure is not None:
            names = ", ".join(artifact.name for artifact in missing)
            try:
                log = str(cache.keep_log(missing[-1].name, failure.log))
            except CacheError as error:
                log = f"not kept: {error}"
            line, hint = ninja.first_error(failure.log)
            raise BuildError(
                f"compiling {names} failed (exit status {failure.status}) with "
                f"{' '.join(compiler.command)} ({compiler.why}).\n"
                f"Whole log: {log}\n"
                f"First error: {line}\n"
                f"Hint: {hint}."
            )
        seconds = time.monotonic() - start
        for artifact in missing:
            library = folder / artifact.name / ninja.LIBRARY
            if artifact is LAUNCHER:
                launcher_path = library
                _load_launcher(library)
            else:
                # Loads it and checks its ABI. The library stays loaded wherever its file goes, and
                # opening it from its final place later finds it by its inode.
                _load_launcher(launcher_path).describe_cpu_kernel(str(library))
        return {
            artifact.name: cache.publish(
                artifact, texts[artifact.name], version, folder / artifact.name, sources, seconds
            ).library
            for artifact in missing
        }


def _load_launcher(path: Path | None) -> Any:
    """Return this process's launcher, loaded from path by the first call."""
    global _launcher
    with _guard:
        if _launcher is None:
            import tvm_ffi

            try:
                _launcher = tvm_ffi.load_module(str(path))
            except RuntimeError as error:
                raise BuildError(
                    f"the launcher {path} was built but does not load: {error}. "
                    f"Remove the folder {settings.cache_dir()} and try again."
                ) from error
        return _launcher
