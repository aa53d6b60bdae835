"""A back end: its architectures, and which of them runs where.

Invariant: a module outside ``targets`` asks a `Target`, and compares no names of back ends.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from .layouts import Layouts
from .recipe import Recipe


class DeviceProbe(NamedTuple):
    """What ``doctor`` looks for on a machine.

    Parameters
    ----------
    devices : str
        What the devices are called, as in ``CUDA devices``.
    driver : str
        What the driver is called, with the name of its library.
    driver_libraries : tuple of str
        The names or paths of the driver's library, the first to try first.
    folders : mapping
        The variables that name a folder of the compiler, and the setting of each.
    tools : tuple of str
        Programs that come with the driver.
    archs : tuple of str, optional
        What the devices say of themselves, where that is known without starting the driver.
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
        What TVM FFI calls it, as DLPack does.
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
        """The architectures that have names of their own, beside those of single devices."""

    @property
    def is_host(self) -> bool:
        """Whether its kernels run in this process, and not on a device."""
        return self.recipe.is_library

    @abstractmethod
    def layouts(self, arch: str) -> Layouts:
        """Return the layouts that its kernels have on an architecture."""

    @abstractmethod
    def is_arch(self, arch: str) -> bool:
        """Tell whether there are kernels for an architecture."""

    def buildable_archs(self) -> list[str] | None:
        """Return what this machine's compilers build for; None where only they know."""
        return None

    @abstractmethod
    def arch_for(self, native: str) -> str:
        """Return the architecture to build for: a device's own, or what a variable names.

        Parameters
        ----------
        native : str
            What the processor or the device says of itself.

        Raises
        ------
        ToolError
            The variable is wrong, or there are no kernels for the device.
        """

    @abstractmethod
    def native_archs(self) -> list[str]:
        """Return the architectures of this machine's processor or devices."""

    @abstractmethod
    def runs_on(self, arch: str, native: str) -> bool:
        """Tell whether a kernel for an architecture runs on a processor or device."""

    def lesser_archs(self, arch: str) -> tuple[str, ...]:
        """Return other architectures whose kernels run wherever a given one's do, best first."""
        return ()

    def without_features(self, arch: str) -> str:
        """Return an architecture without what its name says of features."""
        return arch

    def probe(self) -> DeviceProbe:
        """Return what ``doctor`` looks for, if the back end has devices."""
        raise NotImplementedError
