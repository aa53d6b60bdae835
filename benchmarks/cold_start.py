"""Times the first result of a process, beside two libraries that build the same kernel.

    python benchmarks/cold_start.py
    python benchmarks/cold_start.py --on cuda --no-peers --verbose

Each time is that of a new process. The clock starts when its imports (numpy, tvm_ffi, torch on a
GPU) are done and, on a CUDA device, its context exists. It covers the import of the library (`of
that, import`), building, loading, calling, and waiting for the device. On the CPU the processes of
this library and of tvm_ffi do not import torch.

The kernel is the one for rows of 25 float32. The peers compile its translation unit in a minimal
binding of their own. `Runtime present` is the same sort again, after its kernel was removed from
the cache. Kernels for longer rows take longer to compile: rows of 100 (on a GPU: of 64) are
measured beside it, and compile_cuda.py measures all kernels of CUDA.

A process that finds its kernel in a layer or in a warm cache has 15 ms. Two thirds of that are the
import of this library; the modules are kept readable rather than merged to save a part of it.

`lowest` shows how much of a median is other work on the machine. `tools` is the number of
subprocesses of a first result. The script ends with status 1 if a process that finds its kernel in
a layer or in a warm cache starts a tool.
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
import cold_start_programs as programs

_SHAPE = (1000, 25)


class _First(NamedTuple):
    """A first result: its seconds, their parts, and the number of tools that were started."""

    seconds: float
    parts: dict[str, float]
    tools: int


class _ChildFailed(Exception):  # noqa: N818 - the message is the child's output
    """A measured process ended with an error."""


def _as_installed() -> dict[str, str]:
    """Return an environment in which Python caches compiled modules, as in an installation."""
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _measure(code: str, **environment: str) -> _First:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**_as_installed(), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise _ChildFailed(f"{done.stdout}\n{done.stderr}")
    # Libraries may print before the last line.
    return _First(*json.loads(done.stdout.strip().splitlines()[-1]))


def _peer(template: str, prologue: str, body: str, folder: Path) -> str:
    from warp_bitonic_sort.kernels import Kernel, Layout
    from warp_bitonic_sort.targets import HOST
    from warp_bitonic_sort.targets.common import sources

    arch, layout = HOST.arch_for(), Layout(_SHAPE[1])
    kernel = Kernel("cpu", arch, "all", "none", "ieee", 32, layout, "rows")
    unit = kernel.source().split("\n\n", 1)[1]
    source = prologue + programs.BINDING.format(unit=unit, length=_SHAPE[1]) + body
    flags = [f for f in HOST.recipe.flags(arch) if f.startswith(("-m", "-O"))]
    folder.mkdir()
    return template.format(
        shape=_SHAPE,
        source=source,
        flags=flags,
        include=str(sources.INCLUDE_DIR),
        folder=str(folder),
    )


def _cuda_peer(template: str, prologue: str, body: str, folder: Path) -> str:
    from warp_bitonic_sort.dtypes import DTYPES
    from warp_bitonic_sort.plan import plan
    from warp_bitonic_sort.targets import target_of
    from warp_bitonic_sort.targets.common import sources

    # The source is the same for every architecture.
    strides = (_SHAPE[1], 1)
    target, layout = target_of("cuda"), [strides, strides]
    call_plan = plan("all", "none", DTYPES["float32"], _SHAPE, layout, 1, target, "sm_90")
    kernel = call_plan.kernel
    assert kernel is not None
    unit = kernel.source().split("\n\n", 1)[1]
    folder.mkdir()
    return template.format(
        shape=_SHAPE,
        source=prologue + programs.CUDA_BINDING.format(unit=unit, length=_SHAPE[1]) + body,
        include=str(sources.INCLUDE_DIR),
        folder=str(folder),
    )


def _layer(folder: Path, *arguments: str) -> dict[str, str]:
    """Fill a wheel's layer; return the environment of a process that has the layer and no cache.

    The wheel is a copy of the package. Its files have other inodes and times than the files that
    the layer was built from, as in a real installation.
    """
    from warp_bitonic_sort.targets.common import sources

    package = folder / "site" / sources.PACKAGE.name
    others = shutil.ignore_patterns("layer", "__pycache__")
    shutil.copytree(sources.PACKAGE, package, ignore=others, copy_function=shutil.copyfile)
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
    """Remove a cache's kernels; return the environment of a process that has only the runtime."""
    entries = Path(environment["WARP_SORT_CACHE_DIR"]).glob("*/entries/*")
    kernels = [entry for entry in entries if entry.name != "runtime"]
    if not kernels:
        raise _ChildFailed("the first process has left no kernel in its cache")
    for kernel in kernels:
        shutil.rmtree(kernel)
    return environment


