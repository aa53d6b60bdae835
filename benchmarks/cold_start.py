"""From nothing to the first result, beside two libraries that build the same kernel.

    python benchmarks/cold_start.py

Each time is that of a new process, and starts when its imports (numpy, tvm_ffi, torch, and the
library itself) are done: what is left is building, loading and calling. The kernel is the one for
rows of 25 float32; the peers compile its translation unit inside a minimal binding of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import _common

_SHAPE = (1000, 25)

_OURS = """
import time, numpy as np, tvm_ffi, warp_bitonic_sort
from warp_bitonic_sort.jit import toolchain
x = np.random.default_rng(0).random({shape}, dtype=np.float32)
start = time.perf_counter()
y = warp_bitonic_sort.sort(x)
first = time.perf_counter() - start
assert (y == np.sort(x)).all()
print(first)
"""

_BINDING = """
#include <warp_bitonic_sort/cpu_kernel.hpp>
#include <warp_bitonic_sort/dtype.hpp>
{unit}
static void run(const void* x, void* out, int64_t rows) {{
  namespace wbs = warp_bitonic_sort;
  wbs_sort_args args{{}};
  args.src = x;
  args.dst = out;
  args.length = {length};
  args.src_stride = args.dst_stride = 4;
  args.batch_dims = 1;
  args.batch_shape[0] = rows;
  args.src_batch_stride[0] = args.dst_batch_stride[0] = {length} * 4;
  const auto order = wbs::order_constants_of(wbs::dtype::float32, false, false);
  args.key_xor = order.key_xor;
  args.key_add = order.key_add;
  alignas(64) static char scratch[1 << 16];
  const auto needed = warp_bitonic_sort_kernel.scratch_bytes({length});
  if (needed > int64_t{{sizeof scratch}}) __builtin_trap();
  warp_bitonic_sort_kernel.run(&args, 0, rows, scratch);
}}
"""

_TVM_FFI = """
import time, numpy as np, tvm_ffi, tvm_ffi.cpp
x = np.random.default_rng(0).random({shape}, dtype=np.float32)
out = np.empty_like(x)
start = time.perf_counter()
module = tvm_ffi.cpp.load_inline(
    "sort_rows",
    cpp_sources={source!r},
    functions="sort_rows",
    extra_cflags={flags!r},
    extra_include_paths=[{include!r}],
    build_directory={folder!r},
)
module.sort_rows(x, out)
first = time.perf_counter() - start
assert (out == np.sort(x)).all()
print(first)
"""

_TORCH = """
import time, numpy as np, torch, torch.utils.cpp_extension
x = torch.from_numpy(np.random.default_rng(0).random({shape}, dtype=np.float32))
out = torch.empty_like(x)
start = time.perf_counter()
module = torch.utils.cpp_extension.load_inline(
    "sort_rows",
    cpp_sources={source!r},
    functions="sort_rows",
    extra_cflags={flags!r},
    extra_include_paths=[{include!r}],
    build_directory={folder!r},
)
module.sort_rows(x, out)
first = time.perf_counter() - start
assert (out == torch.sort(x).values).all()
print(first)
"""


def _first(code: str, **environment: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"a peer failed:\n{done.stdout}\n{done.stderr}")
    return float(done.stdout.strip().splitlines()[-1])


def _peer(template: str, prologue: str, body: str, folder: Path) -> str:
    from warp_bitonic_sort.jit import toolchain
    from warp_bitonic_sort.jit.spec import CpuKernel

    kernel = CpuKernel("floating", 32, _SHAPE[1], "rows", toolchain.cpu_arch())
    unit = kernel.source().split("\n\n", 1)[1]
    source = prologue + _BINDING.format(unit=unit, length=_SHAPE[1]) + body
    flags = [f for f in toolchain.compile_flags(kernel) if f.startswith(("-m", "-O"))]
    folder.mkdir()
    return template.format(
        shape=_SHAPE,
        source=source,
        flags=flags,
        include=str(toolchain.INCLUDE_DIR),
        folder=str(folder),
    )


def _turn(folder: Path) -> dict[str, float]:
    cache = {"WARP_SORT_CACHE_DIR": str(folder / "cache")}
    ours = _OURS.format(shape=_SHAPE)
    tvm_ffi = _peer(
        _TVM_FFI,
        "#include <tvm/ffi/container/tensor.h>\n#include <tvm/ffi/function.h>\n",
        "void sort_rows(tvm::ffi::TensorView x, tvm::ffi::TensorView out) {\n"
        "  run(x.data_ptr(), out.data_ptr(), x.shape()[0]);\n}\n",
        folder / "tvm_ffi",
    )
    torch = _peer(
        _TORCH,
        "#include <torch/extension.h>\n",
        "void sort_rows(torch::Tensor x, torch::Tensor out) {\n"
        "  run(x.data_ptr(), out.data_ptr(), x.size(0));\n}\n",
        folder / "torch",
    )
    return {
        "ours, from nothing": _first(ours, **cache),
        "ours, another specialization": _first(_OURS.format(shape=(1000, 24)), **cache),
        "ours, warm cache, new process": _first(ours, **cache),
        "tvm_ffi.cpp.load_inline, from nothing": _first(tvm_ffi),
        "tvm_ffi.cpp.load_inline, new process": _first(tvm_ffi),
        "torch load_inline, from nothing": _first(torch),
        "torch load_inline, new process": _first(torch),
    }


_ASKED = {
    "ours, from nothing": 4.0,
    "ours, another specialization": 1.2,
    "ours, warm cache, new process": 0.020,
}


def main() -> None:
    """Measure, print a table, and write JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    turns: list[dict[str, float]] = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            turns.append(_turn(Path(folder)))
    medians = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
    result: dict[str, Any] = {"machine": _common.machine(), "seconds": medians, "turns": turns}
    for key, value in result["machine"].items():
        print(f"{key}: {value}")
    rows = [
        [
            name,
            f"{seconds:.3f}",
            f"{_ASKED[name]:g}" if name in _ASKED else "",
            "above what is allowed" if seconds > _ASKED.get(name, seconds) else "",
        ]
        for name, seconds in medians.items()
    ]
    print(f"\n{_common.table(['first result', 'seconds', 'asked', 'note'], rows)}")
    _common.report(json.loads(json.dumps(result)), options.json)


if __name__ == "__main__":
    main()
