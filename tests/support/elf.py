"""ELF files of 64 bits: written as far as code objects for GPUs take them, and read."""

import io
import struct
from typing import NamedTuple

from elftools.elf.elffile import ELFFile

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
PROGBITS, SYMTAB, STRTAB, DYNSYM = 1, 2, 3, 11
OBJECT, FUNCTION = 0x11, 0x12  # global ones


class Section(NamedTuple):
    name: bytes
    kind: int
    body: bytes
    link: int = 0
    address: int = 0


class Symbol(NamedTuple):
    name: bytes
    kind: int
    section: int
    value: int
    size: int


def symbols(listed: list[Symbol]) -> tuple[bytes, bytes]:
    """The bodies of a symbol table and of its string table."""
    table, strings = bytes(_SYMBOL.size), b"\0"
    for name, kind, section, value, size in listed:
        table += _SYMBOL.pack(len(strings), kind, 0, section, value, size)
        strings += name + b"\0"
    return table, strings


def elf(identity: bytes, kind: int, machine: int, flags: int, sections: list[Section]) -> bytes:
    """A file of these sections, numbered from 2 on; section 1 holds their names."""
    names = b"\0.shstrtab\0" + b"".join(section.name + b"\0" for section in sections)
    headers = bytes(_SECTION.size)
    content = b""
    for name, type_, body, link, address in [Section(b".shstrtab", STRTAB, names), *sections]:
        content += bytes(-len(content) % 8)
        at = _HEADER.size + len(content)
        entry = _SYMBOL.size if type_ in (SYMTAB, DYNSYM) else 0
        headers += _SECTION.pack(
            names.index(name + b"\0"), type_, 0, address, at, len(body), link, 0, 8, entry
        )
        content += body
    content += bytes(-len(content) % 8)
    header = _HEADER.pack(
        b"\x7fELF\x02\x01\x01" + identity, kind, machine, 1, 0, 0, _HEADER.size + len(content),
        flags, _HEADER.size, 0, 0, _SECTION.size, len(sections) + 2, 1,
    )  # fmt: skip
    return header + content + headers


def sections(data: bytes) -> dict[str, bytes]:
    """The contents of each section of a file, by name."""
    return {section.name: section.data() for section in ELFFile(io.BytesIO(data)).iter_sections()}