def _cpu_turn(folder: Path, with_peers: bool) -> dict[str, _First]:
    cache = {"WARP_SORT_CACHE_DIR": str(folder / "cache")}
    ours = programs.OURS.format(watch=programs.WATCH_BUILD, shape=_SHAPE)
    longer = programs.OURS.format(watch=programs.WATCH_BUILD, shape=(1000, 100))
    warm = programs.OURS.format(watch=programs.WATCH, shape=_SHAPE)
    turn = {
        "ours, from nothing": _measure(ours, **cache),
        "ours, runtime present": _measure(ours, **_without_kernels(cache)),
        "ours, runtime present, rows of 100": _measure(longer, **cache),
        "ours, in a layer": _measure(warm, **_layer(folder)),
        "ours, warm cache, new process": _measure(warm, **cache),
    }
    if not with_peers:
        return turn
    tvm_ffi = _peer(
        programs.TVM_FFI,
        "#include <tvm/ffi/container/tensor.h>\n#include <tvm/ffi/function.h>\n",
        "void sort_rows(tvm::ffi::TensorView x, tvm::ffi::TensorView out) {\n"
        "  run(x.data_ptr(), out.data_ptr(), x.shape()[0]);\n}\n",
        folder / "tvm_ffi",
    )
    torch = _peer(
        programs.TORCH,
        "#include <torch/extension.h>\n",
        "void sort_rows(torch::Tensor x, torch::Tensor out) {\n"
        "  run(x.data_ptr(), out.data_ptr(), x.size(0));\n}\n",
        folder / "torch",
    )
    return {
        **turn,
        "tvm_ffi.cpp.load_inline, from nothing": _measure(tvm_ffi),
        "tvm_ffi.cpp.load_inline, new process": _measure(tvm_ffi),
        "torch load_inline, from nothing": _measure(torch),
        "torch load_inline, new process": _measure(torch),
    }


def _cuda_turn(folder: Path, with_peers: bool) -> dict[str, _First]:
    import torch

    ours = programs.OURS_CUDA.format(watch=programs.WATCH_BUILD, shape=_SHAPE)
    longer = programs.OURS_CUDA.format(watch=programs.WATCH_BUILD, shape=(1000, 64))
    warm = programs.OURS_CUDA.format(watch=programs.WATCH, shape=_SHAPE)
    turn = {}
    for compiler, variable in (("nvcc", ""), ("NVRTC", "1")):
        chosen = {
            "WARP_SORT_CACHE_DIR": str(folder / f"cache_{compiler}"),
            "WARP_SORT_RTC": variable,
        }
        turn[f"CUDA: ours by {compiler}, from nothing"] = _measure(ours, **chosen)
        chosen = _without_kernels(chosen)
        turn[f"CUDA: ours by {compiler}, runtime present"] = _measure(ours, **chosen)
        turn[f"CUDA: ours by {compiler}, runtime present, rows of 64"] = _measure(longer, **chosen)
        turn[f"CUDA: ours by {compiler}, warm cache, new process"] = _measure(warm, **chosen)
    arch = "sm_{}{}".format(*torch.cuda.get_device_capability())
    layer = _layer(folder / "cuda", "--backend", "cuda", "--arch", arch)
    turn["CUDA: ours, in a layer"] = _measure(warm, **layer)
    if with_peers:
        turn.update(_cuda_peers(folder))
    return turn


def _cuda_peers(folder: Path) -> dict[str, _First]:
    peers = {
        "tvm_ffi.cpp.load_inline": _cuda_peer(
            programs.TVM_FFI_CUDA,
            "#include <tvm/ffi/container/tensor.h>\n#include <tvm/ffi/extra/c_env_api.h>\n"
            "#include <tvm/ffi/function.h>\n",
            "void sort_rows(tvm::ffi::TensorView x, tvm::ffi::TensorView out) {\n"
            "  const DLDevice device = x.device();\n"
            "  void* const stream = TVMFFIEnvGetStream(device.device_type, device.device_id);\n"
            "  run(x.data_ptr(), out.data_ptr(), x.shape()[0], (cudaStream_t)stream);\n}\n",
            folder / "tvm_ffi_cuda",
        ),
        "torch load_inline": _cuda_peer(
            programs.TORCH_CUDA,
            "",
            "void sort_rows(torch::Tensor x, torch::Tensor out) {\n"
            "  run(x.data_ptr(), out.data_ptr(), x.size(0), 0);\n}\n",
            folder / "torch_cuda",
        ),
    }
    results: dict[str, _First] = {}
    for name, code in peers.items():
        try:
            results[f"CUDA: {name}, from nothing"] = _measure(code)
            results[f"CUDA: {name}, new process"] = _measure(code)
        except _ChildFailed as error:
            # torch needs an nvcc of its own CUDA version, and that toolkit's libraries.
            print(f"left out, {name} for CUDA fails here: {str(error)[-1500:]}")
    return results


