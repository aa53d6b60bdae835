"""Contains the programs that `cold_start.py` measures, each in a process of its own.

Invariant: the last line of a program's output is a JSON list: the seconds of the first result,
their parts, and the number of tools that were started. Its clock starts when its imports are done.
`str.format` replaces names in braces.
"""

# Measures the parts of our sort.
WATCH = """
import json, sys, time
tools = []
starts = ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.exec", "os.system")
sys.addaudithook(lambda name, _: tools.append(name) if name in starts else None)
tools.clear()
start = time.perf_counter()
import warp_bitonic_sort
parts = {"import": time.perf_counter() - start}
first = parts["import"]
"""
# For a sort that builds. Otherwise, the modules of builds must not be imported.
WATCH_BUILD = f"""{WATCH}
from warp_bitonic_sort.jit.build import ninja
from warp_bitonic_sort.targets.common.compiler import Compiler

def timed(function, part):
    def call(*arguments):
        begin = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            parts[part] = parts.get(part, 0) + time.perf_counter() - begin
    return call

def build(folder, *rest, run=timed(ninja.run, "ninja")):
    failure = run(folder, *rest)
    for line in (folder / ".ninja_log").read_text().splitlines()[1:]:
        begin, end, _, product, _ = line.split("\\t")
        parts["of which " + product.split("/")[0]] = (int(end) - int(begin)) / 1e3
    return failure

ninja.run = build
Compiler.version = timed(Compiler.version, "compilers' --version")
"""

OURS = """
import sys
sys.modules["torch"] = None
import numpy as np, tvm_ffi
{watch}
x = np.random.default_rng(0).random({shape}, dtype=np.float32)
start = time.perf_counter()
y = warp_bitonic_sort.sort(x)
first += time.perf_counter() - start
print(json.dumps([first, parts, len(tools)]))
assert (y == np.sort(x)).all()
"""

OURS_CUDA = """
import torch, tvm_ffi
torch.zeros(1, device="cuda")
{watch}
x = torch.rand({shape}, device="cuda")
torch.cuda.synchronize()
start = time.perf_counter()
y = warp_bitonic_sort.sort(x)
torch.cuda.synchronize()
first += time.perf_counter() - start
print(json.dumps([first, parts, len(tools)]))
assert torch.equal(y, torch.sort(x).values)
"""

BINDING = """
#include <warp_bitonic_sort/kernel.hpp>
#include <warp_bitonic_sort/core/dtype.hpp>
{unit}
static void run(const void* x, void* out, int64_t rows) {{
  namespace wbs = warp_bitonic_sort;
  wbs_args<1, 1> args{{}};
  args.input[0] = x;
  args.output[0] = out;
  args.length = {length};
  args.input_stride[0] = args.output_stride[0] = 4;
  args.batch_dims = 1;
  args.batch_shape[0] = rows;
  args.input_batch_stride[0][0] = args.output_batch_stride[0][0] = {length} * 4;
  const auto order = wbs::order_constants_of(wbs::dtype::float32, false, false);
  args.key_xor = order.key_xor;
  args.key_add = order.key_add;
  alignas(64) static char scratch[1 << 16];
  const auto needed = warp_bitonic_sort_kernel.scratch_bytes({length});
  if (needed > int64_t{{sizeof scratch}}) __builtin_trap();
  warp_bitonic_sort_kernel.run(&args, 0, rows, scratch);
}}
"""

TVM_FFI = """
import sys
sys.modules["torch"] = None
import json, time, numpy as np, tvm_ffi, tvm_ffi.cpp
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
print(json.dumps([first, {{}}, 0]))
"""

TORCH = """
import json, time, numpy as np, torch, torch.utils.cpp_extension
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
print(json.dumps([first, {{}}, 0]))
"""

CUDA_BINDING = """
#include <warp_bitonic_sort/kernel.hpp>
#include <warp_bitonic_sort/core/dtype.hpp>
{unit}
static void run(const void* x, void* out, int64_t rows, cudaStream_t stream) {{
  namespace wbs = warp_bitonic_sort;
  wbs_args<1, 1> args{{}};
  args.input[0] = x;
  args.output[0] = out;
  args.rows = rows;
  args.length = {length};
  args.input_stride[0] = args.output_stride[0] = 4;
  args.batch_dims = 1;
  args.batch_shape[0] = args.rows;
  args.input_batch_stride[0][0] = args.output_batch_stride[0][0] = {length} * 4;
  const auto order = wbs::order_constants_of(wbs::dtype::float32, false, false);
  args.key_xor = order.key_xor;
  args.key_add = order.key_add;
  args.opaque_one = 1;
  static_assert(wbs_rows::shared_bytes <= 48 * 1024, "more than a launch may have");
  const auto blocks = (args.rows + wbs_rows::block_rows - 1) / wbs_rows::block_rows;
  warp_bitonic_sort_rows<<<static_cast<unsigned>(blocks), wbs_rows::threads,
                           wbs_rows::shared_bytes, stream>>>(args);
}}
"""

TVM_FFI_CUDA = """
import json, time, torch, tvm_ffi, tvm_ffi.cpp
torch.zeros(1, device="cuda")
x = torch.rand({shape}, device="cuda")
out = torch.empty_like(x)
torch.cuda.synchronize()
start = time.perf_counter()
module = tvm_ffi.cpp.load_inline(
    "sort_rows",
    cuda_sources={source!r},
    functions="sort_rows",
    extra_cuda_cflags=["-O3"],
    extra_include_paths=[{include!r}],
    build_directory={folder!r},
)
module.sort_rows(x, out)
torch.cuda.synchronize()
first = time.perf_counter() - start
assert torch.equal(out, torch.sort(x).values)
print(json.dumps([first, {{}}, 0]))
"""

TORCH_CUDA = """
import json, time, torch, torch.utils.cpp_extension
torch.zeros(1, device="cuda")
x = torch.rand({shape}, device="cuda")
out = torch.empty_like(x)
torch.cuda.synchronize()
start = time.perf_counter()
module = torch.utils.cpp_extension.load_inline(
    "sort_rows",
    cpp_sources="void sort_rows(torch::Tensor x, torch::Tensor out);",
    cuda_sources={source!r},
    functions="sort_rows",
    extra_cuda_cflags=["-O3"],
    extra_include_paths=[{include!r}],
    build_directory={folder!r},
)
module.sort_rows(x, out)
torch.cuda.synchronize()
first = time.perf_counter() - start
assert torch.equal(out, torch.sort(x).values)
print(json.dumps([first, {{}}, 0]))
"""
