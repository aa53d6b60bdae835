"""Times the first elements of rows that are divided among processes beside a gather of the rows.

    python benchmarks/distributed_topk.py
    python benchmarks/distributed_topk.py --rows 128 4096 --length 131072

Each process holds a part of the rows, as the logits of a part of a vocabulary. Ours is
`warp_bitonic_sort.torch.distributed.topk`; the peer gathers the rows and calls `torch.topk`. With
two GPUs or more, every process has one and they talk by NCCL; otherwise the processes share the CPU
and talk by gloo, with one thread each. Times are those of the first process, between barriers. Both
results are compared before they are timed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import _common

_Row = dict[str, Any]


def _measure(rank: int, options: argparse.Namespace, store: str, file: str) -> None:
    """Run one process; the first writes the times."""
    import torch
    import torch.distributed as dist

    from warp_bitonic_sort.torch import distributed

    device = torch.device(f"cuda:{rank}" if options.backend == "nccl" else "cpu")
    torch.set_num_threads(1)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        options.backend, init_method=f"file://{store}", rank=rank, world_size=options.processes
    )
    result: list[_Row] = []
    for rows in options.rows:
        torch.manual_seed(rank)
        width = options.length // options.processes
        local = torch.randn(rows, width, device=device).to(getattr(torch, options.dtype))
        parts = [torch.empty_like(local) for _ in range(options.processes)]

        def ours(local: Any = local) -> Any:
            return distributed.topk(local, options.k)

        def theirs(local: Any = local, parts: Any = parts) -> Any:
            dist.all_gather(parts, local)
            return torch.topk(torch.cat(parts, 1), options.k)

        torch.testing.assert_close(ours().values, theirs().values, rtol=0, atol=0)
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        calls: dict[str, Callable[[], Any]] = {"ours": ours, "theirs": theirs}
        for turn in range(options.turns):
            for name, call in calls.items():
                if device.type == "cuda":
                    torch.cuda.synchronize()
                dist.barrier()
                start = time.perf_counter()
                call()
                if device.type == "cuda":
                    torch.cuda.synchronize()
                if turn:
                    seconds[name].append(time.perf_counter() - start)
        size = local.element_size()
        result.append(
            {
                "rows": rows,
                "seconds": {name: statistics.median(times) for name, times in seconds.items()},
                "sent": {"ours": options.k * (size + 8), "theirs": width * size},
            }
        )
    if rank == 0:
        Path(file).write_text(json.dumps(result))
    dist.destroy_process_group()


def main() -> None:
    """Measure, print a table, and write JSON if an option names a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", type=int, default=[128])
    parser.add_argument("--length", type=int, default=131072, help="of the whole rows")
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--processes", type=int, help="default: the GPUs, or 2")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()

    torch = _common.peer_torch()
    options.backend = "nccl" if torch.cuda.device_count() > 1 else "gloo"
    options.processes = options.processes or max(2, torch.cuda.device_count())

    result: dict[str, Any] = {"machine": _common.machine(), "backend": options.backend}
    for key, value in result["machine"].items():
        print(f"{key}: {value}")
    with tempfile.TemporaryDirectory() as folder:
        measured = Path(folder, "measured.json")
        arguments = (options, str(Path(folder, "store")), str(measured))
        torch.multiprocessing.spawn(_measure, arguments, options.processes)
        result["rows"] = json.loads(measured.read_text())
    table = []
    for row in result["rows"]:
        seconds, sent = row["seconds"], row["sent"]
        ratio = seconds["theirs"] / seconds["ours"]
        table.append(
            [
                f"{row['rows']} x {options.length}",
                *(f"{1e6 * seconds[name]:.0f}" for name in ("ours", "theirs")),
                f"{ratio:.2f}",
                *(str(sent[name]) for name in ("ours", "theirs")),
                "slower" if ratio < 1 else "",
            ]
        )
    title = f"{options.processes} processes, {options.backend}, {options.dtype}, k = {options.k}"
    header = ["array", "us, ours", "us, theirs", "times as fast", "bytes a row", "theirs", "note"]
    print(f"\n{title}\n{_common.table(header, table)}")
    _common.report(result, options.json)


if __name__ == "__main__":
    main()
