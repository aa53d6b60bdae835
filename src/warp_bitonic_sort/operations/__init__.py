"""Lists the operations on the rows of an array; each family has a module.

Invariant: the table below lists every operation. `explain`, `prewarm`, the command line and the
tests read it; no other code of the package lists operations.
"""

from __future__ import annotations

from ._operation import Operation
from .argsort import ARGSORT, RANKS, SORT_WITH_INDICES
from .order_statistics import MEDIAN, QUANTILE
from .sort import SORT
from .sort_pairs import SORT_PAIRS
from .top_k import KTHVALUE, TOP_K

OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        SORT,
        ARGSORT,
        SORT_WITH_INDICES,
        RANKS,
        SORT_PAIRS,
        TOP_K,
        KTHVALUE,
        MEDIAN,
        QUANTILE,
    )
}
