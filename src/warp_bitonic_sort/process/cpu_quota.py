"""Reads the CPU quota of this process's control groups, as in a container.

Invariant: only files are read. A file that cannot be read or understood sets no limit.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return the quota in CPUs, or None if there is no limit.

    A group's quota also limits the groups below it. Therefore the lowest quota counts.

    Parameters
    ----------
    root : Path, default /
        The folder that stands for the root of the file system.
    """
    quotas = [
        quota
        for mount, version, group in _groups(root)
        for folder in (group, *group.parents)
        if folder.is_relative_to(mount)
        if (quota := _quota(root / folder.relative_to("/"), version)) is not None
    ]
    return min(quotas, default=None)


def _groups(root: Path) -> Iterator[tuple[PurePosixPath, int, PurePosixPath]]:
    """Yield the mount point of a hierarchy that limits CPU time, its version, and our group."""
    paths: dict[int, str] = {}
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            paths[2] = path
        elif "cpu" in controllers.split(","):
            paths[1] = path
    for line in _lines(root / "proc/self/mountinfo"):
        # ID parent device root mount options [...] - type source options: see proc(5).
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(kind) < 3:
            continue
        version = {"cgroup2": 2, "cgroup": 1}.get(kind[0])
        if version is None or version not in paths:
            continue
        if version == 1 and "cpu" not in kind[2].split(","):
            continue
        names = (*fields[3:5], paths[version])
        top, mount, group = (PurePosixPath(_unescaped(name)) for name in names)
        # In a container, the group's name may differ from the mounted one.
        is_below = group.is_relative_to(top) and ".." not in group.parts
        yield mount, version, mount / group.relative_to(top) if is_below else mount


def _quota(folder: Path, version: int) -> float | None:
    """Return the quota of a group itself, in CPUs."""
    if version == 2:
        words = " ".join(_lines(folder / "cpu.max")).split()
    else:
        files = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = [word for file in files for word in _lines(folder / file)]
    try:
        quota, period = map(int, words)
    except ValueError:  # "max" means no limit
        return None
    return quota / period if quota > 0 and period > 0 else None


def _lines(file: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return file.read_text("utf-8", "surrogateescape").splitlines()
    return []


def _unescaped(name: str) -> str:
    """Return a path of mountinfo with its octal escapes decoded, as of spaces."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), name)
