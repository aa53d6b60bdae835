"""The command ``cache``: lists, verifies and removes compiled kernels.

Invariant: only the user's own cache is changed. Layers are listed and verified.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from dataclasses import asdict
from pathlib import Path

import click

from ..jit.store import inventory, layers, maintenance
from ..jit.store.inventory import EntryInfo
from ._common import reported

_HELP = """Show and tend the folder of compiled kernels.

\b
  warp-bitonic-sort cache path            where it is
  warp-bitonic-sort cache list            what it holds, and what layers hold
  warp-bitonic-sort cache verify          read every byte again
  warp-bitonic-sort cache prune           remove what killed processes have left
  warp-bitonic-sort cache prune --damaged remove what verify finds damaged
  warp-bitonic-sort cache prune --older 90d --max-size 200M
  warp-bitonic-sort cache clear           remove everything

Whatever is removed is compiled again when it is asked for; processes that have it loaded keep it.
"""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {
    "b": 1,
    **{f"{letter}{end}": 1000**power for power, letter in enumerate("kmg", 1) for end in ("", "b")},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmg", 1)},
}


def _say(line: str) -> None:
    # As bytes: a path may hold what the terminal's encoding cannot.
    click.echo(os.fsencode(line))


def _roots() -> dict[Path, str]:
    """Return the folders of all caches, and the kind of each."""
    roots = {layer.root: "layer" for layer in layers.all_layers()}
    roots[layers.PACKAGED] = "packaged"
    roots[layers.user_store().root] = "user"
    return roots


def _refused(entries: list[EntryInfo]) -> dict[Path, str]:
    """Return the caches from which nothing is loaded, and why."""
    reasons: dict[Path, str] = {}
    for item in entries:
        if item.refused is not None:
            reasons.setdefault(item.root, item.refused)
    return reasons


@click.group(help=_HELP)
def cache() -> None:
    """Show and tend the folder of compiled kernels."""


@cache.command("path")
def _path() -> None:
    """Print where the user's cache is."""
    with reported():
        root = layers.user_store().root
    _say(str(root))


def _age(seconds: float) -> str:
    for unit in ("w", "d", "h", "m"):
        if seconds >= 2 * _SECONDS[unit]:
            return f"{seconds / _SECONDS[unit]:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


@cache.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def _list(as_json: bool) -> None:
    """List the artifacts of the user's cache and of the layers: names, architectures, sizes."""
    with reported():
        found = [
            (item, what) for root, what in _roots().items() for item in inventory.entries(root)
        ]
        refused = _refused([item for item, _ in found])
    if as_json:
        documents = [
            {
                **asdict(item),
                "root": str(item.root),
                "layer": what,
                "refused": refused.get(item.root),
            }
            for item, what in found
        ]
        click.echo(json.dumps(documents, indent=2))
        return
    now = time.time()
    width = max([len(item.name) for item, _ in found], default=0)
    for item, what in found:
        _say(
            f"{item.name:<{width}}  {item.arch:<14} {item.size / 1e3:>8.1f} kB  "
            f"{_age(now - item.created):>6} old  {what}"
        )
    for root, what in _roots().items():
        mine = [item for item, _ in found if item.root == root]
        if mine or what == "user":
            size = sum(item.size for item in mine) / 1e6
            _say(f"{len(mine)} artifacts, {size:.1f} MB in {root} ({what})")
        if root in refused:
            _say(f"  Refused: {refused[root]}")


def _fix(root: Path, what: str) -> str:
    """Return how to replace a damaged artifact."""
    if what == "user":
        return "It is compiled again when it is next wanted; cache prune --damaged removes it now."
    if what == "packaged":
        return "Install the package again (pip install --force-reinstall --no-deps)."
    return f"Fill the layer again (warp-bitonic-sort prewarm --into {shlex.quote(str(root))})."


@cache.command("verify")
@click.pass_context
def _verify(context: click.Context) -> None:
    """Read every artifact again and say which are damaged, and which folders are refused.

    A damaged artifact is never loaded. Nothing is loaded or read from a folder that other users can
    write. Exit status 1 if any artifact is damaged or any folder is refused.
    """
    with reported():
        roots = _roots()
        found = [item for root in roots for item in inventory.entries(root)]
        wrong = {
            item: reason
            for item in found
            if item.refused is None and (reason := inventory.verify(item))
        }
        refused = _refused(found)
    for item, reason in wrong.items():
        _say(f"{item.folder}: {reason}. {_fix(item.root, roots[item.root])}")
    for reason in refused.values():
        _say(f"Refused: {reason}")
    unread = sum(item.refused is not None for item in found)
    click.echo(f"{len(found) - len(wrong) - unread} of {len(found)} artifacts are sound")
    context.exit(1 if wrong or refused else 0)


@cache.command("clear")
def _clear() -> None:
    """Remove everything in the user's cache except builds that are under way."""
    with reported():
        root = layers.user_store().root
        freed = maintenance.clear(root)
    _say(f"{freed / 1e6:.1f} MB removed from {root}")


def _older(_context: click.Context, _parameter: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9})([smhdw])", value)
    if match is None:
        raise click.BadParameter(
            f"{value!r} is not an age: expected a whole number with a unit, as 12h and 30d are."
        )
    return float(int(match[1]) * _SECONDS[match[2]])


def _max_size(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> int | None:
    if value is None:
        return None
    # A bare number would be bytes, and 100 bytes is never meant.
    match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([a-z]+)|0", value.lower())
    if match is None or (match[2] or "b") not in _BYTES:
        raise click.BadParameter(
            f"{value!r} is not a size: expected a number with a unit, as 500M and 1.5GiB are."
        )
    return int(float(match[1] or 0) * _BYTES[match[2] or "b"])


@cache.command("prune")
@click.option(
    "--keep", type=click.IntRange(min=0), help="Keep so many of each artifact, the newest."
)
@click.option("--older", callback=_older, metavar="AGE", help="Remove what was not used for AGE.")
@click.option(
    "--max-size",
    callback=_max_size,
    metavar="SIZE",
    help="Remove what was not used for longest until SIZE is left.",
)
@click.option("--damaged", is_flag=True, help="Remove what `verify` finds damaged.")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
def _prune(
    keep: int | None, older: float | None, max_size: int | None, damaged: bool, dry_run: bool
) -> None:
    """Remove what killed processes have left, and artifacts as the options say.

    Logs of failed builds go as artifacts do: --keep keeps so many of each artifact, --older
    removes what was written before; --max-size does not count them.

    The time of an artifact's last use comes from the file system. Most file systems note it once a
    day.

    AGE is a whole number and its unit: s, m (minutes), h, d or w. SIZE is a number and its unit: B,
    k, M or G (of 1000; kB, MB and GB are the same), or KiB, MiB or GiB (of 1024), in upper or lower
    case, or 0.
    """
    with reported():
        root = layers.user_store().root
        pruned: list[EntryInfo] = maintenance.prune(root, keep, older, max_size, damaged)
        logs = maintenance.old_logs(root, keep, older)
        paths = [*maintenance.litter(root), *(item.folder for item in pruned), *logs]
        freed = 0
        if not dry_run:
            freed = maintenance.remove(paths, root) if paths else 0
            maintenance.tidy(root)
    for path in paths:
        _say(str(path))
    done = "would be removed" if dry_run else f"removed ({freed / 1e6:.1f} MB)"
    click.echo(f"{len(paths)} files and folders {done}")
