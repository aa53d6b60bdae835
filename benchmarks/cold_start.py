"""From nothing to the first result, beside two libraries that build the same kernel.

    python benchmarks/cold_start.py
    python benchmarks/cold_start.py --on cuda --no-peers --verbose

Each time is that of a new process, and starts when its imports (numpy, tvm_ffi, torch on a GPU) are
done and, on a CUDA device, its context exists: what is left is importing the library itself (`of
that, import`), building, loading, calling, and waiting for the device. On the CPU our processes and
tvm_ffi's import no torch, as where there is none. The kernel is the one for rows of 25 float32; the
peers compile its translation unit inside a minimal binding of their own. `Runtime present` is the
same sort again, with the cache's kernel removed; kernels for longer rows take longer to compile,
as the ones for rows of 100 (on a GPU: of 64) show (all of CUDA's: compile_cuda.py). `least` tells
what of a median is other work on the machine. `tools` is how many subprocesses a first result took;
a process that finds its kernel in a layer, which is a wheel's, or in a warm cache, and starts any
ends this script with status 1.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import _common

_SHAPE = (1000, 25)

# Ours say where the time went; the hook and the clocks cost microseconds.
_WATCH = """
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
# Where something is built. Elsewhere the modules that do it are not imported, nor may they be here.
_WATCH_BUILD = f"""{_WATCH}
from warp_bitonic_sort.jit import ninja
from warp_bitonic_sort.jit.compiler import Compiler

def timed(function, part):
    def call(*arguments):
        begin = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            parts[part] = parts.get(part, 0) + time.perf_counter() - begin
    return call

def build(folder, *rest, run=timed(ninja.build, "ninja")):
    failure = run(folder, *rest)
    for line in (folder / ".ninja_log").read_text().splitlines()[1:]:
        begin, end, _, product, _ = line.split("\\t")
        parts["of which " + product.split("/")[0]] = (int(end) - int(begin)) / 1e3
    return failure

ninja.build = build
Compiler.version = timed(Compiler.version, "compilers' --version")
"""

_OURS = """
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

_OURS_CUDA = """
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

_BINDING = """
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

_TVM_FFI = """
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

_TORCH = """
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

_CUDA_BINDING = """
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

_TVM_FFI_CUDA = """
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

_TORCH_CUDA = """
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


class _First(NamedTuple):
    """A first result: its seconds, what they are made of, and how many tools were started."""

    seconds: float
    parts: dict[str, float]
    tools: int


class _ChildFailed(Exception):  # noqa: N818 - which of them, the traceback says
    """A process that was measured ended with an error."""


def _as_installed() -> dict[str, str]:
    """Return an environment in which modules are kept compiled, as pip installs them."""
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _first(code: str, **environment: str) -> _First:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**_as_installed(), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise _ChildFailed(f"{done.stdout}\n{done.stderr}")
    # Whatever the libraries say comes before.
    return _First(*json.loads(done.stdout.strip().splitlines()[-1]))


def _peer(template: str, prologue: str, body: str, folder: Path) -> str:
    from warp_bitonic_sort.jit import toolchain
    from warp_bitonic_sort.kernels import Kernel, Layout

    arch, layout = toolchain.cpu_arch(), Layout(_SHAPE[1])
    kernel = Kernel("cpu", arch, "all", "none", "ieee", 32, layout, "rows")
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


def _cuda_peer(template: str, prologue: str, body: str, folder: Path) -> str:
    from warp_bitonic_sort import plan
    from warp_bitonic_sort.dtypes import DTYPES
    from warp_bitonic_sort.jit import toolchain

    # The source is the same for every architecture.
    strides = (_SHAPE[1], 1)
    made = plan.plan_gpu_sort("cuda", DTYPES["float32"], _SHAPE, strides, strides, 1, "sm_90")
    kernel = made.kernel
    assert kernel is not None
    unit = kernel.source().split("\n\n", 1)[1]
    folder.mkdir()
    return template.format(
        shape=_SHAPE,
        source=prologue + _CUDA_BINDING.format(unit=unit, length=_SHAPE[1]) + body,
        include=str(toolchain.INCLUDE_DIR),
        folder=str(folder),
    )


