"""Reads the machine that a compiled file is for from its ELF header.

Invariant: any bytes have an answer, and nothing is loaded. The fields are those of the System V
ABI; a target interprets the flags of its files.
"""

from __future__ import annotations

import struct
from typing import NamedTuple


class ElfHeader(NamedTuple):
    """The fields of a header: ``e_machine``, the version of the ABI, and ``e_flags``."""

    machine: int
    abi_version: int
    flags: int


def elf_header(data: bytes) -> ElfHeader | None:
    """Return the header of a little-endian ELF file of 64 bits; None for any other file.

    Parameters
    ----------
    data : bytes
        The file, or its first 64 bytes.
    """
    if len(data) < 64 or data[:4] != b"\x7fELF" or data[4] != 2 or data[5] != 1:
        return None
    (machine,) = struct.unpack_from("<H", data, 18)
    (flags,) = struct.unpack_from("<I", data, 48)
    return ElfHeader(machine, data[8], flags)
