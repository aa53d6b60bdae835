"""The command ``prewarm``: builds kernels before the first sort needs them.

Invariant: exit status 0 means that every artifact is there. It was loaded, or its header names the
architecture; the manifest says so of each.
"""

from __future__ import annotations

import contextlib
import re
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from .. import prewarm as _prewarm
from ..dtypes import DTYPES
from ..errors import ArchError, BuildError
from ..jit.store.permissions import check_writers
from ..kernels import Kernel
from ..operations import OPERATIONS
from ..targets import HOST, TARGETS, target_of, target_with
from ._common import reported
from ._lists import known, known_or_all, listed
from ._lists import lengths as lengths_of_list
from ._paths import OutputFile, SomePath
from ._terminal import is_terminal, progress_bar

_GPUS = [target for target in map(target_of, TARGETS) if not target.is_host]
_FAMILIES = [arch for target in _GPUS for arch in target.archs]
_HELP = """Compile kernels now, for the operations, dtypes and lengths given, and the runtime.

No GPU is needed, only the compilers: of C++ for the CPU and the runtime; nvcc or NVRTC for cuda;
hipcc, clang or hipRTC for hip.

They go into the user's cache, or with --into into a folder that is whole by itself: a layer. Other
machines and users read it if they name it in WARP_SORT_CACHE_LAYERS.

Architectures of --arch:

\b
  cpu   {cpu}
  cuda  sm_NN for the compute capability N.N: sm_80, sm_90, sm_100, sm_120
  hip   gfx9 and newer: gfx90a, gfx942, gfx1100, and families of them:
{families}
  native stands for this machine's, of each back end that is listed.

The compiler itself reports an architecture that it does not know. For another machine's CPU, CXX
names a compiler for that machine, and --into a folder.

\b
Examples:
  warp-bitonic-sort prewarm --length 2-32
  warp-bitonic-sort prewarm --dtype float32,bfloat16 --length 8,64-128
  warp-bitonic-sort prewarm --operation sort,argsort --length 2-32
  warp-bitonic-sort prewarm --backend cuda,hip,cpu --arch sm_90,gfx942 \\
      --length 2-1024 --into layer

In a Dockerfile, where no GPU is:

\b
  RUN warp-bitonic-sort prewarm --backend cuda --arch sm_90 --length 2-1024 \\
      --into /opt/kernels
  ENV WARP_SORT_CACHE_LAYERS=/opt/kernels

Exit status: 0 if every artifact is there and loads (of a GPU or another machine: is for its
architecture), 1 if any is not, 2 when the command line is wrong.
"""
_CPU_LINES = textwrap.wrap(", ".join(HOST.archs), 70)
_HELP = _HELP.replace("{cpu}", "\n        ".join(_CPU_LINES)).replace(
    "{families}",
    "\n".join(
        f"          {', '.join(_FAMILIES[start : start + 3])}"
        for start in range(0, len(_FAMILIES), 3)
    ),
)
# Seconds between two lines of progress where no terminal shows a bar.
_PERIOD = 10.0


