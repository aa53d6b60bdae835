"""Describes how CUDA kernels are compiled: by nvcc, or by NVRTC without nvcc.

Invariant: if ``CUDA_HOME`` is wrong, that is an error; no other toolkit is used. A toolkit without
NVRTC is valid.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ... import settings
from ...errors import MissingToolError, ToolError
from ..common.compiler import Compiler, is_program, newest_first, which
from ..common.recipe import Probe, Recipe
from ..rtc.nvrtc import find_nvrtc
from . import arch as _arch

_HINT = "Set CUDA_HOME to a CUDA toolkit (12.0 or newer)."
# Device code only: a whole run of nvcc takes three times as long. Without the header that nvcc
# includes first: the package defines the few names of it that kernels use.
_FLAGS = ("-std=c++17", "-O3", "-cubin", "-D__CUDA_RUNTIME_H__", "-DWBS_WITHOUT_CUDA_RUNTIME")


class CudaRecipe(Recipe):
    """How CUDA kernels are compiled."""

    name = "cuda"
    source = "source.cu"
    product = "kernel.cubin"
    variable = "nvcc"
    is_library = False
    hints = (
        (
            r"Unsupported gpu architecture|is not defined for option 'gpu-architecture'"
            r"|invalid value for --gpu-architecture",
            "this CUDA toolkit does not know {arch}: install a newer one (or an "
            "older one, for an old device), and set CUDA_HOME to it",
        ),
        (
            r"unsupported GNU version|unsupported clang version",
            "the host compiler is too new for this CUDA toolkit; set NVCC_CCBIN to an older one, "
            "or CUDA_HOME to a newer toolkit",
        ),
        (
            r"failed to open libnvrtc-builtins",
            "NVRTC does not find its second library; reinstall it: "
            "pip install --force-reinstall nvidia-cuda-nvrtc",
        ),
    )

    def flags(self, arch: str) -> tuple[str, ...]:
        """Return the compiler's flags for an architecture, without include folders."""
        return (*_FLAGS, f"-arch={arch}")

    def find_compiler(self, arch: str, probe: Probe) -> Compiler:
        """Find nvcc, or NVRTC without nvcc."""
        return find_cuda_compiler()

    def arch_of(self, product: bytes) -> str | None:
        """Return the architecture that a cubin is for; None for another file."""
        return _arch.arch_of(product)


def find_nvcc() -> Compiler | None:
    """Find nvcc: only in ``CUDA_HOME`` if set, else on the PATH, else where installers put it."""
    home = settings.cuda_home()
    if home is not None:
        program = home / "bin" / "nvcc"
        return _nvcc(program, f"CUDA_HOME={home}") if is_program(program) else None
    nvcc = which("nvcc")
    if nvcc is not None:
        return _nvcc(nvcc, "nvcc on the PATH")
    for folder in toolkit_folders():
        program = folder / "bin" / "nvcc"
        if is_program(program):
            return _nvcc(program, f"the toolkit in {folder}")
    return None


def _nvcc(program: Path, origin: str) -> Compiler:
    return Compiler((str(program),), program, origin, "CUDA compiler", _HINT)


def find_cuda_compiler() -> Compiler:
    """Find nvcc, or NVRTC without nvcc; NVRTC first if ``WARP_SORT_RTC`` is set."""
    home = settings.cuda_home()
    nvcc = find_nvcc()
    if nvcc is not None and not settings.run_time_compilers():
        return nvcc
    nvrtc, skipped = find_nvrtc(home, toolkit_folders())
    if nvrtc is None and nvcc is not None and home is not None:
        nvrtc, skipped = find_nvrtc(None, toolkit_folders())
    reasons = [skipped] if skipped else []
    if nvrtc is not None:
        reasons.append("there is no nvcc" if nvcc is None else "WARP_SORT_RTC is set")
        return nvrtc._replace(origin="; ".join([nvrtc.origin, *reasons]))
    if nvcc is not None:
        reasons.append("WARP_SORT_RTC is set, but there is no NVRTC")
        return nvcc._replace(origin="; ".join([nvcc.origin, *reasons]))
    older = f" ({skipped})" if skipped else ""
    if home is not None:
        raise ToolError(
            f"CUDA_HOME: {str(home)!r} holds neither bin/nvcc nor NVRTC (libnvrtc.so.12 or newer, "
            f"in lib64 or lib){older}. {_HINT} Or unset it."
        )
    raise MissingToolError(
        "no CUDA compiler: kernels for CUDA devices are compiled on first use, and there is "
        "neither nvcc (in CUDA_HOME, on the PATH, in /usr/local/cuda or in /opt/cuda) nor NVRTC "
        f"(in the package nvidia-cuda-nvrtc, in a toolkit, or in folders of libraries){older}. "
        "Install the CUDA toolkit (12.0 or newer), or NVRTC alone (pip install nvidia-cuda-nvrtc; "
        "for drivers of CUDA 12: nvidia-cuda-nvrtc-cu12), or set CUDA_HOME to where either is."
    )


def toolkit_folders() -> Iterator[Path]:
    """Yield the folders of installed toolkits: the default one first, then the newest first."""
    yield Path("/usr/local/cuda")
    yield Path("/opt/cuda")
    yield from newest_first(Path("/usr/local"), "cuda-[0-9]*")
