"""A small set of CUDA sorts for compute-sanitizer, which is too slow for the whole suite.

    compute-sanitizer --tool memcheck python tests/targets/cuda_small_set.py
    compute-sanitizer --tool racecheck python tests/targets/cuda_small_set.py float32   a part

and so with --tool initcheck and synccheck. Every layout of five dtypes is run on full and on ragged
rows, at an odd offset too, and on columns; wrong results end with status 1. What is right is
computed on the CPU: the tools would take longer for torch.sort's kernels than for these.
"""

import sys
from collections.abc import Sequence

import torch

from support.descriptions import cuda_kernel, gpu_cells
from warp_bitonic_sort import dtypes, sort
from warp_bitonic_sort.jit import loader

_NAMES = ("int8", "float16", "float32", "float64", "int32")


def main(names: Sequence[str]) -> int:
    """Sort arrays of these dtypes, compare with torch.sort, and return the exit status."""
    major, minor = torch.cuda.get_device_capability()
    loader.build(
        cuda_kernel(dtype.codec, dtype.bits, *layout, f"sm_{major}{minor}")
        for dtype in map(dtypes.DTYPES.get, names)
        for layout in gpu_cells(dtype.bits, "sm_90")
    )
    wrong = 0
    for name in names:
        dtype = getattr(torch, name)
        for registers, lane_bits, warp_bits, _ in gpu_cells(dtypes.DTYPES[name].bits, "sm_90"):
            length = (registers << lane_bits << warp_bits) - 1
            rows = 3 if length > 2000 else 37
            flat = torch.randint(-100, 100, (rows * length + 1,), device="cuda").to(dtype)
            full = torch.randint(-100, 100, (rows, length + 1), device="cuda").to(dtype)
            for x, axis in (
                (flat[:-1].view(rows, length), 1),
                (flat[1:].view(rows, length), 1),
                (full, 1),
                (full[:, :-1], 1),
                (flat[1:].view(length, rows), 0),
                (full.T, 1),
            ):
                expected = torch.sort(x.cpu(), dim=axis).values
                good = torch.equal(sort(x, axis=axis).cpu(), expected)
                wrong += not good
                if not good:
                    sys.stdout.write(f"wrong: {name} {length} {tuple(x.shape)} axis {axis}\n")
    sys.stdout.write(f"{wrong} wrong\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or _NAMES))
