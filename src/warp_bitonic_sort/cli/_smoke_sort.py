"""Sorts a small array in a child process of ``doctor``, where a crash is a finding.

Invariant: it prints one JSON document, the only line on standard output that begins with a brace.
PyTorch is not hidden here, as it is from commands: tvm_ffi imports it in a user's process, too, and
a PyTorch that cannot be imported is a finding.
"""

from __future__ import annotations

import json
import time


def main() -> None:
    """Sort a small array and print how that went."""
    start = time.perf_counter()
    kernel = ""
    try:
        kernel = _sorted_kernel()
        error = ""
    except Exception as failure:  # any error is the finding
        error = str(failure) or type(failure).__name__
    seconds = round(time.perf_counter() - start, 3)
    from ..jit import loader

    report = {"error": error, "kernel": kernel, "seconds": seconds, "compiled": loader.built()}
    print(json.dumps(report))  # noqa: T201


def _sorted_kernel() -> str:
    """Sort, check the result, and return the kernel's name."""
    try:
        import numpy as np
    except ImportError as error:
        raise RuntimeError(
            f"NumPy, whose array would be sorted, cannot be imported ({error}). "
            f"pip install numpy ml_dtypes"
        ) from error
    from .. import explain
    from ..operations import sort as sorting

    rows = np.array([[3.0, 1.0, np.nan, 2.0]] * 5, np.float32)
    result = sorting.sort(rows)
    if not np.array_equal(result, np.sort(rows, axis=-1), equal_nan=True):
        raise RuntimeError(
            f"the result is wrong: {result[0].tolist()}. Please report this as a bug"
        )
    return explain(rows).kernel or ""


if __name__ == "__main__":
    main()
