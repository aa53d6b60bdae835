"""Counts the instructions an element that AMD's compilers need to sort float32; needs no GPU.

    python benchmarks/isa_amd.py
    python benchmarks/isa_amd.py --arch gfx942 gfx1100 --json isa.json
    TINYGRAD_SRC=tinygrad python benchmarks/isa_amd.py        kernels with an index, too

It counts vector (VALU), shared-memory (DS) and global-memory instructions in assembly, and divides
by the elements of a lane. The rows are complete, aligned and fill the layout's capacity, so that
the assembly does not branch. `plain` is the path for rows without NaN and -0.0, on targets that
have it. `ancestor` is an older kernel with one element a lane, for rows as long as a warp. A second
table counts the instructions of one step across lanes, by the mask of the lane numbers.

Kernels with an index branch where prefixes do not tell keys apart. Theirs are the instructions that
an emulator (tests/support/amd_emulator.py) executes for rows of evenly spread values, which need no
repair: values and int32 indices, complete blocks. `goal` is the highest number that the project
allows.

Counts are not times. No AMD GPU has run this yet.
"""

from __future__ import annotations

import argparse
import collections
import ctypes
import importlib
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import _common
import numpy as np

from warp_bitonic_sort.errors import ToolError
from warp_bitonic_sort.kernels import Kernel, Layout
from warp_bitonic_sort.targets import recipe_of
from warp_bitonic_sort.targets.common import sources
from warp_bitonic_sort.targets.common.layouts import first_fit
from warp_bitonic_sort.targets.hip.compiler import find_hip_compiler, probe_error
from warp_bitonic_sort.targets.hip.layouts import layouts

ARCHS = ("gfx90a", "gfx942", "gfx950", "gfx1030", "gfx1100", "gfx1201")
LENGTHS = (64, 256, 1024)
MASKS = (1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63)
# VALU instructions an element of kernels with an index.
INDEX_GOALS = {("gfx942", 64): 60, ("gfx942", 256): 90, ("gfx942", 1024): 135}
_KINDS = {"VALU": ("v_",), "DS": ("ds_",), "memory": ("global_", "flat_", "buffer_", "scratch_")}

_FULL_ROWS = """#include <warp_bitonic_sort/kernel.hpp>
using namespace warp_bitonic_sort;
using exact_codec = register_codec<codec_kind::ieee, 32, amdgcn_ops>;
using exact_rows =
    gpu_rows<amdgcn_target, exact_codec, codec_kind::ieee, selection::all, {layout}>;

template <class Rows>
WBS_INLINE void full_rows(const wbs_args<1, 1>& given) {{
  extern __shared__ __align__(16) unsigned char shared[];
  const wbs_args<1, 1>& args = amdgcn_target<int>::reload_args(given);
  __builtin_assume(args.length == exact_rows::capacity);
  __builtin_assume(args.batch_dims == 1);
  __builtin_assume(args.rows == 1ll << 60);
  __builtin_assume(args.input_stride[0] == 4);
  __builtin_assume(args.output_stride[0] == 4);
  __builtin_assume(args.input_batch_stride[0][0] == 4 * exact_rows::capacity);
  __builtin_assume(args.output_batch_stride[0][0] == 4 * exact_rows::capacity);
  __builtin_assume(reinterpret_cast<unsigned long long>(args.input[0]) % 16 == 0);
  __builtin_assume(reinterpret_cast<unsigned long long>(args.output[0]) % 16 == 0);
  Rows::sort(args, amdgcn_target<int>::block(), shared);
}}
#define WBS_FULL(name, Rows)                                                       \\
  extern "C" __global__                                                            \\
      __attribute__((amdgpu_flat_work_group_size(Rows::threads, Rows::threads)))   \\
      void name(const wbs_args<1, 1> args) {{ full_rows<Rows>(args); }}
WBS_FULL(exact, exact_rows)
using plain_rows = exact_rows::float_rows;
#if defined(__GFX9__) || defined(__GFX10__)
WBS_FULL(plain, plain_rows)
#endif
"""

