"""Describes the artifacts that can be built: their names and their translation units.

Invariant: pure, but for `MACHINE`. A description is a value; its name and its translation unit
depend on nothing else, so that equal descriptions share one cache entry.
"""

from __future__ import annotations

import platform
from typing import Literal, NamedTuple, Protocol

Access = Literal["rows", "columns", "strided"]
Codec = Literal["integer", "ieee", "fnuz"]
Payload = Literal["none", "index", "value32", "value64"]
Role = Literal["keys", "index", "values"]
Selection = Literal[
    "all",
    "first",
    "first1",
    "first2",
    "first4",
    "first8",
    "first16",
    "first32",
    "first64",
    "first128",
    "first256",
    "median",
    "nanmedian",
]

# What a kernel writes for a payload, in order. It gets None for keys that are not wanted, but not
# beside values.
OUTPUTS: dict[Payload, tuple[Role, ...]] = {
    "none": ("keys",),
    "index": ("keys", "index"),
    "value32": ("keys", "values"),
    "value64": ("keys", "values"),
}
# The most elements that a kernel finds of each row; one for "first" finds any number.
MOST_FOUND: dict[Selection, int] = {
    "first1": 1,
    "first2": 2,
    "first4": 4,
    "first8": 8,
    "first16": 16,
    "first32": 32,
    "first64": 64,
    "first128": 128,
    "first256": 256,
}
# What a kernel stores of each row for a median; the second leaves NaNs out.
MEDIANS: tuple[Selection, ...] = ("median", "nanmedian")
# The bits of the values that a kernel reads beside the keys, and carries along with them.
VALUE_BITS: dict[Payload, int] = {"value32": 32, "value64": 64}


class Artifact(Protocol):
    """A translation unit that the build compiles, and the name of its entry in the cache."""

    @property
    def name(self) -> str:
        """The name of its folder in the cache: letters, digits and underscores."""

    @property
    def target(self) -> str:
        """The name of the recipe that compiles it."""

    @property
    def arch(self) -> str:
        """The architecture that it is compiled for."""

    def source(self) -> str:
        """Return the translation unit."""


class Layout(NamedTuple):
    """Where the positions of a row live while the row is sorted.

    Parameters
    ----------
    registers : int
        Positions that each lane holds in registers; 0 for a tile in memory on the CPU.
    lane_bits, warp_bits : int
        A row is held by 2^lane_bits lanes of each of 2^warp_bits warps.
    """

    registers: int
    lane_bits: int = 0
    warp_bits: int = 0

    @property
    def capacity(self) -> int:
        """The longest row that it holds; 0 for the tile, which holds rows of any length."""
        return self.registers << self.lane_bits << self.warp_bits

    @property
    def name(self) -> str:
        """Its name, as in ``registers9``, ``lanes4_registers16`` or ``tile``."""
        if not self.registers:
            return "tile"
        warps = f"warps{1 << self.warp_bits}_" if self.warp_bits else ""
        lanes = f"lanes{1 << self.lane_bits}_" if self.lane_bits else ""
        return f"{warps}{lanes}registers{self.registers}"


TILE = Layout(0)


class Kernel(NamedTuple):
    """One cell of the grid of kernels.

    Parameters
    ----------
    target : str
        The back end, as ``targets`` names it.
    arch : str
        The architecture, as in ``x86-64-avx2``, ``sm_90`` or ``gfx942``.
    selection : str
        The positions of the sorted row that are wanted.
    payload : str
        What travels with each key.
    codec : str
        How a key is computed from an element's bits, as ``core/codec.hpp`` names it.
    bits : int
        The width of an element: 8, 16, 32 or 64.
    layout : Layout
        Where the positions of a row live.
    access : str
        The strides that it accepts: ``rows`` have contiguous elements, ``columns`` are rows that
        lie side by side, ``strided`` are rows with any strides.
    """

    target: str
    arch: str
    selection: Selection
    payload: Payload
    codec: Codec
    bits: int
    layout: Layout
    access: Access

    @property
    def name(self) -> str:
        """The name of its folder in the cache."""
        # Some architectures have hyphens: x86-64-avx2, gfx11-generic.
        return (
            f"{self.target}_{self.selection}_{self.payload}_{self.codec}{self.bits}_"
            f"{self.layout.name}_{self.access}_{self.arch}"
        ).replace("-", "_")

    def source(self) -> str:
        """Return the translation unit."""
        cell = (self.selection, self.payload, self.codec, self.bits, self.access, *self.layout)
        return (
            "#include <warp_bitonic_sort/kernel.hpp>\n\n"
            f'WARP_BITONIC_SORT_KERNEL("{self.name}", {", ".join(map(str, cell))})\n'
        )


class Runtime(NamedTuple):
    """The library through which Python and C++ call the kernels; one for a machine.

    Parameters
    ----------
    arch : str
        The machine, as `MACHINE`.
    """

    arch: str

    @property
    def name(self) -> str:
        """The name of its folder in the cache."""
        return "runtime"

    @property
    def target(self) -> str:
        """The name of its recipe."""
        return "runtime"

    def source(self) -> str:
        """Return the translation unit."""
        return "#include <runtime/tvm_api.cc>\n"


_MACHINES = {"x86_64": "x86-64", "amd64": "x86-64", "aarch64": "aarch64", "arm64": "aarch64"}
# This machine, by the CPU's architecture that all of its kind run.
MACHINE = _MACHINES.get(platform.machine().lower(), "generic")
RUNTIME = Runtime(MACHINE)
