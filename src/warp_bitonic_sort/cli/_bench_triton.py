"""A kernel of Triton that sorts rows by ``tl.sort``, as its users would write it.

Invariant: rows have a power of two of elements, at most `MAX_LENGTH`, and lie without gaps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MAX_LENGTH = 1024
_ELEMENTS = 1024  # of a program


def takes(length: int) -> bool:
    """Tell whether the kernel takes rows of a length."""
    return 0 < length <= MAX_LENGTH and length & (length - 1) == 0


def sort_rows() -> Callable[[Any, Any], None] | None:
    """Return ``sort(x, out)`` for tensors of a GPU, or None where Triton is not installed."""
    try:
        import triton
        import triton.language as tl
    except ImportError:
        return None

    # Triton compiles the text of this function, which may use its own names only.
    @triton.jit  # type: ignore[untyped-decorator]
    def kernel(x, out, rows, length: tl.constexpr, block: tl.constexpr):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        row = tl.program_id(0) * block + tl.arange(0, block)
        at = row[:, None] * length + tl.arange(0, length)[None, :]
        inside = row[:, None] < rows
        tl.store(out + at, tl.sort(tl.load(x + at, mask=inside), dim=1), mask=inside)

    def sort(x: Any, out: Any) -> None:
        rows, length = x.shape
        block = max(1, _ELEMENTS // length)
        kernel[(triton.cdiv(rows, block),)](x, out, rows, length, block)

    return sort