_STEPS = """#include <warp_bitonic_sort/kernel.hpp>
using namespace warp_bitonic_sort;
template <class Key, int Mask, int Count>
WBS_INLINE void steps(Key* keys) {{
  const amdgcn_target<Key> target{{1}};
  Key k = keys[amdgcn_detail::thread()];
  WBS_UNROLL
  for (int i = 0; i < Count; ++i) k = target.template exchange_select<Mask>(k, k);
  keys[amdgcn_detail::thread()] = k;
}}
"""
_STEP = """extern "C" __global__ void steps_{mask}_{count}({key}* keys) {{
  steps<{key}, {mask}, {count}>(keys);
}}
"""

# One element a lane: a shuffle and a median for every step. Beyond sixteen lanes, the shuffle is
# the code of __shfl_xor.
_ANCESTOR = """#include <warp_bitonic_sort/kernel.hpp>
namespace {{
using warp_bitonic_sort::amdgcn_detail::control_of;
template <int Mask>
WBS_INLINE float shuffled(float x, int lane) {{
  const int raw = __builtin_bit_cast(int, x);
  if constexpr (Mask < 16 && control_of(Mask) >= 0) {{
    return __builtin_bit_cast(float,
                              __builtin_amdgcn_mov_dpp(raw, control_of(Mask), 0xF, 0xF, true));
  }} else if constexpr (Mask == 4) {{
    const int low = __builtin_amdgcn_update_dpp(raw, raw, 0x104, 0xF, 0x5, false);
    return __builtin_bit_cast(
        float, __builtin_amdgcn_update_dpp(low, raw, 0x114, 0xF, 0xA, false));
  }} else {{
    return __builtin_bit_cast(float, __builtin_amdgcn_ds_bpermute((lane ^ Mask) << 2, raw));
  }}
}}
template <int Size, int Mask>
WBS_INLINE float merged(float x, int lane) {{
  if constexpr (Mask == 0) {{
    return x;
  }} else {{
    const bool least = ((lane & Size) == 0) == ((lane & Mask) == 0);
    const float limit = least ? -__builtin_inff() : __builtin_inff();
    return merged<Size, Mask / 2>(
        __builtin_amdgcn_fmed3f(shuffled<Mask>(x, lane), x, limit), lane);
  }}
}}
template <int Size, int Lanes>
WBS_INLINE float sorted(float x, int lane) {{
  if constexpr (Size > Lanes) {{
    return x;
  }} else {{
    return sorted<2 * Size, Lanes>(merged<Size, Size / 2>(x, lane), lane);
  }}
}}
}}  // namespace
extern "C" __global__ void ancestor(const float* src, float* dst) {{
  const int lane = warp_bitonic_sort::amdgcn_detail::lane();
  constexpr int lanes = 1 << warp_bitonic_sort::amdgcn_detail::lane_bits;
  dst[lane] = sorted<2, lanes>(src[lane], lane);
}}
"""


def assembly(arch: str, source: str) -> dict[str, list[str]]:
    """Compile a translation unit with the package's flags; return each function's mnemonics."""
    text = _compiled(arch, source, "-S").decode()
    functions: dict[str, list[str]] = {}
    inside: list[str] | None = None
    for line in text.splitlines():
        begins = re.match(r"(\w+):\s+; @", line)
        if begins:
            inside = functions.setdefault(begins[1], [])
        elif line.startswith(".Lfunc_end"):
            inside = None
        elif inside is not None and re.match(r"\t[a-z]", line):
            inside.append(line.split()[0])
    return functions


def _compiled(arch: str, source: str, *options: str) -> bytes:
    """Compile a translation unit with the package's flags to standard output."""
    compiler = find_hip_compiler(arch, probe_error)
    kernel = Kernel("hip", arch, "all", "none", "ieee", 32, Layout(4), "rows")
    command = [*compiler.command, *recipe_of(kernel.target).flags(kernel.arch), *options]
    command += [f"-I{sources.INCLUDE_DIR}", "-", "-o", "-"]
    done = subprocess.run(command, input=source.encode(), capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode())
    return done.stdout


def counts(mnemonics: list[str]) -> dict[str, int]:
    """Return how many instructions of each kind there are."""
    return {kind: sum(mnemonic.startswith(prefixes) for mnemonic in mnemonics)
            for kind, prefixes in _KINDS.items()}  # fmt: skip


