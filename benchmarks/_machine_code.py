"""Compares the machine code that two checkouts compile for the same kernels.

Invariant: both checkouts are compiled with the flags of the installed package. Offsets of launch
arguments and addresses are masked; every other difference counts.
"""

from __future__ import annotations

import difflib
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from warp_bitonic_sort.targets import target_with

_CSRC = Path("src/warp_bitonic_sort/csrc")
_CPU_ARCHS = ("x86-64", "x86-64-avx2", "x86-64-avx512", "x86-64-avx512-256")


class Cell(NamedTuple):
    """One kernel; 0 registers mean the CPU's tile."""

    arch: str
    codec: str
    bits: int
    access: str
    registers: int
    lane_bits: int = 0
    warp_bits: int = 0
    payload: str = "none"

    @property
    def name(self) -> str:
        """Its name in tables."""
        layout = f"({self.registers}, {self.lane_bits}, {self.warp_bits})"
        return f"{self.arch} {self.payload} {self.codec}{self.bits} {self.access} {layout}"


class Code(NamedTuple):
    """The instructions of a kernel, and its registers and memory."""

    instructions: tuple[str, ...]
    resources: str


# A covering choice, not a product: every codec, width and access; short rows, long rows and rows of
# several warps; layouts of unaligned rows (one thread a row); tiles; and some with indices.
CELLS = (
    *(Cell("sm_75", *c) for c in (
        ("ieee", 32, "rows", 8, 1, 0),
        ("integer", 8, "rows", 32, 2, 0),
        ("ieee", 16, "columns", 16, 3, 0),
        ("integer", 64, "rows", 12, 5, 0),
    )),
    *(Cell("sm_80", *c) for c in (
        ("ieee", 32, "rows", 24, 3, 0),
        ("fnuz", 8, "rows", 16, 1, 0),
        ("integer", 16, "rows", 24, 5, 1),
        ("ieee", 64, "columns", 8, 3, 0),
    )),
    *(Cell("sm_90", *c) for c in (
        ("ieee", 32, "rows", 4, 0, 0),
        ("ieee", 32, "rows", 32, 0, 0),
        ("ieee", 32, "columns", 24, 0, 0),
        ("integer", 32, "rows", 24, 5, 2),
        ("ieee", 8, "rows", 24, 3, 0),
        ("ieee", 16, "rows", 16, 2, 0),
        ("integer", 64, "columns", 16, 4, 0),
        ("ieee", 64, "rows", 12, 5, 1),
    )),
    *(Cell("sm_100", *c) for c in (
        ("ieee", 32, "rows", 16, 2, 0),
        ("integer", 16, "columns", 8, 3, 0),
        ("ieee", 64, "rows", 8, 0, 0),
        ("integer", 32, "rows", 32, 5, 1),
    )),
    *(Cell("sm_120", *c) for c in (
        ("integer", 32, "columns", 16, 2, 0),
        ("fnuz", 8, "columns", 8, 0, 0),
        ("ieee", 16, "rows", 32, 0, 0),
        ("ieee", 64, "rows", 4, 1, 0),
    )),
    *(Cell("gfx90a", *c) for c in (
        ("ieee", 32, "rows", 8, 1, 0),
        ("ieee", 32, "rows", 24, 6, 1),
        ("integer", 64, "rows", 8, 0, 0),
        ("fnuz", 8, "columns", 8, 0, 0),
    )),
    *(Cell("gfx942", *c) for c in (
        ("ieee", 32, "rows", 32, 3, 0),
        ("integer", 16, "rows", 16, 2, 0),
        ("ieee", 64, "columns", 8, 3, 0),
        ("integer", 8, "rows", 24, 4, 0),
    )),
    *(Cell("gfx1100", *c) for c in (
        ("integer", 32, "rows", 24, 5, 0),
        ("ieee", 16, "columns", 16, 3, 0),
        ("ieee", 64, "rows", 12, 5, 1),
    )),
    *(Cell("gfx1201", *c) for c in (
        ("ieee", 32, "rows", 16, 0, 0),
        ("ieee", 8, "rows", 32, 2, 0),
        ("integer", 64, "rows", 16, 2, 0),
    )),
    *(Cell(arch, *c) for arch in _CPU_ARCHS for c in (
        ("ieee", 32, "rows", 25),
        ("integer", 8, "columns", 16),
        ("ieee", 16, "rows", 32),
        ("integer", 64, "rows", 9),
        ("ieee", 64, "columns", 8),
        ("ieee", 32, "strided", 0),
        ("fnuz", 8, "strided", 0),
        ("ieee", 32, "rows", 25, 0, 0, "index"),
        ("integer", 64, "columns", 9, 0, 0, "index"),
        ("ieee", 32, "strided", 0, 0, 0, "index"),
    )),
)  # fmt: skip


