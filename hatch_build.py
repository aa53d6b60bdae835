"""Puts compiled kernels into wheels if ``WARP_SORT_WHEEL_LAYER`` is set.

Invariant: ``warp-bitonic-sort prewarm`` builds the kernels in the same way as a first call does.
Without the variable, a wheel is pure Python and compiles on demand, like an installation from a
source tree or an sdist.
"""

from __future__ import annotations

import atexit
import os
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
# The options of ``common``: a dtype for each codec and width; the lengths of neighbourhoods,
# experts and beams. The kernel for 33 also sorts longer rows, of up to 16384 elements. Kernels with
# indices are for the most common dtypes and lengths only.
_COMMON = (
    "--operation sort --dtype uint8,int16,int32,int64,float16,bfloat16,float32,float64 "
    "--length 2-10,12,16,20,24,25,27,32,33",
    "--operation argsort,top_k --dtype float32,int64 --length 4,8,9,16,25,32,33",
)
_LEVELS = {"x86_64": "x86-64,x86-64-avx2,x86-64-avx512,x86-64-avx512-256", "aarch64": "aarch64"}


class CustomBuildHook(BuildHookInterface[Any]):
    """Builds the layer before the wheel, and removes it afterwards."""

    _layer: Path | None = None

    def dependencies(self) -> list[str]:
        """Return the requirements of the build: the dependencies of the package."""
        return list(self.metadata.core.dependencies) if self._chosen() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fill a folder with kernels and include it in the wheel."""
        chosen = self._chosen()
        if not chosen or version == "editable":
            return
        self._layer = Path(tempfile.mkdtemp(prefix="warp-sort-wheel-"))
        # Also if the build is interrupted or fails.
        atexit.register(shutil.rmtree, self._layer, ignore_errors=True)
        for options in _COMMON if chosen == "common" else [chosen]:
            self._prewarm(self._layer, options)
        entries = self._layer / "v1" / "entries"
        build_data["force_include"][str(entries)] = "warp_bitonic_sort/layer/v1/entries"
        build_data["pure_python"] = False
        # Kernels do not depend on Python's ABI. They need a C library as new as this machine's,
        # which auditwheel reports.
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"

    def _prewarm(self, layer: Path, options: str) -> None:
        """Build the kernels of some options of ``warp-bitonic-sort prewarm`` into a folder."""
        arguments = shlex.split(options)
        machine = os.uname().machine
        if not any(word.split("=")[0] == "--arch" for word in arguments) and machine in _LEVELS:
            # The wheel is also for other machines.
            arguments += ["--arch", _LEVELS[machine]]
        # pip puts the requirements of the build into PYTHONPATH, too.
        path = [str(Path(self.root) / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
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
        if self._layer is not None:
            shutil.rmtree(self._layer, ignore_errors=True)

    def _chosen(self) -> str:
        return "" if self.target_name != "wheel" else os.environ.get(_VARIABLE, "").strip()
