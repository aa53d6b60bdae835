"""Runs PyTorch's own tests of sorting, with the functions of warp_bitonic_sort.torch in its place.

``WARP_SORT_TORCH_TESTS`` names PyTorch's ``test/test_sort_and_select.py``; nothing is fetched. It
needs expecttest. Arguments go to pytest::

    WARP_SORT_TORCH_TESTS=pytorch/test/test_sort_and_select.py \\
        python tests/conformance/torch_own_tests.py

Invariant: the file runs twice, first with PyTorch's functions. Tests that fail both times are of
another version than the installed PyTorch. Those that fail with ours alone, and are not listed here
with a reason, end the program with status 1.
"""

from __future__ import annotations

import contextlib
import os
import sys

import pytest
import torch

import warp_bitonic_sort.torch as ours
from warp_bitonic_sort.torch import _routes

VARIABLE = "WARP_SORT_TORCH_TESTS"
# The beginning of a test's name, and why it fails.
DIFFERENCES = {
    "test_sort_cpu": "compares indices of equal elements with those of a method, which is not "
    "replaced: PyTorch's unstable sort may return another order",
    "test_topk_1d_output_discontiguous": "compares the order of sorted=False with that of a method",
}


class Outcomes:
    """The plugin of pytest that records which tests pass, and which fail."""

    def __init__(self):
        self.passed, self.failed = set(), set()

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)
        elif report.failed:
            self.failed.add(report.nodeid)


def outcomes(file, arguments, with_ours):
    """Run the file; return its outcomes, and what was left to PyTorch."""
    plugin = Outcomes()
    _routes.FEWEST_ELEMENTS = 0
    with ours.patch() if with_ours else contextlib.nullcontext({}) as declined:
        pytest.main([file, "-q", "-p", "no:cacheprovider", *arguments], plugins=[plugin])
    return plugin, declined


def main(arguments):
    file = os.environ.get(VARIABLE)
    if file is None:
        sys.exit(f"{VARIABLE}: set it to test/test_sort_and_select.py of PyTorch's sources")
    theirs, _ = outcomes(file, arguments, False)
    found, declined = outcomes(file, arguments, True)
    lines = [f"PyTorch {torch.__version__}: {len(theirs.passed)} tests pass, "
             f"{len(theirs.failed)} fail with its own functions",
             f"with ours {len(found.passed)} pass; left to PyTorch:"]  # fmt: skip
    lines += [f"  {count} {name}: {reason}" for (name, reason), count in declined.most_common()]
    different = sorted(found.failed & theirs.passed)
    unknown = []
    for test in different:
        name = test.rpartition("::")[2]
        reasons = [text for start, text in DIFFERENCES.items() if name.startswith(start)]
        lines.append(f"{name}: {reasons[0] if reasons else 'FAILS'}")
        unknown += [] if reasons else [name]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if unknown or not theirs.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
