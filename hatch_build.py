"""Puts compiled kernels into wheels if ``WARP_SORT_WHEEL_LAYER`` is set.

Invariant: ``warp-bitonic-sort prewarm`` builds the kernels in the same way as a first call does.
Without the variable, a wheel is pure Python and compiles on demand, like an installation from a
source tree or an sdist. ``WARP_SORT_WHEEL_PLATFORM``, as in manylinux_2_28_aarch64, chooses Zig's
compiler, which links with the C library of the platform and compiles for other machines. Without
it, this machine's compiler builds for this machine.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_VARIABLE = "WARP_SORT_WHEEL_LAYER"
_PLATFORM = "WARP_SORT_WHEEL_PLATFORM"
# The options of ``common``: a dtype for each codec and width; the lengths of neighbourhoods,
# experts and beams. The kernel for 33 also sorts longer rows, of up to 16384 elements. Kernels with
# indices are for the most common dtypes and lengths only.
_COMMON = (
    "--operation sort --dtype uint8,int16,int32,int64,float16,bfloat16,float32,float64 "
    "--length 2-10,12,16,20,24,25,27,32,33",
    "--operation argsort,top_k --dtype float32,int64 --length 4,8,9,16,25,32,33",
)
_LEVELS = {"x86_64": "x86-64,x86-64-avx2,x86-64-avx512,x86-64-avx512-256", "aarch64": "aarch64"}
_ZIG = "ziglang==0.17.1"
# Zig's linker lacks --exclude-libs; of its static libraries, only operators new and delete are
# visible. For -Og, Zig compiles checks into the code, and a small call takes half as long again.
_ZIG_SCRIPT = """\
#!/bin/sh
for word do
  shift
  case $word in
    -Wl,*,--exclude-libs,ALL*)
      word=${{word%%,--exclude-libs,ALL*}}${{word#*,--exclude-libs,ALL}} ;;
    -Og)
      word=-O2 ;;
  esac
  set -- "$@" "$word"
done
exec {zig} c++ -target {machine}-linux-gnu.{glibc} -s "$@"
"""


class CustomBuildHook(BuildHookInterface[Any]):
    """Builds the layer before the wheel, and removes it afterwards."""

    _folder: Path | None = None

    def dependencies(self) -> list[str]:
        """Return the requirements of the build: the dependencies of the package."""
        if not self._chosen():
            return []
        compiler = [_ZIG] if os.environ.get(_PLATFORM) else []
        return [*self.metadata.core.dependencies, *compiler]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fill a folder with kernels and include it in the wheel."""
        chosen, platform = self._chosen(), os.environ.get(_PLATFORM, "").strip()
        if platform and not chosen:
            raise RuntimeError(f"{_PLATFORM}: it is for wheels with kernels; set {_VARIABLE}, too.")
        if not chosen or version == "editable":
            return
        folder = self._folder = Path(tempfile.mkdtemp(prefix="warp-sort-wheel-"))
        # Also if the build is interrupted or fails.
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        # Kernels do not depend on Python's ABI. Without a chosen platform, they need a C library as
        # new as this machine's, which auditwheel reports.
        tag = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        machine, settings = os.uname().machine, {}
        if platform:
            machine, glibc = _parsed(platform)
            tag, settings = platform, {"CXX": str(_write_zig(folder / "c++", machine, glibc))}
        layer = folder / "layer"
        for options in _COMMON if chosen == "common" else [chosen]:
            self._prewarm(layer, options, machine, settings)
        entries = layer / "v1" / "entries"
        build_data["force_include"][str(entries)] = "warp_bitonic_sort/layer/v1/entries"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{tag}"

    def _prewarm(self, layer: Path, options: str, machine: str, settings: dict[str, str]) -> None:
        """Build the kernels of some options of ``warp-bitonic-sort prewarm`` into a folder."""
        arguments = shlex.split(options)
        if not any(word.split("=")[0] == "--arch" for word in arguments) and machine in _LEVELS:
            # The wheel is also for other machines.
            arguments += ["--arch", _LEVELS[machine]]
        # pip puts the requirements of the build into PYTHONPATH, too.
        path = [str(Path(self.root) / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, **settings, "PYTHONPATH": os.pathsep.join(path)}
        command = [sys.executable, "-m", "warp_bitonic_sort", "prewarm", "--into", str(layer)]
        done = subprocess.run([*command, *arguments], env=environment, check=False)
        if done.returncode != 0:
            raise RuntimeError(
                f"{_VARIABLE}: expected common or options of warp-bitonic-sort prewarm, got "
                f"{options!r}. prewarm ended with status {done.returncode}; its error is above."
            )

    def finalize(
        self,
        version: str,  # noqa: ARG002 - the signature of hooks
        build_data: dict[str, Any],  # noqa: ARG002
        artifact_path: str,  # noqa: ARG002
    ) -> None:
        """Remove the folder."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _chosen(self) -> str:
        return "" if self.target_name != "wheel" else os.environ.get(_VARIABLE, "").strip()


def _parsed(platform: str) -> tuple[str, str]:
    """Return the machine of a platform, and the version of its C library."""
    match = re.fullmatch(r"manylinux_(\d+)_(\d+)_(\w+)", platform)
    if match is None or match[3] not in _LEVELS:
        raise RuntimeError(
            f"{_PLATFORM}: expected manylinux_2_28_{{{','.join(_LEVELS)}}} or the like, got "
            f"{platform!r}."
        )
    return match[3], f"{match[1]}.{match[2]}"


def _write_zig(script: Path, machine: str, glibc: str) -> Path:
    """Write a script that runs Zig's C++ compiler for a machine and a C library; return it."""
    package = importlib.util.find_spec("ziglang")
    if package is None or package.origin is None:
        raise RuntimeError(f"{_PLATFORM}: it needs {_ZIG}, which is not installed.")
    zig = shlex.quote(str(Path(package.origin).with_name("zig")))
    script.write_text(_ZIG_SCRIPT.format(zig=zig, machine=machine, glibc=glibc))
    script.chmod(0o755)
    return script
