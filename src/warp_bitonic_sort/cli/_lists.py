"""Lists with commas on the command line, as in ``--dtype float32,int64`` and ``--length 2-32,64``.

Invariant: a word that a list may not have makes the command line wrong.
"""

from __future__ import annotations

import re

import click


def listed(text: str) -> list[str]:
    """Return the words of a list, each once."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def known(text: str, words: tuple[str, ...]) -> list[str]:
    """Return the words of a list that may have only these."""
    chosen = listed(text)
    for word in chosen:
        if word not in words:
            raise click.BadParameter(f"{word!r} is not one of {', '.join(words)}.")
    if not chosen:
        raise click.BadParameter(f"expected a list of {', '.join(words)}.")
    return chosen


def known_or_all(text: str, words: tuple[str, ...]) -> list[str]:
    """Return the words of a list that may have only these; all of them for ``all``."""
    chosen = known(text, (*words, "all"))
    return list(words) if "all" in chosen else chosen


def lengths(
    context: click.Context,  # noqa: ARG001 - the signature of callbacks
    parameter: click.Parameter,  # noqa: ARG001
    value: str,
) -> list[int]:
    """Return the lengths of a list of numbers and ranges, as in 2-32,64."""
    found: dict[int, None] = {}
    for word in listed(value):
        match = re.fullmatch(r"([0-9]{1,6})(?:-([0-9]{1,6}))?", word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not 2 <= first <= last:
            raise click.BadParameter(
                f"{word!r} is neither a length of at least 2 nor a range of them, as 2-32 is."
            )
        found.update(dict.fromkeys(range(first, last + 1)))
    if not found:
        raise click.BadParameter("expected lengths, as in 2-32,64.")
    return list(found)
