"""Puts compiled kernels into wheels, where ``WARP_SORT_WHEEL_LAYER`` asks for them.

Invariant: the kernels are built by ``warp-bitonic-sort prewarm``, the JIT run at build time, and
not by a second path. Without the variable a wheel is pure Python and compiles on demand, as does
what is installed from a source tree or an sdist.
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
# The options of ``common``: one dtype of each order and width; lengths of neighbourhoods, experts
# and beams. The kernel for 33 sorts all longer rows.
_COMMON = (
    "--dtype",
    "uint8,int16,int32,int64,float16,bfloat16,float32,float64",
    "--length",
    "2-10,12,16,20,24,25,27,32,33",
)
_LEVELS = {"x86_64": "x86-64,x86-64-avx2,x86-64-avx512", "aarch64": "aarch64"}


class CustomBuildHook(BuildHookInterface[Any]):
    """Builds the layer before the wheel, and removes it afterwards."""

    _layer: Path | None = None

    def dependencies(self) -> list[str]:
        """Return what the build needs beside hatchling: the dependencies of the package."""
        return list(self.metadata.core.dependencies) if self._asked() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fill a folder with kernels and have the wheel include it."""
        asked = self._asked()
        if not asked or version == "editable":
            return
        machine = os.uname().machine
        arguments = shlex.split(asked)
        if asked == "common":
            arguments = [*_COMMON]
        if not any(word.split("=")[0] == "--arch" for word in arguments) and machine in _LEVELS:
            # The wheel is for other machines, too.
            arguments += ["--arch", _LEVELS[machine]]
        self._layer = Path(tempfile.mkdtemp(prefix="warp-sort-wheel-"))
        # Also if this is interrupted, or the wheel is not made.
        atexit.register(shutil.rmtree, self._layer, ignore_errors=True)
        # pip puts what the build needs there, too.
        path = [str(Path(self.root) / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
        command = [sys.executable, "-m", "warp_bitonic_sort", "prewarm", "--into", str(self._layer)]
        done = subprocess.run([*command, *arguments], env=environment, check=False)
        if done.returncode != 0:
            raise RuntimeError(
                f"{_VARIABLE}: expected common or options of warp-bitonic-sort prewarm, got "
                f"{asked!r}, with which it ended with status {done.returncode}; it says above why."
            )
        entries = self._layer / "v1" / "entries"
        build_data["force_include"][str(entries)] = "warp_bitonic_sort/layer/v1/entries"
        build_data["pure_python"] = False
        # Kernels know nothing of Python: any version's ABI will do. The C library has to be as new
        # as the one here; auditwheel says which that is.
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"

    def finalize(
        self,
        version: str,  # noqa: ARG002 - the signature of hooks
        build_data: dict[str, Any],  # noqa: ARG002
        artifact_path: str,  # noqa: ARG002
    ) -> None:
        """Remove the folder."""
        if self._layer is not None:
            shutil.rmtree(self._layer, ignore_errors=True)

    def _asked(self) -> str:
        return "" if self.target_name != "wheel" else os.environ.get(_VARIABLE, "").strip()
