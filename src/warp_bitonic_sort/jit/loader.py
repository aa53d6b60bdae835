"""The launcher and the kernels that this process holds open.

Invariant: `open_kernel` answers from a dict once a kernel is open; before that it takes the cache's
entry, or builds the kernel and, in the same ninja run, the launcher if that is missing too. A
library is published only after it was loaded; a device's code object as it is, for it may be for
another machine's device.
"""

from __future__ import annotations

import functools
import importlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import hip_compiler, ninja, settings, toolchain
from .cache import Cache, build_text, source_digests
from .errors import BuildError, CacheError, ToolError
from .spec import LAUNCHER, Artifact, Kernel

__all__ = [
    "build",
    "device_of",
    "has_launcher",
    "is_open",
    "launcher",
    "open_kernel",
    "open_kernels",
]

# What TVM FFI calls the platform of a back end, as DLPack does.
_PLATFORMS = {"cuda": "cuda", "hip": "rocm"}

_opened: dict[tuple[Kernel, str, int], Callable[..., None]] = {}
_launcher: Any = None
_guard = threading.Lock()


def open_kernels() -> list[str]:
    """Return the names of the kernels that this process holds open."""
    return sorted({kernel.name for kernel, _, _ in list(_opened)})


def is_open(kernel: Kernel, dtype: str, device: int) -> bool:
    """Tell whether `open_kernel` would answer at once."""
    return (kernel, dtype, device) in _opened


def has_launcher() -> bool:
    """Tell whether `launcher` would answer at once."""
    return _launcher is not None


def device_of(backend: str, number: int) -> Any:
    """Return what the launcher takes for a device of a back end, ``cuda`` or ``hip``."""
    import tvm_ffi

    return tvm_ffi.device(_PLATFORMS[backend], number)


def open_kernel(kernel: Kernel, dtype: str, device: int = 0) -> Callable[..., None]:
    """Open a kernel for a dtype, building it first if the cache does not have it.

    Parameters
    ----------
    kernel : CpuKernel, CudaKernel or HipKernel
        The specialization.
    dtype : str
        The dtype whose order it is to sort by, as ``dtype.hpp`` names it.
    device : int, default 0
        The number of the CUDA or HIP device.

    Returns
    -------
    callable
        ``call(x, out, axis, descending, nan_last)``: sorts x along axis into out; a device's
        takes a stream as a sixth argument, and may take a seventh that tells whether to remember
        the sort for the launcher's ``sort_remembered``.

    Raises
    ------
    ToolError
        No compiler or no ninja, and the cache does not have the kernel.
    BuildError
        The compiler failed, or what it made does not load.
    CacheError
        The cache folder cannot be written.
    RuntimeError
        The device's driver refused the kernel, in its own words.
    """
    function = _opened.get((kernel, dtype, device))
    if function is None:
        path = str(_ensure([kernel])[kernel.name])
        module = _load_launcher(None)
        if kernel.kind == "cpu_kernel":
            function = module.open_cpu_kernel(path, dtype)
        else:
            there = device_of(kernel.kind.removesuffix("_kernel"), device)
            function = module.open_gpu_kernel(path, dtype, there)
        _opened[kernel, dtype, device] = function
    return function


def launcher() -> Any:
    """Return the launcher module, building it first if the cache does not have it."""
    _ensure([])
    return _load_launcher(None)


def build(kernels: Iterable[Kernel]) -> None:
    """Put kernels into the cache, compiling in one ninja run what it does not have yet."""
    _ensure(list(dict.fromkeys(kernels)))


class _Tool:
    """The compiler of some artifacts, or why there is none."""

    def __init__(self, cache: Cache, find: Callable[[], toolchain.Compiler]) -> None:
        self.version: str | None = None
        self.compiler: toolchain.Compiler | None = None
        self.error: ToolError | None = None
        try:
            self.compiler = find()
        except ToolError as error:
            # What is in the cache needs no compiler; only building does.
            self.error = error
            return
        identity = self.compiler.identity()
        self.version = None if identity is None else cache.recall(identity)
        if self.version is None:
            self.version = self.compiler.version()
            if identity is not None:
                cache.remember(identity, self.version)

    def text(self, artifact: Artifact) -> str:
        options = () if self.compiler is None else self.compiler.options()
        return build_text(artifact, options)


