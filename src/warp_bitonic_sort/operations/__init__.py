"""Lists the operations on the rows of an array; each family has a module.

Invariant: the table below lists every operation. The command line, `explain`, `prewarm`, the tests
and the benchmarks loop over it; no other code lists operations.
"""

from __future__ import annotations

from ._operation import Operation
from .argsort import ARGSORT, SORT_WITH_INDICES
from .sort import SORT

OPERATIONS: dict[str, Operation] = {
    operation.name: operation for operation in (SORT, ARGSORT, SORT_WITH_INDICES)
}