def _backends(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    return known(value, TARGETS)


def _operations(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    return known_or_all(value, tuple(OPERATIONS))


def _dtypes(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    return known_or_all(value, tuple(DTYPES))


def _archs(_context: click.Context, _parameter: click.Parameter, value: str) -> list[str]:
    words = listed(value)
    for word in words:
        if word != "native" and target_with(word) is None:
            for target in map(target_of, TARGETS):
                plain = target.without_features(word)
                if target.is_arch(plain):
                    raise click.BadParameter(
                        f"{word!r} names features of an architecture, and no kernel needs any: "
                        f"use {plain}."
                    )
            raise click.BadParameter(
                f"{word!r} is neither an architecture of a CPU ({', '.join(HOST.archs)}) nor of a "
                f"GPU, as sm_90 and gfx942 are, nor native."
            )
    return words


def _kernels(
    backends: list[str],
    archs: list[str],
    operations: list[str],
    dtypes: list[str],
    lengths: list[int],
) -> list[Kernel]:
    wanted: list[Kernel] = []
    for backend in TARGETS:
        target = target_of(backend)
        chosen = [arch for arch in archs if arch != "native" and target.is_arch(arch)]
        if chosen and backend not in backends:
            raise click.UsageError(
                f"--arch lists {', '.join(chosen)}, and --backend does not list {backend}."
            )
        if backend not in backends:
            continue
        if "native" in archs:
            native = [arch for arch in target.native_archs() if target.is_arch(arch)]
            if not native and not chosen:
                raise click.UsageError(
                    f"--arch native: no device of the back end {backend} is found here. Name "
                    f"an architecture, such as {target.example}."
                )
            chosen = list(dict.fromkeys([*chosen, *native]))
        if not chosen and not target.is_host:
            raise click.UsageError(
                f"--backend {backend} needs an architecture in --arch, such as "
                f"{target.example}, or native for those of this machine."
            )
        chosen = chosen or [HOST.arch_for()]
        for arch in chosen:
            try:
                wanted += _prewarm.kernels(backend, arch, dtypes, lengths, operations)
            except ArchError as error:
                raise click.BadParameter(error.reason, param_hint="'--arch'") from None
        _report_left_out(backend, chosen[0], operations, dtypes, lengths)
    return list(dict.fromkeys(wanted))  # two architectures may share a kernel


def _report_left_out(
    backend: str, arch: str, operations: list[str], dtypes: list[str], lengths: list[int]
) -> None:
    """Say which lengths are left out because a back end has no kernel of operations for them."""
    groups: dict[str, list[str]] = {}
    for operation in operations:
        for text in _left_out(backend, arch, operation, dtypes, lengths):
            groups.setdefault(text, []).append(operation)
    for text, group in groups.items():
        click.echo(f"Left out: {', '.join(group)}{text}", err=True)


def _left_out(
    backend: str, arch: str, operation: str, dtypes: list[str], lengths: list[int]
) -> Iterator[str]:
    """Yield what is left out of one operation, and why."""
    takes = OPERATIONS[operation].takes
    refused = [dtype for dtype in dtypes if not takes(DTYPES[dtype])]
    if refused:
        yield f" of {', '.join(refused)}. It takes no such dtype."
    limits: dict[int, list[str]] = {}
    for dtype in dtypes:
        if dtype in refused:
            continue
        limits.setdefault(_prewarm.longest(backend, arch, dtype, operation), []).append(dtype)
    for limit, limited in limits.items():
        what = f" of {', '.join(limited)}" if len(limits) > 1 else ""
        too_long = _ranges([length for length in lengths if length > limit])
        if limit == 0:
            yield f"{what}. No kernel for {backend} does it yet."
        elif too_long:
            library = "NumPy" if target_of(backend).is_host else "the array's own library"
            yield (
                f" of rows of {too_long}{what}. No kernel for {backend} takes them; {library} does."
            )


def _ranges(numbers: list[int]) -> str:
    """Return numbers as --length takes them, as in 2-32,64."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in ranges)


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with the number of artifacts finished since its last call.

    If the user stops the command, say how many are finished.
    """
    finished = 0
    try:
        with _shown_progress(total) as show:

            def advance(count: int) -> None:
                nonlocal finished
                finished += count
                show(count)

            yield advance
    except KeyboardInterrupt:
        click.echo(
            f"Stopped: {finished} of {total} artifacts are finished. What was compiled is kept; "
            f"the same command continues there.",
            err=True,
        )
        raise


@contextlib.contextmanager
def _shown_progress(total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that shows progress: a bar on a terminal, elsewhere lines."""
    if is_terminal():
        with progress_bar(total, "Compiling", show_count=True) as advance:
            yield advance
        return
    click.echo(f"Compiling what is missing of {total} artifacts", err=True)
    done, last_line = 0, time.monotonic()

    def report(count: int) -> None:
        nonlocal done, last_line
        done += count
        now = time.monotonic()
        if now - last_line >= _PERIOD and done < total:
            last_line = now
            click.echo(f"  {done} of {total}", err=True)

    yield report


def _print_failures(failed: list[_prewarm.BuildResult]) -> None:
    """Print why artifacts are missing, once for each reason."""
    groups: dict[str, list[_prewarm.BuildResult]] = {}
    for outcome in failed:
        # The rest of a compiler's message names the kernel and its log.
        match = re.search("^First error: .*$", str(outcome.error), re.MULTILINE)
        groups.setdefault(match[0] if match else str(outcome.error), []).append(outcome)
    for group in groups.values():
        more = f" (and {len(group) - 1} more with the same error)" if len(group) > 1 else ""
        click.echo(f"Error: {group[0].name}{more}: {group[0].error}", err=True)


def _permission_error(file: Path) -> str | None:
    """Return why the folder of a file is refused, or None."""
    try:
        check_writers(file.parent, file.parent)
    except BuildError as error:
        return str(error)
    return None


@click.command(help=_HELP)
@click.option(
    "--backend",
    "backends",
    default="cpu",
    show_default=True,
    callback=_backends,
    help="A list of cpu, cuda and hip.",
)
@click.option(
    "--arch",
    "archs",
    default="",
    callback=_archs,
    help="A list of architectures, as in sm_90,gfx942,x86-64-avx2 or native (default for cpu: "
    "this machine's).",
)
@click.option(
    "--operation",
    "operations",
    default="sort",
    show_default=True,
    callback=_operations,
    help=f"A list of {', '.join(OPERATIONS)}; or all.",
)
@click.option(
    "--dtype",
    "dtypes",
    default="float32",
    show_default=True,
    callback=_dtypes,
    help="A list of dtypes, or all.",
)
@click.option(
    "--length",
    "lengths",
    required=True,
    callback=lengths_of_list,
    help="Lengths of rows, as in 2-32,64.",
)
@click.option(
    "--into",
    type=SomePath(file_okay=False, path_type=Path),
    help="The folder to fill (default: the user's cache).",
)
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="Compilers at once.")
@click.option(
    "--manifest",
    type=OutputFile(),
    help="Where the list of artifacts goes, as JSON (default: prewarm.json in the folder).",
)
@click.pass_context
def prewarm(
    context: click.Context,
    backends: list[str],
    archs: list[str],
    operations: list[str],
    dtypes: list[str],
    lengths: list[int],
    into: Path | None,
    jobs: int | None,
    manifest: Path | None,
) -> None:
    """Compile kernels before they are asked for."""
    with reported():
        wanted = _kernels(backends, archs, operations, dtypes, lengths)
        if not wanted:
            raise click.UsageError("nothing is left to compile: the lines above say why.")
        into = None if into is None else into.absolute()
        runtimes = len(_prewarm.runtimes(wanted))
        try:
            with _progress(len(wanted) + runtimes) as advance:
                outcomes = _prewarm.build(wanted, into, jobs, advance)
        except ArchError as error:
            raise click.BadParameter(error.reason, param_hint="'--arch'") from None
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    _print_failures(failed)
    file = manifest or _prewarm.default_manifest(into)
    refused = None if file is None or manifest is not None else _permission_error(file)
    if refused is not None:  # nothing is written into such a folder
        file = None
        if not failed:  # a failure has reported it already
            click.echo(f"No list of artifacts is written: {refused}", err=True)
    if file is not None:
        option = f"--into {into}: " if manifest is None and into is not None else ""
        with reported(f"{option}the list of artifacts, {file}, cannot be written"):
            try:
                _prewarm.write_manifest(outcomes, file, follows_links=manifest is not None)
            except OSError:
                if not failed:
                    raise
                file = None  # a failure has reported the cause already
    present = len(outcomes) - len(failed)
    size = sum(outcome.size for outcome in outcomes)
    listed = "" if file is None else f": {file}"
    count = len(wanted)
    callers = "the runtime" if runtimes == 1 else f"{runtimes} runtimes"
    what = "" if failed else f"{callers} and {count} kernel{'s' * (count != 1)}, "
    click.echo(
        f"{present} of {len(outcomes)} artifacts are there ({what}{size / 1e6:.1f} MB){listed}"
    )
    context.exit(1 if failed else 0)