def full_rows(arch: str, length: int) -> tuple[tuple[int, int, int], dict[str, dict[str, float]]]:
    """Return the layout of rows of a length, and the instructions an element of each path."""
    layout = first_fit(layouts(arch).rows("none", 32), length)
    if layout is None:
        raise ValueError(f"length: {arch} has no layout for {length}")
    functions = assembly(arch, _FULL_ROWS.format(layout=", ".join(map(str, layout))))
    # The path for plain rows has one branch: it leaves the path at a row that is not plain.
    branches = [
        name
        for name, code in functions.items()
        if sum(mnemonic.startswith("s_cbranch") for mnemonic in code) > (name == "plain")
    ]
    if branches:
        raise RuntimeError(f"{arch}, {length}: {branches} branch, so that counts mean nothing")
    return layout, {
        name: {kind: count / layout[0] for kind, count in counts(code).items()}
        for name, code in functions.items()
    }


class _IndexArgs(ctypes.Structure):
    """wbs_args<1, 2> of abi.h."""

    _fields_ = (
        ("input", ctypes.c_uint64),
        ("output", ctypes.c_uint64 * 2),
        ("rows", ctypes.c_longlong),
        ("input_stride", ctypes.c_longlong),
        ("output_stride", ctypes.c_longlong * 2),
        ("batch_shape", ctypes.c_longlong * 8),
        ("input_batch_stride", ctypes.c_longlong * 8),
        ("output_batch_stride", ctypes.c_longlong * 8 * 2),
        ("key_xor", ctypes.c_uint64),
        ("key_add", ctypes.c_uint64),
        ("length", ctypes.c_int),
        ("batch_dims", ctypes.c_int),
        ("opaque_one", ctypes.c_int),
        ("kept", ctypes.c_int),
        ("index_bytes", ctypes.c_int),
    )


def _aligned(shape: tuple[int, int], dtype: type) -> np.ndarray[Any, Any]:
    """Return zeros at an address that 16 divides."""
    memory: np.ndarray[Any, Any] = np.zeros(shape[0] * shape[1] + 16, dtype)
    first = -memory.ctypes.data % 16 // memory.itemsize
    return memory[first : first + shape[0] * shape[1]].reshape(shape)


def indexed(arch: str, length: int, emulator: Any) -> tuple[Layout, dict[str, float]]:
    """Return the layout of rows with indices, and the instructions an element of a block."""
    layout = first_fit(layouts(arch).rows("index", 32), length)
    if layout is None:
        raise ValueError(f"length: {arch} has no layout for {length}")
    kernel = Kernel("hip", arch, "all", "index", "ieee", 32, layout, "rows")
    code = emulator.CodeObject(_compiled(arch, kernel.source()), arch)
    # The last members of wbs_gpu_kernel (abi.h).
    description = code.read_symbol("warp_bitonic_sort_gpu_kernel")
    threads, rows, shared = struct.unpack_from("<III", description, len(description) - 12)
    x, values = (_aligned((rows, length), np.float32) for _ in range(2))
    indices = _aligned((rows, length), np.int32)
    x[...] = np.arange(length) - length / 3
    np.random.default_rng(0).permuted(x, axis=1, out=x)
    args = _IndexArgs(
        input=x.ctypes.data,
        output=(values.ctypes.data, indices.ctypes.data),
        rows=rows,
        input_stride=4,
        output_stride=(4, 4),
        batch_shape=(rows,),
        input_batch_stride=(4 * length,),
        output_batch_stride=((4 * length,), (4 * length,)),
        key_add=0xFF800001,  # order_constants_of(float32, ascending)
        length=length,
        batch_dims=1,
        opaque_one=1,
        kept=length,
        index_bytes=4,
    )
    executed = code.count("warp_bitonic_sort_rows", 1, threads, bytes(args), shared)
    if not (indices == np.argsort(x, axis=1)).all() or not (values == np.sort(x, axis=1)).all():
        raise RuntimeError(f"{arch}, {length}: wrong results, so that counts mean nothing")
    found: collections.Counter[str] = collections.Counter()
    for name, count in executed.items():
        for kind, prefixes in _KINDS.items():
            found[kind] += count * name.lower().startswith(prefixes)
    return layout, {
        kind: found[kind] * layouts(arch).warp_lanes / (rows * length) for kind in _KINDS
    }


