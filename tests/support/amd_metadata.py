"""What an AMD code object says of its kernels, read without any of LLVM's tools.

An ELF note holds it, as MessagePack (LLVM, User Guide for AMDGPU Backend, code object metadata).
"""

import struct
from typing import Any

_NOTE_SECTION, _METADATA_NOTE, _AMD_GPU = 7, 32, 224
_SIZED = {  # the first byte of an object, its length's format, and what the object is
    0xC4: (">B", bytes), 0xC5: (">H", bytes), 0xC6: (">I", bytes),
    0xD9: (">B", str), 0xDA: (">H", str), 0xDB: (">I", str),
    0xDC: (">H", list), 0xDD: (">I", list), 0xDE: (">H", dict), 0xDF: (">I", dict),
}  # fmt: skip
_NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
            0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}  # fmt: skip
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}


class _Reader:
    """Reads one MessagePack object after another."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _number(self, layout: str) -> Any:
        (value,) = struct.unpack_from(layout, self._data, self._at)
        self._at += struct.calcsize(layout)
        return value

    def read(self) -> Any:
        first = self._number(">B")
        if first < 0x80:
            return first
        if first < 0x90:
            return self._sized(dict, first & 0x0F)
        if first < 0xA0:
            return self._sized(list, first & 0x0F)
        if first < 0xC0:
            return self._sized(str, first & 0x1F)
        if first >= 0xE0:
            return first - 0x100
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        if first in _NUMBERS:
            return self._number(_NUMBERS[first])
        layout, kind = _SIZED[first]
        return self._sized(kind, self._number(layout))

    def _sized(self, kind: type, count: int) -> Any:
        if kind is list:
            return [self.read() for _ in range(count)]
        if kind is dict:
            pairs = {}
            for _ in range(count):
                key = self.read()
                pairs[key] = self.read()
            return pairs
        self._at += count
        data = self._data[self._at - count : self._at]
        return data.decode() if kind is str else data


def metadata(image: bytes) -> dict[str, Any]:
    """The metadata of a code object."""
    assert image[:4] == b"\x7fELF", "a code object, and no bundle"
    assert struct.unpack_from("<H", image, 18) == (_AMD_GPU,)
    (sections_at,) = struct.unpack_from("<Q", image, 40)
    size, count = struct.unpack_from("<HH", image, 58)
    for number in range(count):
        _, kind, _, _, at, length = struct.unpack_from(
            "<IIQQQQ", image, sections_at + number * size
        )
        end = at + length
        while kind == _NOTE_SECTION and at < end:
            name_size, text_size, note = struct.unpack_from("<III", image, at)
            text_at = at + 12 + name_size + -name_size % 4
            if note == _METADATA_NOTE:
                found: dict[str, Any] = _Reader(image[text_at : text_at + text_size]).read()
                return found
            at = text_at + text_size + -text_size % 4
    raise AssertionError("the code object says nothing of its kernels")


def kernel(image: bytes) -> dict[str, Any]:
    """What a code object says of its one kernel."""
    (only,) = metadata(image)["amdhsa.kernels"]
    assert only[".name"] == "warp_bitonic_sort_rows"
    return dict(only)