def _layer(folder: Path, *arguments: str) -> dict[str, str]:
    """Fill a wheel's layer, and return the environment of a process that has it and no cache.

    The wheel is a copy of the package, whose files are others than those that the layer was built
    from, as they are where a wheel was installed.
    """
    from warp_bitonic_sort.jit import toolchain

    package = folder / "site" / toolchain.PACKAGE.name
    others = shutil.ignore_patterns("layer", "__pycache__")
    shutil.copytree(toolchain.PACKAGE, package, ignore=others, copy_function=shutil.copyfile)
    compileall.compile_dir(package, quiet=1)
    filled = subprocess.run(
        [sys.executable, "-m", "warp_bitonic_sort", "prewarm", "--into", str(package / "layer"),
         "--length", str(_SHAPE[1]), *arguments],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    if filled.returncode != 0:
        raise _ChildFailed(filled.stdout + filled.stderr)
    path = [str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "PYTHONPATH": os.pathsep.join(path),
        "WARP_SORT_CACHE_DIR": str(folder / "unused"),
    }


def _without_kernels(environment: dict[str, str]) -> dict[str, str]:
    """Remove a cache's kernels, and return the environment of a process that has the rest."""
    kernels = list(Path(environment["WARP_SORT_CACHE_DIR"]).glob("*/entries/sort_*"))
    if not kernels:
        raise _ChildFailed("the first process has left no kernel in its cache")
    for kernel in kernels:
        shutil.rmtree(kernel)
    return environment


def _cpu_turn(folder: Path, with_peers: bool) -> dict[str, _First]:
    cache = {"WARP_SORT_CACHE_DIR": str(folder / "cache")}
    ours = _OURS.format(watch=_WATCH_BUILD, shape=_SHAPE)
    longer = _OURS.format(watch=_WATCH_BUILD, shape=(1000, 100))
    found = _OURS.format(watch=_WATCH, shape=_SHAPE)
    turn = {
        "ours, from nothing": _first(ours, **cache),
        "ours, runtime present": _first(ours, **_without_kernels(cache)),
        "ours, runtime present, rows of 100": _first(longer, **cache),
        "ours, in a layer": _first(found, **_layer(folder)),
        "ours, warm cache, new process": _first(found, **cache),
    }
    if not with_peers:
        return turn
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
        **turn,
        "tvm_ffi.cpp.load_inline, from nothing": _first(tvm_ffi),
        "tvm_ffi.cpp.load_inline, new process": _first(tvm_ffi),
        "torch load_inline, from nothing": _first(torch),
        "torch load_inline, new process": _first(torch),
    }


def _cuda_turn(folder: Path, with_peers: bool) -> dict[str, _First]:
    import torch

    ours = _OURS_CUDA.format(watch=_WATCH_BUILD, shape=_SHAPE)
    longer = _OURS_CUDA.format(watch=_WATCH_BUILD, shape=(1000, 64))
    found = _OURS_CUDA.format(watch=_WATCH, shape=_SHAPE)
    turn = {}
    for compiler, variable in (("nvcc", ""), ("NVRTC", "1")):
        chosen = {
            "WARP_SORT_CACHE_DIR": str(folder / f"cache_{compiler}"),
            "WARP_SORT_RTC": variable,
        }
        turn[f"CUDA: ours by {compiler}, from nothing"] = _first(ours, **chosen)
        chosen = _without_kernels(chosen)
        turn[f"CUDA: ours by {compiler}, runtime present"] = _first(ours, **chosen)
        turn[f"CUDA: ours by {compiler}, runtime present, rows of 64"] = _first(longer, **chosen)
        turn[f"CUDA: ours by {compiler}, warm cache, new process"] = _first(found, **chosen)
    arch = "sm_{}{}".format(*torch.cuda.get_device_capability())
    layer = _layer(folder / "cuda", "--backend", "cuda", "--arch", arch)
    turn["CUDA: ours, in a layer"] = _first(found, **layer)
    if with_peers:
        turn.update(_cuda_peers(folder))
    return turn


def _cuda_peers(folder: Path) -> dict[str, _First]:
    peers = {
        "tvm_ffi.cpp.load_inline": _cuda_peer(
            _TVM_FFI_CUDA,
            "#include <tvm/ffi/container/tensor.h>\n#include <tvm/ffi/extra/c_env_api.h>\n"
            "#include <tvm/ffi/function.h>\n",
            "void sort_rows(tvm::ffi::TensorView x, tvm::ffi::TensorView out) {\n"
            "  const DLDevice device = x.device();\n"
            "  void* const stream = TVMFFIEnvGetStream(device.device_type, device.device_id);\n"
            "  run(x.data_ptr(), out.data_ptr(), x.shape()[0], (cudaStream_t)stream);\n}\n",
            folder / "tvm_ffi_cuda",
        ),
        "torch load_inline": _cuda_peer(
            _TORCH_CUDA,
            "",
            "void sort_rows(torch::Tensor x, torch::Tensor out) {\n"
            "  run(x.data_ptr(), out.data_ptr(), x.size(0), 0);\n}\n",
            folder / "torch_cuda",
        ),
    }
    found: dict[str, _First] = {}
    for name, code in peers.items():
        try:
            found[f"CUDA: {name}, from nothing"] = _first(code)
            found[f"CUDA: {name}, new process"] = _first(code)
        except _ChildFailed as error:
            # torch wants nvcc to be of its own CUDA version, and that toolkit's libraries.
            print(f"left out, {name} for CUDA fails here: {str(error)[-1500:]}")
    return found


