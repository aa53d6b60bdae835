"""Chooses the architecture to build for from ``GPU_ARCH``, instead of a device's own.

Invariant: kernels for the chosen architecture run on the device. A list without such an
architecture is an error; architectures of other devices are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...errors import ToolError


def fitting_archs(
    native: str, listed: Sequence[str], runs_on: Callable[[str, str], bool]
) -> list[str]:
    """Return the device's own architecture if it is listed, else the listed ones that run on it.

    Parameters
    ----------
    native : str
        The device's own architecture.
    listed : sequence of str
        The architectures that ``GPU_ARCH`` lists; empty for the device's own.
    runs_on : callable
        ``runs_on(arch, native)`` tells whether a code object for ``arch`` runs on a device.

    Raises
    ------
    ToolError
        No listed architecture runs on the device.
    """
    if not listed or native in listed:
        return [native]
    fitting = [arch for arch in listed if runs_on(arch, native)]
    if not fitting:
        raise ToolError(
            f"GPU_ARCH: none of {', '.join(listed)} runs on this device, which is "
            f"{native}; add that, or set GPU_ARCH=native."
        )
    return fitting
