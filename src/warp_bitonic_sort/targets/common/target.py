"""Defines the interface of a back end: its architectures, and which of them runs on a device.

Invariant: modules outside ``targets`` use a `Target` and do not compare names of back ends.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .layouts import Layouts
from .recipe import Recipe


class DeviceProbe(NamedTuple):
    """The properties of a machine that ``doctor`` checks.

    Parameters
    ----------
    devices : str
        The name of the devices, as in ``CUDA devices``.
    driver : str
        The name of the driver, with that of its library.
    driver_libraries : tuple of str
        The names or paths of the driver's library, in the order in which they are tried.
    folders : mapping
        The variables that name a folder of the compiler, and the function that reads each.
    tools : tuple of str
        Programs that come with the driver.
    archs : tuple of str, optional
        The architectures of the devices, if they are known without the driver.
    """

    devices: str
    driver: str
    driver_libraries: tuple[str, ...]
    folders: Mapping[str, Callable[[], Path | None]]
    tools: tuple[str, ...] = ()
    archs: tuple[str, ...] | None = None


class Target(ABC):
    """A back end.

    Attributes
    ----------
    name : str
        Its name, as in the names of kernels.
    title : str
        Its name in prose.
    platform : str
        Its name in TVM FFI and DLPack.
    recipe : Recipe
        How its kernels are compiled.
    example : str
        An architecture, for messages.
    """

    name: str
    title: str
    platform: str
    recipe: Recipe
    example: str

    @property
    @abstractmethod
    def archs(self) -> tuple[str, ...]:
        """The architectures that are listed; single devices may have further ones."""

    @property
    def is_host(self) -> bool:
        """Whether its kernels run in this process and not on a device."""
        return self.recipe.is_library

    @abstractmethod
    def layouts(self, arch: str) -> Layouts:
        """Return the layouts that its kernels have on an architecture."""

    @abstractmethod
    def is_arch(self, arch: str) -> bool:
        """Tell whether there are kernels for an architecture."""

    @abstractmethod
    def arch_for(self, native: str, listed: Sequence[str]) -> str:
        """Return the architecture to build for: a device's own, or one from a variable.

        Parameters
        ----------
        native : str
            The architecture that the processor or the device reports.
        listed : sequence of str
            For a device, the architectures that ``GPU_ARCH`` lists; empty for the device's own.

        Raises
        ------
        ToolError
            The variable is wrong, or there are no kernels for the device.
        """

    def kernel_arch(self, arch: str, payload: str, access: str) -> str:
        """Return the architecture that names a kernel: one, where several have its code."""
        return arch

    @abstractmethod
    def native_archs(self) -> list[str]:
        """Return the architectures of this machine's processor or devices."""

    @abstractmethod
    def runs_on(self, arch: str, native: str) -> bool:
        """Tell whether a kernel for an architecture runs on a processor or device."""

    def lesser_archs(self, arch: str) -> tuple[str, ...]:
        """Return architectures whose kernels run wherever those of arch do, best first."""
        return ()

    def without_features(self, arch: str) -> str:
        """Return an architecture's name without its features."""
        return arch

    def probe(self) -> DeviceProbe:
        """Return what ``doctor`` checks, if the back end has devices."""
        raise NotImplementedError
