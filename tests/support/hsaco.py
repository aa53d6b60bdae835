"""AMD's code objects as clang writes them, without the code: all that a runtime reads."""

from pathlib import Path

from support import cubin, elf

# What the flags of the file call a target (EF_AMDGPU_MACH).
MACHS = {"gfx906": 0x2F, "gfx90a": 0x3F, "gfx942": 0x4C, "gfx950": 0x4F, "gfx1100": 0x41}
_DESCRIPTOR = 64  # bytes


def hsaco(
    said: bytes, target: str = "gfx90a", *, function: str = "warp_bitonic_sort_rows"
) -> bytes:
    """A code object for a target, with a kernel of this description."""
    rodata, text = 4, 5
    table, strings = elf.symbols(
        [
            elf.Symbol(function.encode(), elf.FUNCTION, text, 0x2000, 8),
            elf.Symbol(function.encode() + b".kd", elf.OBJECT, rodata, 0x1000, _DESCRIPTOR),
            elf.Symbol(
                b"warp_bitonic_sort_gpu_kernel", elf.OBJECT, rodata, 0x1000 + _DESCRIPTOR, len(said)
            ),
        ]
    )
    sections = [
        elf.Section(b".dynsym", elf.DYNSYM, table, link=3),
        elf.Section(b".dynstr", elf.STRTAB, strings),
        elf.Section(b".rodata", elf.PROGBITS, bytes(_DESCRIPTOR) + said, address=0x1000),
        elf.Section(b".text", elf.PROGBITS, bytes(8), address=0x2000),
    ]
    shared_object, machine = 3, 224
    return elf.elf(b"\x40\x03", shared_object, machine, MACHS[target], sections)


def write(path: Path, target: str = "gfx90a", **said: object) -> str:
    """Write a code object with a kernel of this description; return its path as text."""
    path.write_bytes(hsaco(cubin.constant(**{"name": "sort_hip_of_a_test", **said}), target))
    return str(path)