def source(checkout: Path, cell: Cell) -> str:
    """Return the translation unit of a cell, in the form of a checkout."""
    name, access = f'"{cell.name}"', cell.access
    layout = f"{cell.registers}, {cell.lane_bits}, {cell.warp_bits}"
    include = checkout / _CSRC / "include" / "warp_bitonic_sort"
    if (include / "kernel.hpp").exists():
        return (
            "#include <warp_bitonic_sort/kernel.hpp>\n"
            f"WARP_BITONIC_SORT_KERNEL({name}, all, {cell.payload}, {cell.codec}, {cell.bits}, "
            f"{access}, {layout})\n"
        )
    # Older checkouts have a macro for each target, and no payload.
    codec = {"integer": "bits", "ieee": "floating"}.get(cell.codec, cell.codec)
    header, macro = "cpu_kernel.hpp", f"CPU_TILE({name}, {codec}, {cell.bits})"
    if cell.arch not in _CPU_ARCHS:
        header = "gpu_kernel.hpp"
        macro = f"GPU_KERNEL({name}, {access}, {codec}, {cell.bits}, {layout})"
    elif cell.registers:
        macro = f"CPU_REGISTERS({name}, {codec}, {cell.bits}, {cell.registers}, {access})"
    return f"#include <warp_bitonic_sort/{header}>\nWARP_BITONIC_SORT_{macro}\n"


def compile_cell(checkout: Path, cell: Cell, folder: Path, programs: dict[str, str]) -> Code:
    """Compile a cell of a checkout and return its code."""
    stem = folder / re.sub(r"\W+", "_", cell.name).strip("_")
    target = target_with(cell.arch)
    assert target is not None
    file = stem.with_suffix(Path(target.recipe.source).suffix)
    product = stem.with_suffix(".o")
    file.write_text(source(checkout, cell))
    command = [programs[target.name], *target.recipe.flags(cell.arch)]
    _run([*command, f"-I{checkout / _CSRC / 'include'}", str(file), "-o", str(product)])
    disassemble = {"cuda": _cuda_code, "hip": _hip_code, "cpu": _cpu_code}[target.name]
    return disassemble(product, programs)


def find_programs() -> dict[str, str]:
    """Return the compilers and disassemblers, or end with an error."""
    names_by_key = {
        "cuda": ("nvcc",),
        "hip": ("clang++-19", "clang++"),
        "cpu": ("g++",),
        "nvdisasm": ("nvdisasm",),
        "cuobjdump": ("cuobjdump",),
        "objdump": ("objdump",),
        "llvm-objdump": ("llvm-objdump-19", "llvm-objdump"),
        "llvm-readelf": ("llvm-readelf-19", "llvm-readelf"),
    }
    programs = {}
    for key, names in names_by_key.items():
        program = next(filter(None, map(shutil.which, names)), None)
        if program is None:
            raise SystemExit(f"this needs {names[0]} on the PATH")
        programs[key] = program
    return programs


def compare(
    old: Path, new: Path, folder: Path, cells: tuple[Cell, ...] = CELLS
) -> dict[Cell, tuple[Code, Code]]:
    """Compile every cell of both checkouts; return their codes."""
    programs = find_programs()
    folders = (folder / "old", folder / "new")
    for subfolder in folders:
        subfolder.mkdir(parents=True, exist_ok=True)

    def both(cell: Cell) -> tuple[Code, Code]:
        return (
            compile_cell(old, cell, folders[0], programs),
            compile_cell(new, cell, folders[1], programs),
        )

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(cells, pool.map(both, cells), strict=True))


def describe(old: Code, new: Code) -> str:
    """Return the differences of two codes in a few words; empty if there are none."""
    differences = []
    if old.resources != new.resources:
        differences.append(f"resources {old.resources} -> {new.resources}")
    changed = changes(old, new)
    if changed:
        count = sum(max(len(before), len(after)) for before, after in changed)
        differences.append(f"{count} of {len(new.instructions)} instructions")
    return "; ".join(differences)