_WARM_GOAL = 0.015
_GOALS = {
    "ours, runtime present": 0.6,
    "ours, in a layer": _WARM_GOAL,
    "ours, warm cache, new process": _WARM_GOAL,
    "CUDA: ours by nvcc, runtime present": 0.8,
    "CUDA: ours by nvcc, runtime present, rows of 64": 0.8,
    "CUDA: ours by NVRTC, runtime present": 0.4,
    "CUDA: ours by NVRTC, runtime present, rows of 64": 0.4,
    "CUDA: ours, in a layer": _WARM_GOAL,
    "CUDA: ours by nvcc, warm cache, new process": _WARM_GOAL,
    "CUDA: ours by NVRTC, warm cache, new process": _WARM_GOAL,
}
_WARM = [name for name in _GOALS if "runtime" not in name]
_PEER = "tvm_ffi.cpp.load_inline, from nothing"


def _goal_of(name: str, medians: Mapping[str, float]) -> float | None:
    """Return the goal for a first result; from nothing, it is the time of the peer."""
    if "ours" in name and "from nothing" in name:
        return medians.get(f"CUDA: {_PEER}" if name.startswith("CUDA") else _PEER)
    return _GOALS.get(name)


def _notes(name: str, runs: Sequence[_First], seconds: float, goal: float | None) -> str:
    notes = ["above the goal"] if goal is not None and seconds > goal else []
    if name in _WARM and any(run.tools for run in runs):
        notes.append("a warm process starts tools")
    return ", ".join(notes)


def _breakdown(run: _First) -> list[str]:
    """Return the parts of a run's time; compilations at the same time are indented."""
    lines = [f"    {seconds:8.3f}  {part}" for part, seconds in run.parts.items()]
    whole = (seconds for part, seconds in run.parts.items() if not part.startswith("of which"))
    return [
        *lines,
        f"    {run.seconds - sum(whole):8.3f}  the rest: finding, hashing, loading, sorting",
    ]


def main() -> None:
    """Measure, print a table, and write JSON if an option names a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--on", nargs="+", choices=("cpu", "cuda"), help="default: all devices")
    parser.add_argument("--no-peers", action="store_true", help="only ours")
    parser.add_argument("--verbose", action="store_true", help="where the time goes")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()

    torch = _common.peer_torch()
    devices = options.on or (["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
    turns: list[dict[str, _First]] = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as name:
            turn: dict[str, _First] = {}
            for backend in devices:
                measured = _cpu_turn if backend == "cpu" else _cuda_turn
                turn.update(measured(Path(name), not options.no_peers))
            turns.append(turn)
    machine = _common.machine()
    if "cuda" in devices:
        from warp_bitonic_sort.targets.cuda.compiler import find_cuda_compiler

        machine["gpu"] = torch.cuda.get_device_name()
        machine["nvcc"] = find_cuda_compiler().version().splitlines()[-1]
    for key, value in machine.items():
        print(f"{key}: {value}")
    grouped = {name: [turn[name] for turn in turns if name in turn] for name in turns[0]}
    medians = {
        name: statistics.median(run.seconds for run in runs) for name, runs in grouped.items()
    }
    rows = []
    for name, runs in grouped.items():
        goal = _goal_of(name, medians)
        imports = [run.parts["import"] for run in runs if "import" in run.parts]
        rows.append(
            [
                name,
                f"{medians[name]:.4f}",
                f"{min(run.seconds for run in runs):.4f}",
                f"{statistics.median(imports):.4f}" if imports else "",
                "" if goal is None else f"{goal:.3g}",
                str(max(run.tools for run in runs)) if "ours" in name else "",
                _notes(name, runs, medians[name], goal),
            ]
        )
    header = ["first result", "median", "lowest", "of that, import", "goal", "tools", "note"]
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