def step(arch: str, key: str) -> dict[int, dict[str, float]]:
    """Return the instructions of one step across lanes for keys of a C++ type, by mask."""
    masks = [mask for mask in MASKS if mask < layouts(arch).warp_lanes]
    source = _STEPS.format() + "".join(
        _STEP.format(key=key, mask=mask, count=count) for mask in masks for count in (1, 3)
    )
    by_name = {name: counts(code) for name, code in assembly(arch, source).items()}
    return {
        mask: {kind: (by_name[f"steps_{mask}_3"][kind] - by_name[f"steps_{mask}_1"][kind]) / 2
               for kind in _KINDS}
        for mask in masks
    }  # fmt: skip


def _emulator() -> tuple[Any, str | None]:
    """Return the tests' module that emulates AMD GPUs, or None and why it cannot."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
    emulator = importlib.import_module("support.amd_emulator")
    why_not = emulator.available()
    return (None if why_not else emulator), why_not


def _cells(by_kind: dict[str, float]) -> list[str]:
    values = [by_kind[kind] for kind in _KINDS]
    return [f"{value:.2g}" if value < 1 else f"{value:.1f}" for value in values]


def _step_cell(by_kind: dict[str, float] | None) -> str:
    if by_kind is None:
        return ""
    return f"{by_kind['VALU']:g}" + (f"+{by_kind['DS']:g} DS" if by_kind["DS"] else "")


def main() -> None:
    """Count, print tables, and write JSON if an option names a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--arch",
        nargs="+",
        default=list(ARCHS),
        choices=ARCHS,
        help="the architectures (default: all)",
    )
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": _common.machine(), "rows": [], "steps": []}
    result["with_index"] = []
    for key, value in result["machine"].items():
        print(f"{key}: {value}")
    rows, steps, with_index = [], [], []
    emulator, why_not = _emulator()
    for arch in options.arch:
        try:
            compiler = find_hip_compiler(arch, probe_error)
        except ToolError as error:
            print(f"{arch} is left out: {error}")
            continue
        print(f"{arch}: {compiler.version().splitlines()[0]}")
        for length in LENGTHS:
            layout, ways = full_rows(arch, length)
            for way, by_kind in ways.items():
                result["rows"].append({"arch": arch, "length": length, "way": way, **by_kind})
                rows.append([arch, str(length), way, str(layout), *_cells(by_kind)])
        for length in LENGTHS if emulator and arch in emulator.ARCHS else ():
            layout, by_kind = indexed(arch, length, emulator)
            goal = INDEX_GOALS.get((arch, length))
            result["with_index"].append({"arch": arch, "length": length, "goal": goal, **by_kind})
            note = "above the goal" if goal is not None and by_kind["VALU"] > goal else ""
            cells = [arch, str(length), str(layout), *_cells(by_kind)]
            with_index.append([*cells, "" if goal is None else str(goal), note])
        lanes = layouts(arch).warp_lanes
        (code,) = assembly(arch, _ANCESTOR.format()).values()
        by_kind = {kind: float(count) for kind, count in counts(code).items()}
        result["rows"].append({"arch": arch, "length": lanes, "way": "ancestor", **by_kind})
        rows.append([arch, str(lanes), "ancestor", "one element a lane", *_cells(by_kind)])
        for name, key in (("plain float32", "float"), ("32 bits", "int"),
                          ("two of 16 bits", "warp_bitonic_sort::key16x2"),
                          ("64 bits", "long long")):  # fmt: skip
            by_mask = step(arch, key)
            result["steps"].append({"arch": arch, "key": name, "masks": by_mask})
            steps.append([arch, name, *(_step_cell(by_mask.get(mask)) for mask in MASKS)])
    if not rows:
        raise SystemExit("nothing was counted: no compiler here builds for these architectures")
    print("\ninstructions an element\n")
    print(_common.table(["architecture", "row length", "way", "layout", *_KINDS], rows))
    print("\ninstructions an element, executed, with int32 indices\n")
    if with_index:
        header = ["architecture", "row length", "layout", *_KINDS, "VALU goal", "note"]
        print(_common.table(header, with_index))
    else:
        print(f"not counted: {why_not or 'no architecture that the emulator knows'}")
    print("\nVALU and DS instructions of a step across lanes, by mask\n")
    print(_common.table(["architecture", "key", *map(str, MASKS)], steps))
    _common.report(result, options.json)


if __name__ == "__main__":
    main()
