"""The metadata of an AMD code object's kernels, read without any of LLVM's tools.

An ELF note holds it, as MessagePack (LLVM, User Guide for AMDGPU Backend, code object metadata).
"""

import io
from typing import Any

import msgpack
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

_METADATA_NOTE = 32


def metadata(image: bytes) -> dict[str, Any]:
    """The metadata of a code object."""
    notes = [
        note["n_descdata"]
        for section in ELFFile(io.BytesIO(image)).iter_sections()
        if isinstance(section, NoteSection)
        for note in section.iter_notes()
        if note["n_name"] == "AMDGPU" and note["n_type"] == _METADATA_NOTE
    ]
    (note,) = notes
    found: dict[str, Any] = msgpack.unpackb(note)
    return found


def kernel(image: bytes) -> dict[str, Any]:
    """The metadata of a code object's one kernel."""
    (only,) = metadata(image)["amdhsa.kernels"]
    assert only[".name"] == "warp_bitonic_sort_rows"
    return dict(only)