def _tools(cache: Cache, artifacts: Sequence[Artifact]) -> dict[str, _Tool]:
    """Return the tool of each kind of artifact."""
    kinds = {artifact.kind for artifact in artifacts}
    tools: dict[str, _Tool] = {}
    if "cuda_kernel" in kinds:
        tools["cuda_kernel"] = _Tool(cache, toolchain.find_cuda_compiler)
    if "hip_kernel" in kinds:
        archs = sorted({artifact.arch for artifact in artifacts if artifact.kind == "hip_kernel"})
        refusal = functools.partial(_refusal, cache)
        tools["hip_kernel"] = _Tool(cache, lambda: toolchain.find_hip_compiler(archs, refusal))
    of_host = kinds - {"cuda_kernel", "hip_kernel"}
    if of_host:
        host = _Tool(cache, toolchain.find_compiler)
        tools.update(dict.fromkeys(of_host, host))
    return tools


def _refusal(cache: Cache, compiler: toolchain.Compiler, arch: str) -> str:
    """Return why a compiler does not build for an AMD GPU, asking it once for each binary."""
    identity = compiler.identity()
    question = None if identity is None else f"{identity}|{' '.join(hip_compiler.flags(arch))}"
    answer = None if question is None else cache.recall(question)
    if answer is None:
        answer = hip_compiler.refusal(compiler, arch)
        if question is not None and hip_compiler.lasts(answer):
            cache.remember(question, answer)
    return answer


def _ensure(kernels: Sequence[Kernel]) -> dict[str, Path]:
    """Load the launcher and return each kernel's library, building what is missing."""
    wanted: list[Artifact] = [] if _launcher is not None else [LAUNCHER]
    wanted += kernels
    if not wanted:
        return {}
    cache = Cache(settings.cache_dir())
    tools = _tools(cache, wanted)
    texts = {artifact.name: tools[artifact.kind].text(artifact) for artifact in wanted}
    found = _find(cache, wanted, texts, tools)
    missing = [artifact for artifact in wanted if artifact.name not in found]
    for artifact in missing:
        error = tools[artifact.kind].error
        if error is not None:
            raise error
    if missing:
        with cache.locked(missing):
            # Whoever held the locks before may have built what is missing here.
            found.update(_find(cache, missing, texts, tools))
            missing = [artifact for artifact in missing if artifact.name not in found]
            if missing:
                found.update(_build(cache, tools, missing, texts, found.get(LAUNCHER.name)))
    _load_launcher(found.get(LAUNCHER.name))
    return found


def _find(
    cache: Cache, artifacts: list[Artifact], texts: dict[str, str], tools: Mapping[str, _Tool]
) -> dict[str, Path]:
    entries = {a.name: cache.find(a, texts[a.name], tools[a.kind].version) for a in artifacts}
    return {name: entry.library for name, entry in entries.items() if entry is not None}


def _build(
    cache: Cache,
    tools: Mapping[str, _Tool],
    missing: list[Artifact],
    texts: dict[str, str],
    launcher_path: Path | None,
) -> dict[str, Path]:
    """Build in a staging folder, load from there, then publish; return the libraries."""
    program = toolchain.find_ninja()
    start = time.monotonic()
    sources = source_digests()
    files = {f"{a.name}/{ninja.SOURCES[a.kind]}": a.source() for a in missing}
    compilers = {
        kind: tool.compiler
        for kind, tool in tools.items()
        if tool.compiler is not None and any(a.kind == kind for a in missing)
    }
    files["build.ninja"] = ninja.text(missing, compilers)
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
            used = dict.fromkeys(f"{' '.join(c.command)} ({c.why})" for c in compilers.values())
            raise BuildError(
                f"compiling {names} failed (exit status {failure.status}) with "
                f"{' and '.join(used)}.\n"
                f"Whole log: {log}\n"
                f"First error: {line}\n"
                f"Hint: {hint}."
            )
        seconds = time.monotonic() - start
        for artifact in missing:
            library = folder / artifact.name / ninja.PRODUCTS[artifact.kind]
            if artifact is LAUNCHER:
                launcher_path = library
                _load_launcher(library)
            elif artifact.kind == "cpu_kernel":
                # Loads it and checks its ABI. The library stays loaded wherever its file goes, and
                # opening it from its final place later finds it by its inode.
                _load_launcher(launcher_path).describe_cpu_kernel(str(library))
        return {
            artifact.name: cache.publish(
                artifact,
                texts[artifact.name],
                tools[artifact.kind].version or "",
                folder / artifact.name,
                sources,
                seconds,
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
