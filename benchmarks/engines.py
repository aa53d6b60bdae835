"""Times the functions for data engines beside NumPy's and the engines' own, inside the engine.

    python benchmarks/engines.py
    python benchmarks/engines.py --engine dask --processes 1 2

Each call processes all rows. `numpy` is NumPy's function in the place of ours, `theirs` the
engine's own, and `identity` passes the blocks through: no function can be faster than that. Results
are compared before they are timed. The table has millions of rows a second, and how often ours is
as fast as the better of the peers. Dask and Ray run with each number of processes in turn. Engines
that are not installed are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import _common
import numpy as np
from _engines_dask import dask_cases
from _engines_tables import Case, polars_cases, ray_cases
from _engines_xarray import xarray_cases

_PEERS = ("numpy", "theirs")


def _cases(engine: str, processes: list[int]) -> Iterator[Case]:
    if engine == "polars":
        yield from polars_cases()
    elif engine == "xarray":
        yield from xarray_cases()
    else:
        for number in processes:
            yield from (dask_cases if engine == "dask" else ray_cases)(number)


def _check(case: Case) -> None:
    """Raise if a peer returns other rows."""
    expected = case.read(case.calls["ours"]())
    for name in _PEERS:
        if name in case.calls:
            found = case.read(case.calls[name]())
            np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=f"{case.name}, {name}")


def main() -> None:
    """Measure, print a table, and write JSON if an option names a file."""
    engines = ["dask", "xarray", "ray", "polars"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", nargs="+", choices=engines, default=engines)
    parser.add_argument("--processes", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each case")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()

    machine = _common.machine(*engines)
    result: dict[str, Any] = {"machine": machine, "rows": []}
    for key, value in machine.items():
        print(f"{key}: {value}")
    table = []
    for engine in options.engine:
        try:
            for case in _cases(engine, options.processes):
                _check(case)
                seconds = _common.interleaved(case.calls, options.seconds, min_calls=3)
                rates = {name: case.rows / each / 1e6 for name, each in seconds.items()}
                ratio = rates["ours"] / max(rates[name] for name in _PEERS if name in rates)
                shown = (
                    f"{rates[name]:.2f}" if name in rates else ""
                    for name in ("ours", *_PEERS, "identity")
                )
                table.append([engine, case.name, case.array, *shown, f"{ratio:.2f}"])
                table[-1].append("slower" if ratio < 1 else "")
                row = {"engine": engine, "case": case.name, "array": case.array}
                result["rows"].append({**row, "rows": case.rows, "seconds": seconds})
        except ImportError as error:
            print(f"{engine} is left out: {error}")
    peers = ["ours", "numpy", "engine's own", "identity"]
    header = ["engine", "call", "array", *peers, "times as fast", "note"]
    print(f"\nmillions of rows a second\n{_common.table(header, table)}")
    _common.report(result, options.json)


if __name__ == "__main__":
    main()
