"""Sorts a small array in a child process of ``doctor``, where a crash is a finding.

Invariant: it prints one JSON document, the only line on standard output that begins with a brace.
PyTorch is not hidden here, as it is from commands: tvm_ffi imports it in a user's process, too, and
a PyTorch that cannot be imported is a finding. Imports are timed by themselves, because that of
PyTorch takes much longer than the sort.
"""

from __future__ import annotations

import json
import time


def main() -> None:
    """Sort a small array and print how that went."""
    report: dict[str, object] = {"error": "", "kernel": "", "import_seconds": None}
    start = time.perf_counter()
    try:
        _import_packages()
        report["import_seconds"] = _seconds_since(start)
        report["kernel"] = _sorted_kernel()
    except Exception as failure:  # any error is the finding
        report["error"] = str(failure) or type(failure).__name__
    report["seconds"] = _seconds_since(start)
    from ..jit import loader

    report["compiled"] = loader.built()
    print(json.dumps(report))  # noqa: T201


def _seconds_since(start: float) -> float:
    return round(time.perf_counter() - start, 3)


def _import_packages() -> None:
    """Import what the first sort of a process imports."""
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        raise RuntimeError(
            f"NumPy, whose array would be sorted, cannot be imported ({error}). "
            f"pip install numpy ml_dtypes"
        ) from error
    from .. import sort  # noqa: F401
    from ..jit.runtime import import_tvm_ffi

    import_tvm_ffi()


def _sorted_kernel() -> str:
    """Sort without and with indices, check the results, and return the first kernel's name."""
    import numpy as np

    from .. import argsort, explain, sort

    rows = np.array([[3.0, 1.0, np.nan, 2.0]] * 5, np.float32)
    result = sort(rows)
    if not np.array_equal(result, np.sort(rows, axis=-1), equal_nan=True):
        raise RuntimeError(
            f"the result is wrong: {result[0].tolist()}. Please report this as a bug"
        )
    # A layer may have no kernels with indices, where there is no compiler to make one.
    if not explain(rows, operation="argsort").missing:
        indices = argsort(rows)
        if not np.array_equal(indices, np.argsort(rows, axis=-1, kind="stable")):
            raise RuntimeError(
                f"the indices are wrong: {indices[0].tolist()}. Please report this as a bug"
            )
    return explain(rows).kernel or ""


if __name__ == "__main__":
    main()