def changes(old: Code, new: Code) -> list[tuple[list[str], list[str]]]:
    """Return the runs of instructions that differ, before and after.

    Runs that differ only in the offsets of memory operands are left out: on the CPU, arguments are
    read through a pointer.
    """
    before, after = list(old.instructions), list(new.instructions)
    if before == after:
        return []
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    runs = [
        (before[i1:i2], after[j1:j2])
        for tag, i1, i2, j1, j2 in matcher.get_opcodes()
        if tag != "equal"
    ]

    def masked(run: list[str]) -> list[str]:
        return [re.sub(r"-?0x[0-9a-f]+(?=\((?!%rsp))", "", line) for line in run]

    return [run for run in runs if masked(run[0]) != masked(run[1])]


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def _cuda_code(product: Path, programs: dict[str, str]) -> Code:
    instructions = []
    for line in _run([programs["nvdisasm"], "-c", str(product)]).splitlines():
        text = re.sub(r"/\*.*?\*/", "", line).strip()
        if text.endswith(";") or re.match(r"\.L_x_\d+:", text):
            text = re.sub(r"c\[0x0\]\[([^\]]*?)\+?0x[0-9a-f]+\]", r"c[0x0][\1 argument]", text)
            instructions.append(re.sub(r"\s+", " ", text))
    usage = _run([programs["cuobjdump"], "--dump-resource-usage", str(product)])
    words = re.findall(r"\b(REG|STACK|SHARED|LOCAL):(\d+)", usage)
    return Code(tuple(instructions), " ".join(f"{name} {value}" for name, value in words))


def _hip_code(product: Path, programs: dict[str, str]) -> Code:
    instructions = []
    for line in _run([programs["llvm-objdump"], "-d", "--no-show-raw-insn",
                      str(product)]).splitlines():  # fmt: skip
        if not line.startswith(("\t", " ")):
            continue
        text = re.sub(r"\s+", " ", line.partition("//")[0]).strip()
        # Scalar loads read arguments. The implicit ones come after ours: their address is the
        # pointer to arguments, in the first registers, plus the size of our arguments.
        if re.match(r"s_load_|s_add_u32 s\d+, s[04], |s_add_nc_u64 s\S+, s\[0:1\], ", text):
            text = re.sub(r", (0x[0-9a-f]+|\d+)$", ", argument", text)
        if text.startswith("s_code_end"):
            break
        instructions.append(text)
    notes = _run([programs["llvm-readelf"], "--notes", str(product)])
    kept = ("agpr_count", "vgpr_count", "sgpr_count", "vgpr_spill_count", "sgpr_spill_count",
            "group_segment_fixed_size", "private_segment_fixed_size")  # fmt: skip
    words = re.findall(rf"\.({'|'.join(kept)}):\s*(\d+)", notes)
    return Code(tuple(instructions), " ".join(f"{name} {value}" for name, value in words))


def _cpu_code(product: Path, programs: dict[str, str]) -> Code:
    functions: list[list[tuple[int, str]]] = []
    for line in _run([programs["objdump"], "-d", "--no-show-raw-insn", "-j", ".text",
                      str(product)]).splitlines():  # fmt: skip
        if re.match(r"[0-9a-f]+ <", line):
            functions.append([])
        match = re.match(r"\s*([0-9a-f]+):\s+(.*)", line)
        if match and functions:
            text = re.sub(r"\s+", " ", match[2].partition("#")[0]).strip()
            if not re.match(r"(data16 |cs )*nop|xchg %ax,%ax", text):
                functions[-1].append((int(match[1], 16), text))
    texts = sorted(_relative(function) for function in functions)
    return Code(tuple(line for text in texts for line in text), "")


def _relative(function: list[tuple[int, str]]) -> tuple[str, ...]:
    """Return a function's instructions, with jumps as distances and other addresses masked."""
    number = {address: i for i, (address, _) in enumerate(function)}
    lines = []
    for at, (_, text) in enumerate(function):
        jump = re.fullmatch(r"(\w+) ([0-9a-f]+) (<[^>]*>)", text)
        line = text
        if jump is not None:
            to = number.get(int(jump[2], 16))
            name = jump[3] if "@plt" in jump[3] else "<another function>"
            line = f"{jump[1]} {name if to is None else to - at}"
        lines.append(re.sub(r"-?0x[0-9a-f]+\(%rip\)", "constant(%rip)", line))
    return tuple(lines)
