"""Chooses the architecture to build for from ``GPU_ARCH``, instead of a device's own.

Invariant: kernels for the chosen architecture run on the device. A list without such an
architecture is an error; architectures of other devices are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ... import settings
from ...errors import ToolError

_FORM = r"sm_[0-9]{2,}|gfx[0-9a-f]{3,}|gfx(9|9-4|10-1|10-3|11|12)-generic"


def listed_archs() -> list[str]:
    """Return the architectures that ``GPU_ARCH`` lists, each checked; empty for a device's own."""
    archs = settings.gpu_archs()
    for arch in archs:
        if re.fullmatch(_FORM, arch) is None:
            raise ToolError(
                f"GPU_ARCH: expected native or a list such as sm_90,gfx942 (without features, as "
                f"in :xnack-), got {arch!r} in it."
            )
    return archs


def listed_for(native: str, runs_on: Callable[[str, str], bool]) -> list[str]:
    """Return the device's own architecture if it is listed, else the listed ones that run on it.

    Parameters
    ----------
    native : str
        The device's own architecture.
    runs_on : callable
        ``runs_on(arch, native)`` tells whether a code object for ``arch`` runs on a device.

    Raises
    ------
    ToolError
        No listed architecture runs on the device.
    """
    archs = listed_archs()
    if not archs or native in archs:
        return [native]
    fitting = [arch for arch in archs if runs_on(arch, native)]
    if not fitting:
        raise ToolError(
            f"GPU_ARCH: none of {', '.join(archs)} runs on this device, which is "
            f"{native}; add that, or set GPU_ARCH=native."
        )
    return fitting
