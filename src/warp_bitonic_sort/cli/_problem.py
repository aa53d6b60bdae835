"""A finding of ``doctor``, and how errors of the library become one.

Invariant: nothing here raises because of what it looks at. What hinders a sort is a `Problem` that
carries its fix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

Facts = dict[str, Any]
T = TypeVar("T")

# How the message of a TrustError begins.
_REFUSAL = "nothing is loaded from "


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Parameters
    ----------
    what : str
        The message.
    fix : str
        What the user can do.
    blocking : bool
        Whether a call to sort would fail because of it.
    """

    what: str
    fix: str
    blocking: bool = True


def problem_of(error: Exception, fix: str, blocking: bool = True) -> Problem:
    """Split a message of the library into the problem and, at its end, the fix."""
    text = str(error) or type(error).__name__
    for mark in ("\nHint: ", ". "):
        what, separator, advice = text.rpartition(mark)
        if separator:
            return Problem(what, advice, blocking)
    return Problem(text, fix, blocking)


def attempt(
    find: Callable[[], T], problems: list[Problem], fix: str, blocking: bool = True
) -> T | None:
    """Return the result of a search, or append what it raises to problems and return None."""
    try:
        return find()
    except Exception as error:  # the doctor survives whatever is broken
        problems.append(problem_of(error, fix, blocking))
        return None


def is_refusal(problem: Problem) -> bool:
    return problem.what.startswith(_REFUSAL)


def is_refused(problems: Iterable[Problem]) -> bool:
    """Tell whether a cache or layer is refused because another user can write there."""
    return any(is_refusal(problem) for problem in problems)
