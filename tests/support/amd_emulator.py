"""Run compiled AMD kernels on a CPU: the emulator of the tinygrad source tree, completed.

Invariant: what runs is the machine code that the compiler emitted, instruction by instruction; host
memory is device memory. `available` says why it cannot run where it cannot.

The emulator (test/mockgpu/amd/emu.py of github:tinygrad/tinygrad, commit a9069c177a9d, or another
that has the private names used here; the wheel does not carry it)
knows CDNA with 64 lanes, RDNA3 and RDNA4 with 32. It lacks some of what kernels that exchange keys
between lanes use, or does it otherwise than the hardware's documents say. This module does these
itself:

- An instruction with a DPP operand is split in two: the operand is gathered here, for all lanes at
  once, then the instruction runs without DPP. (The emulator goes through the lanes one by one, so
  that a result in the operand's own register is read as the operand of a later lane; and it knows
  neither DPP of instructions with three operands nor row_xmask.)
- v_permlanex16, v_permlane16_swap, v_permlane32_swap and ds_swizzle are done here, for the same
  reason or for lack of them.
- Loads from shared memory into half a register leave the other half alone; the emulator clears it.
- Accesses to shared memory beyond what the launch gave are errors; and what inactive lanes have for
  addresses, which the emulator looks at, is hidden from it.
- Instructions of 16 bits run with the lowest vector registers on CDNA: the emulator takes one from
  128 on for the high half of another, as RDNA3 has them.
- Denormals are kept where the kernel's descriptor says so; the emulator always flushes them.

It proves what instructions compute. It knows nothing of time, nor of wait states that the hardware
needs between instructions.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import functools
import os
import re
import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

__all__ = ["ARCHS", "CodeObject", "available"]


class Arch(NamedTuple):
    """What the emulator calls a target, and the lanes of a wave."""

    emulator: str
    lanes: int


ARCHS = {
    "gfx90a": Arch("cdna", 64),
    "gfx942": Arch("cdna", 64),
    "gfx950": Arch("cdna", 64),
    "gfx1100": Arch("rdna3", 32),
    "gfx1201": Arch("rdna4", 32),
}

_REGISTERS = 256
_DPP, _LITERAL, _SDWA = 250, 255, 249


def _source() -> Path | None:
    folder = os.environ.get("TINYGRAD_SRC")
    return Path(folder) if folder else None


def _clang() -> str | None:
    # The emulator compiles what it emulates, for this machine.
    names = ["clang", *(f"clang-{version}" for version in range(30, 13, -1))]
    return next((found for name in names if (found := shutil.which(name))), None)


def available() -> str | None:
    """Return why nothing can be emulated here, or None if it can."""
    source = _source()
    if source is None:
        return "TINYGRAD_SRC is not set (a checkout of github:tinygrad/tinygrad)"
    if not (source / "test/mockgpu/amd/emu.py").exists():
        return f"TINYGRAD_SRC: {source} holds no test/mockgpu/amd/emu.py"
    if _clang() is None:
        return "no clang, which the emulator compiles with"
    return None


@functools.cache
def _emulator() -> Any:
    reason = available()
    if reason is not None:
        raise RuntimeError(reason)
    os.environ.setdefault("DEV", "CPU")
    os.environ["CC"] = str(_clang())
    sys.path.insert(0, str(_source()))
    try:
        from test.mockgpu.amd import emu  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    emulator: Any = emu
    emulator._decode_at = functools.partial(_decode_at, emulator._decode_at)
    return emulator


# -- instructions that are done here ------------------------------------------------------------


class _Program(NamedTuple):
    """What the emulator asks of a compiled instruction: which of its buffers it takes."""

    arg: Any


class _Globals(NamedTuple):
    globals: list[int]


class _Runtime(NamedTuple):
    fxn: Callable[..., None]


# A kernel's scalar registers, vector registers, memory, shared memory, ...
_Buffers = tuple[ctypes.c_uint64, ...]
_ALL_BUFFERS = list(range(6))


def _words(address: ctypes.c_uint64, count: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    return np.ctypeslib.as_array((ctypes.c_uint32 * count).from_address(int(address.value or 0)))


class _Wave:
    """The registers of a wave."""

    def __init__(self, buffers: _Buffers, lanes: int) -> None:
        emulator = _emulator()
        self.scalar = _words(buffers[0], emulator.SGPR_COUNT)
        self.vector = _words(buffers[1], _REGISTERS * lanes).reshape(_REGISTERS, lanes)
        self._exec = int(emulator.EXEC_LO.offset)
        self._pc = int(emulator.PC_LO_IDX), int(emulator.PC_HI_IDX)

    @property
    def active(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which lanes are executing."""
        words = self.scalar[self._exec : self._exec + 2].copy()
        lanes: np.ndarray[Any, np.dtype[np.bool_]]
        lanes = np.unpackbits(words.view(np.uint8), bitorder="little").astype(bool)
        return lanes[: self.vector.shape[1]]

    @active.setter
    def active(self, lanes: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        words = np.packbits(lanes, bitorder="little").view(np.uint32)
        self.scalar[self._exec : self._exec + len(words)] = words

    def go(self, pc: int) -> None:
        """Continue at an address."""
        for index, word in zip(self._pc, (pc & 0xFFFFFFFF, pc >> 32), strict=True):
            self.scalar[index] = word


def _dpp_lanes(
    control: int, lanes: int
) -> tuple[np.ndarray[Any, np.dtype[np.int64]], np.ndarray[Any, np.dtype[np.bool_]]]:
    """Return from which lane each lane reads, and whether there is such a lane."""
    lane = np.arange(lanes)
    row, at = lane & ~15, lane & 15
    if control < 0x100:
        source = (lane & ~3) | (control >> 2 * (lane & 3) & 3)
    elif 0x101 <= control <= 0x10F:
        at = at + (control & 15)
        return row + at % 16, at < 16
    elif 0x111 <= control <= 0x11F:
        at = at - (control & 15)
        return row + at % 16, at >= 0
    elif 0x121 <= control <= 0x12F:
        source = row + (at - (control & 15)) % 16
    elif control == 0x140:
        source = row + 15 - at
    elif control == 0x141:
        source = lane ^ 7
    elif 0x160 <= control <= 0x16F:
        source = lane ^ (control & 15)
    else:
        raise NotImplementedError(f"DPP control {control:#x}")
    return source, np.ones(lanes, bool)


def _with_dpp(
    decode: Callable[[int, str], Any], pc: int, arch: str, instruction: int, size: int, dpp: int
) -> tuple[Any, Any]:
    """Gather an instruction's DPP operand, then run it without DPP."""
    lanes = next(each.lanes for each in ARCHS.values() if each.emulator == arch)
    is_vop3 = size == 12
    at_source = 32 if is_vop3 else 0
    # Registers for what is gathered here, which the instruction does not name.
    named = {instruction >> bit & 0xFF for bit in ((0, 41, 50) if is_vop3 else (9, 17))}
    temporary = [register for register in range(_REGISTERS) if register not in named][-2:]
    plain = instruction & ~(0x1FF << at_source) | 256 + temporary[0] << at_source
    if not is_vop3 and instruction >> 25 == 0x3E:
        raise NotImplementedError("a comparison with DPP")
    first, control = dpp & 0xFF, dpp >> 8 & 0x1FF
    fetch_inactive, bound_control = dpp >> 18 & 1, dpp >> 19 & 1
    modifiers = dpp >> 20 & 0xF
    second = plain >> 9 & 0xFF
    if not is_vop3 and modifiers >> 2:
        plain = plain & ~(0xFF << 9) | temporary[1] << 9
    code = ctypes.create_string_buffer(
        plain.to_bytes(8 if is_vop3 else 4, "little") + bytes(16), 24
    )
    (program, runtime), decoded = decode(ctypes.addressof(code), arch)
    name = str(decoded.op.name)
    if modifiers and "F32" not in name:
        raise NotImplementedError(f"{name} with DPP modifiers {modifiers:#x}")
    source, inside = _dpp_lanes(control, lanes)
    lane = np.arange(lanes)
    enabled = (dpp >> 24 >> (lane >> 2 & 3) & 1 & (dpp >> 28 >> (lane >> 4) & 1)).astype(bool)

    def modified(values: Any, neg: int, absolute: int) -> Any:
        values = values & 0x7FFFFFFF if absolute else values
        return values ^ np.uint32(0x80000000) if neg else values

    def run(*buffers: ctypes.c_uint64) -> None:
        assert code is not None  # its memory has to live
        wave = _Wave(buffers, lanes)
        active = wave.active
        valid = inside & (active[source] | bool(fetch_inactive))
        values = np.where(valid, wave.vector[first][source], 0).astype(np.uint32)
        other = wave.vector[second].copy()
        held = wave.vector[temporary].copy()
        wave.vector[temporary[0]] = modified(values, modifiers & 1, modifiers >> 1 & 1)
        if modifiers >> 2:
            wave.vector[temporary[1]] = modified(other, modifiers >> 2 & 1, modifiers >> 3)
        wave.active = active & enabled & (valid | bool(bound_control))
        wave.go(ctypes.addressof(code))
        runtime.fxn(*(buffers[i] for i in program.arg.globals))
        wave.vector[temporary] = held
        wave.active = active
        wave.go(pc + size)

    return (_Program(_Globals(_ALL_BUFFERS)), _Runtime(run)), decoded


def _permlanex16(pc: int, arch: str, instruction: int, decoded: Any) -> tuple[Any, Any]:
    """v_permlanex16_b32: lanes get those of the other row that two scalar words select."""
    lanes = next(each.lanes for each in ARCHS.values() if each.emulator == arch)
    target, sources = instruction & 0xFF, [instruction >> 32 + 9 * i & 0x1FF for i in range(3)]
    literal = ctypes.c_uint32.from_address(pc + 8).value
    size = 12 if 255 in sources else 8
    fetch_inactive, bound_control = instruction >> 11 & 1, instruction >> 12 & 1
    lane = np.arange(lanes)

    def run(*buffers: ctypes.c_uint64) -> None:
        wave = _Wave(buffers, lanes)
        low, high = (literal if i == 255 else int(wave.scalar[i]) for i in sources[1:])
        select = np.array([(high << 32 | low) >> 4 * i & 15 for i in range(16)])
        source = (lane & ~15 ^ 16) + select[lane & 15]
        active = wave.active
        valid = active[source] | bool(fetch_inactive)
        values = np.where(valid, wave.vector[sources[0] - 256][source], 0).astype(np.uint32)
        write = active & (valid | bool(bound_control))
        wave.vector[target] = np.where(write, values, wave.vector[target])
        wave.go(pc + size)

    return (_Program(_Globals(_ALL_BUFFERS)), _Runtime(run)), decoded


def _permlane_swap(pc: int, arch: str, instruction: int, decoded: Any) -> tuple[Any, Any]:
    """v_permlane16_swap_b32 and v_permlane32_swap_b32: registers exchange halves of their lanes."""
    lanes = next(each.lanes for each in ARCHS.values() if each.emulator == arch)
    group = 16 if "16" in str(decoded.op.name) else 32
    target, source = instruction >> 17 & 0xFF, (instruction & 0x1FF) - 256
    low = np.flatnonzero(np.arange(lanes) & group == 0)

    def run(*buffers: ctypes.c_uint64) -> None:
        wave = _Wave(buffers, lanes)
        if not wave.active.all():
            raise NotImplementedError("lanes of inactive ones")
        held = wave.vector[target][low + group].copy()
        wave.vector[target][low + group] = wave.vector[source][low]
        wave.vector[source][low] = held
        wave.go(pc + 4)

    return (_Program(_Globals(_ALL_BUFFERS)), _Runtime(run)), decoded


def _swizzle(pc: int, arch: str, instruction: int, decoded: Any) -> tuple[Any, Any]:
    """ds_swizzle_b32 in bit mode: lane numbers within 32 are masked, set and flipped."""
    lanes = next(each.lanes for each in ARCHS.values() if each.emulator == arch)
    offset, first, target = instruction & 0xFFFF, instruction >> 32 & 0xFF, instruction >> 56
    if offset >> 15:
        raise NotImplementedError(f"ds_swizzle_b32 with offset {offset:#x}")
    lane = np.arange(lanes)
    within = (lane & 31 & offset & 31 | offset >> 5 & 31) ^ (offset >> 10 & 31)
    source = lane & ~31 | within

    def run(*buffers: ctypes.c_uint64) -> None:
        wave = _Wave(buffers, lanes)
        active = wave.active
        values = np.where(active[source], wave.vector[first][source], 0).astype(np.uint32)
        wave.vector[target] = np.where(active, values, wave.vector[target])
        wave.go(pc + 8)

    return (_Program(_Globals(_ALL_BUFFERS)), _Runtime(run)), decoded


def _with_low_registers(
    decode: Callable[[int, str], Any], pc: int, arch: str, instruction: int
) -> tuple[Any, Any]:
    """Run an instruction of at most two operands on copies of its vector registers."""
    lanes = next(each.lanes for each in ARCHS.values() if each.emulator == arch)
    opcode = instruction >> 25
    has_result, has_second = opcode != 0x3E, opcode != 0x3F  # VOPC, VOP1
    fields = [(0, instruction & 0x1FF)] if instruction >> 8 & 1 else []
    fields += [(9, instruction >> 9 & 0xFF | 256)] if has_second else []
    fields += [(17, instruction >> 17 & 0xFF | 256)] if has_result else []
    registers = sorted({register - 256 for _, register in fields})
    plain = instruction
    for bit, register in fields:
        plain = plain & ~(0xFF << bit) | registers.index(register - 256) << bit
    size = 8 if instruction & 0x1FF == _LITERAL else 4
    code = ctypes.create_string_buffer(
        plain.to_bytes(4, "little") + ctypes.string_at(pc + 4, size - 4) + bytes(16), 24
    )
    (program, runtime), decoded = decode(ctypes.addressof(code), arch)

    def run(*buffers: ctypes.c_uint64) -> None:
        assert code is not None  # its memory has to live
        wave = _Wave(buffers, lanes)
        before = wave.vector.copy()
        wave.vector[: len(registers)] = before[registers]
        wave.go(ctypes.addressof(code))
        runtime.fxn(*(buffers[i] for i in program.arg.globals))
        after = wave.vector[: len(registers)].copy()
        wave.vector[: len(registers)] = before[: len(registers)]
        wave.vector[registers] = after
        wave.go(pc + size)

    return (_Program(_Globals(_ALL_BUFFERS)), _Runtime(run)), decoded


_lds_bytes = 0


def _shared_access(
    decode: Callable[[int, str], Any], pc: int, arch: str, instruction: int
) -> tuple[Any, Any]:
    """Run an access to shared memory with the addresses of active lanes only."""
    lanes = next(each.lanes for each in ARCHS.values() if each.emulator == arch)
    (program, runtime), decoded = decode(pc, arch)
    name = str(decoded.op.name)
    if "PERMUTE" in name:
        return (program, runtime), decoded
    register, target = instruction >> 32 & 0xFF, instruction >> 56
    offsets = [instruction & 0xFFFF]
    if "READ2" in name or "WRITE2" in name or "_2ADDR_" in name:
        unit = (8 if "B64" in name else 4) * (64 if "ST64" in name or "STRIDE64" in name else 1)
        offsets = [(instruction & 0xFF) * unit, (instruction >> 8 & 0xFF) * unit]
    half = name.startswith(("DS_LOAD", "DS_READ")) and "D16" in name

    def run(*buffers: ctypes.c_uint64) -> None:
        wave = _Wave(buffers, lanes)
        active = wave.active
        held = wave.vector[target].copy()
        addresses = wave.vector[register].copy()
        for offset in offsets:
            reached = addresses[active] + np.uint32(offset)  # modulo 2^32
            if (reached >= _lds_bytes).any():
                raise RuntimeError(
                    f"{name} at {reached.max()} of {_lds_bytes} bytes of shared memory"
                )
        wave.vector[register][~active] = 0
        runtime.fxn(*(buffers[i] for i in program.arg.globals))
        if half:
            loaded = wave.vector[target] & 0xFFFF
            both = held & 0xFFFF | loaded << 16 if "HI" in name else held & 0xFFFF0000 | loaded
            wave.vector[target][active] = both[active]
        if not half or register != target:
            wave.vector[register][~active] = addresses[~active]
        else:
            wave.vector[target][~active] = held[~active]

    return (_Program(_Globals(_ALL_BUFFERS)), _Runtime(run)), decoded


_executed: collections.Counter[str] | None = None


def _decode_at(decode: Callable[[int, str], Any], pc: int, arch: str) -> Any:
    """Take the place of the emulator's own function of that name."""
    (program, runtime), decoded = _completed(decode, pc, arch)
    executed = _executed
    if executed is None:
        return (program, runtime), decoded
    # Of two instructions in one the first.
    name = str((decoded.op if hasattr(decoded, "op") else decoded.opx).name)

    def run(*buffers: ctypes.c_uint64) -> None:
        executed[name] += 1
        runtime.fxn(*buffers)

    return (program, _Runtime(run)), decoded


def _completed(decode: Callable[[int, str], Any], pc: int, arch: str) -> Any:
    """Decode an instruction, or do it here."""
    word = ctypes.c_uint32.from_address(pc).value
    both = ctypes.c_uint64.from_address(pc).value
    is_vop1_vop2_or_vopc = word >> 31 == 0
    is_vop3 = word >> 26 == 0x35
    if is_vop1_vop2_or_vopc and word & 0x1FF == _DPP:
        return _with_dpp(decode, pc, arch, word, 8, both >> 32)
    if is_vop3 and arch != "cdna" and both >> 32 & 0x1FF == _DPP:
        return _with_dpp(decode, pc, arch, both, 12, ctypes.c_uint32.from_address(pc + 8).value)
    if arch == "cdna" and is_vop1_vop2_or_vopc and word & 0x1FF != _SDWA:
        decoded = _emulator().decode_inst(ctypes.string_at(pc, 16), arch)
        if re.search("_[BFIU]16", str(decoded.op.name)):
            return _with_low_registers(decode, pc, arch, word)
    if word >> 26 not in (0x1F, 0x35, 0x36):
        return decode(pc, arch)
    decoded = _emulator().decode_inst(ctypes.string_at(pc, 16), arch)
    name = str(decoded.op.name)
    if name.startswith("V_PERMLANEX16_B32"):
        return _permlanex16(pc, arch, both, decoded)
    if name.startswith(("V_PERMLANE16_SWAP_B32", "V_PERMLANE32_SWAP_B32")):
        return _permlane_swap(pc, arch, word, decoded)
    if name.startswith("DS_SWIZZLE_B32"):
        return _swizzle(pc, arch, both, decoded)
    if name.startswith("DS_"):
        return _shared_access(decode, pc, arch, both)
    return decode(pc, arch)


# -- code objects ----------------------------------------------------------------------------------


class _Descriptor(NamedTuple):
    """What a kernel's descriptor says (LLVM, "User Guide for AMDGPU Backend")."""

    lds_bytes: int
    scratch_bytes: int
    kernarg_bytes: int
    entry: int
    rsrc1: int
    rsrc2: int
    properties: int
    preload: int


# By the bit of the descriptor's properties that asks for it: scalar registers that it takes.
_USER_SCALARS = {0: 4, 1: 2, 2: 2, 3: 2, 4: 2, 5: 2, 6: 1}
_KERNARG = 3
_HIDDEN_BYTES = 256


class CodeObject:
    """A code object in memory.

    Parameters
    ----------
    code : bytes or Path
        An ELF file for amdhsa, code object version 5 or 6.
    arch : str
        One of `ARCHS`.
    """

    def __init__(self, code: bytes | Path, arch: str) -> None:
        self.arch = ARCHS[arch]
        elf = code.read_bytes() if isinstance(code, Path) else code
        self._symbols = dict(_symbols(elf))
        segments = list(_segments(elf))
        size = max(address + total for _, address, _, total in segments)
        self._memory = ctypes.create_string_buffer(size + 4096)
        self._base = ctypes.addressof(self._memory)
        self._base += -self._base % 256
        self._size = size
        for offset, address, in_file, _ in segments:
            ctypes.memmove(self._base + address, elf[offset : offset + in_file], in_file)

    @property
    def kernels(self) -> list[str]:
        """The names of its kernels."""
        return sorted(name[:-3] for name in self._symbols if name.endswith(".kd"))

    def read_symbol(self, name: str) -> bytes:
        """Return a variable's bytes."""
        address, size = self._symbols[name]
        return ctypes.string_at(self._base + address, size)

    def _descriptor(self, kernel: str) -> _Descriptor:
        if kernel + ".kd" not in self._symbols:
            raise KeyError(f"no kernel {kernel}; there are {', '.join(self.kernels) or 'none'}")
        raw = self.read_symbol(kernel + ".kd")
        lds, scratch, kernarg = struct.unpack_from("<III", raw, 0)
        (entry,) = struct.unpack_from("<q", raw, 16)
        rsrc1, rsrc2 = struct.unpack_from("<II", raw, 48)
        properties, preload = struct.unpack_from("<HH", raw, 56)
        entry += self._base + self._symbols[kernel + ".kd"][0]
        return _Descriptor(lds, scratch, kernarg, entry, rsrc1, rsrc2, properties, preload)

    def lds_bytes(self, kernel: str) -> int:
        """Return the shared memory that a kernel has without what its launch asks for."""
        return self._descriptor(kernel).lds_bytes

    def scratch_bytes(self, kernel: str) -> int:
        """Return a lane's scratch memory."""
        return self._descriptor(kernel).scratch_bytes

    def launch(
        self, kernel: str, blocks: int, threads: int, arguments: bytes, dynamic_lds_bytes: int = 0
    ) -> None:
        """Run a kernel to its end.

        Parameters
        ----------
        kernel : str
            Its name.
        blocks, threads : int
            The grid, in blocks, and the threads of each; one dimension.
        arguments : bytes
            The explicit arguments as the kernel's signature lays them out; pointers are addresses
            in this process.
        dynamic_lds_bytes : int, default 0
            Shared memory beyond what the kernel says itself.
        """
        found = self._descriptor(kernel)
        if found.preload:
            raise NotImplementedError("arguments that are loaded into registers")
        explicit = found.kernarg_bytes - _HIDDEN_BYTES
        if found.kernarg_bytes < _HIDDEN_BYTES:
            explicit = found.kernarg_bytes
        if len(arguments) > explicit:
            raise ValueError(f"{len(arguments)} bytes of arguments; {kernel} takes {explicit}")
        hidden = struct.pack("<IIIHHHHHH", blocks, 1, 1, threads, 1, 1, 0, 0, 0)
        raw = arguments.ljust(explicit, b"\0") + hidden.ljust(_HIDDEN_BYTES, b"\0")
        memory = ctypes.create_string_buffer(raw + bytes(64), len(raw) + 64)
        # The hardware aligns them so, and kernels may know.
        address = ctypes.addressof(memory)
        shift = -address % 16
        ctypes.memmove(address + shift, raw, len(raw))
        address += shift
        scalars: list[int] = []
        for bit, count in _USER_SCALARS.items():
            if found.properties >> bit & 1:
                pointer = bit == _KERNARG
                scalars += [address & 0xFFFFFFFF, address >> 32] if pointer else [0] * count
        scalars += [0] * (16 - len(scalars))
        lds = found.lds_bytes + dynamic_lds_bytes
        rsrc2 = found.rsrc2 & ~(0x1FF << 15) | (lds + 511) // 512 << 15
        emulator = _emulator()
        global _lds_bytes
        _lds_bytes = lds
        with _float_mode(emulator, keep_denormals=found.rsrc1 >> 16 & 3 == 3):
            emulator.run_asm(
                found.entry, self._size, blocks, 1, 1, threads, 1, 1, address, rsrc2,
                found.scratch_bytes, self.arch.emulator, scalars,
            )  # fmt: skip

    def count(self, *args: Any) -> collections.Counter[str]:
        """As `launch`, and return how often all waves executed each instruction."""
        global _executed
        _executed = collections.Counter()
        try:
            self.launch(*args)
            return _executed
        finally:
            _executed = None


@contextlib.contextmanager
def _float_mode(emulator: Any, *, keep_denormals: bool) -> Iterator[None]:
    flushing = emulator._MXCSRContext
    if keep_denormals:
        emulator._MXCSRContext = contextlib.nullcontext
    try:
        yield
    finally:
        emulator._MXCSRContext = flushing


def _segments(elf: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield (offset, address, bytes in the file, bytes in memory) of what is loaded."""
    (start,) = struct.unpack_from("<Q", elf, 0x20)
    size, count = struct.unpack_from("<HH", elf, 0x36)
    for i in range(count):
        kind, _, offset, address, _, in_file, total, _ = struct.unpack_from(
            "<IIQQQQQQ", elf, start + i * size
        )
        if kind == 1:
            yield offset, address, in_file, total


def _symbols(elf: bytes) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield every symbol's name, address and size."""
    (start,) = struct.unpack_from("<Q", elf, 0x28)
    size, count = struct.unpack_from("<HH", elf, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, start + i * size) for i in range(count)]
    for _, kind, _, _, offset, length, link, _, _, entry in sections:
        if kind not in (2, 11):  # symbols, dynamic symbols
            continue
        names = sections[link][4]
        for at in range(offset, offset + length, entry):
            name, _, _, _, value, bytes_of = struct.unpack_from("<IBBHQQ", elf, at)
            text = elf[names + name : elf.index(b"\0", names + name)]
            yield text.decode(), (value, bytes_of)