_ASKED = {
    "ours, runtime present": 0.6,
    "ours, in a layer": 0.010,
    "ours, warm cache, new process": 0.010,
    "CUDA: ours by nvcc, runtime present": 0.8,
    "CUDA: ours by nvcc, runtime present, rows of 64": 0.8,
    "CUDA: ours by NVRTC, runtime present": 0.4,
    "CUDA: ours by NVRTC, runtime present, rows of 64": 0.4,
    "CUDA: ours, in a layer": 0.010,
    "CUDA: ours by nvcc, warm cache, new process": 0.010,
    "CUDA: ours by NVRTC, warm cache, new process": 0.010,
}
_WARM = [name for name in _ASKED if "runtime" not in name]
_PEER = "tvm_ffi.cpp.load_inline, from nothing"


def _allowed(name: str, medians: Mapping[str, float]) -> float | None:
    """Return what a first result may take: the peer's time, where it is asked to be no slower."""
    if "ours" in name and "from nothing" in name:
        return medians.get(f"CUDA: {_PEER}" if name.startswith("CUDA") else _PEER)
    return _ASKED.get(name)


def _notes(name: str, runs: Sequence[_First], seconds: float, allowed: float | None) -> str:
    notes = ["above what is allowed"] if allowed is not None and seconds > allowed else []
    if name in _WARM and any(run.tools for run in runs):
        notes.append("a warm process starts tools")
    return ", ".join(notes)


def _breakdown(run: _First) -> list[str]:
    """Say where the time of a run went; what compiles at the same time is indented."""
    lines = [f"    {seconds:8.3f}  {part}" for part, seconds in run.parts.items()]
    whole = (seconds for part, seconds in run.parts.items() if not part.startswith("of which"))
    return [
        *lines,
        f"    {run.seconds - sum(whole):8.3f}  the rest: finding, hashing, loading, sorting",
    ]


def main() -> None:
    """Measure, print a table, and write JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--on", nargs="+", choices=("cpu", "cuda"), help="default: what there is")
    parser.add_argument("--no-peers", action="store_true", help="only ours")
    parser.add_argument("--verbose", action="store_true", help="where the time goes")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()

    torch = _common.peer_torch()
    there = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    turns: list[dict[str, _First]] = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as name:
            turn: dict[str, _First] = {}
            for backend in options.on or there:
                measured = _cpu_turn if backend == "cpu" else _cuda_turn
                turn.update(measured(Path(name), not options.no_peers))
            turns.append(turn)
    machine = _common.machine()
    if "cuda" in (options.on or there):
        from warp_bitonic_sort.jit import finders

        machine["gpu"] = torch.cuda.get_device_name()
        machine["nvcc"] = finders.find_nvcc().version().splitlines()[-1]
    for key, value in machine.items():
        print(f"{key}: {value}")
    grouped = {name: [turn[name] for turn in turns if name in turn] for name in turns[0]}
    medians = {
        name: statistics.median(run.seconds for run in runs) for name, runs in grouped.items()
    }
    rows = []
    for name, runs in grouped.items():
        allowed = _allowed(name, medians)
        imports = [run.parts["import"] for run in runs if "import" in run.parts]
        rows.append(
            [
                name,
                f"{medians[name]:.4f}",
                f"{min(run.seconds for run in runs):.4f}",
                f"{statistics.median(imports):.4f}" if imports else "",
                "" if allowed is None else f"{allowed:.3g}",
                str(max(run.tools for run in runs)) if "ours" in name else "",
                _notes(name, runs, medians[name], allowed),
            ]
        )
    header = ["first result", "median", "least", "of that, import", "asked", "tools", "note"]
    print(f"\n{_common.table(header, rows)}")
    if options.verbose:
        print("\nThe median run of each:")
        for name in (name for name in turns[0] if "ours" in name):
            runs = sorted((turn[name] for turn in turns), key=lambda run: run.seconds)
            print("\n".join([f"  {name}", *_breakdown(runs[len(runs) // 2])]))
    plain = [{name: run._asdict() for name, run in turn.items()} for turn in turns]
    _common.report({"machine": machine, "seconds": medians, "turns": plain}, options.json)
    if any(turn[name].tools for turn in turns for name in _WARM if name in turn):
        raise SystemExit("a warm process starts tools")


if __name__ == "__main__":
    main()
