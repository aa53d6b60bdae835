"""What ``doctor`` knows: facts about this machine, and what is wrong with them.

Invariant: no array library is imported, and nothing raises. A fact that cannot be found out is
None. What hinders a sort is a `Problem` that carries its fix. Only `smoke_sort` writes.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib.metadata
import json
import os
import platform
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path

from .. import __version__, settings
from ..jit import loader
from ..process import threads
from ..targets import HOST, listed_archs
from ..targets.common.sources import require_sources
from . import _cache_state, _devices
from ._problem import Facts, Problem, attempt, is_refusal, problem_of

_DEPENDENCIES = {
    "apache-tvm-ffi": None,
    "ninja": None,
    "click": None,
    "numpy": "numpy",
    "ml_dtypes": "numpy",
    "torch": "torch",
    "jax": "jax",
    "matplotlib": "demo",
}
# The variables that the library reads; the README's table has the same.
VARIABLES = (
    "WARP_SORT_CACHE_DIR",
    "XDG_CACHE_HOME",
    "WARP_SORT_CACHE_LAYERS",
    "WARP_SORT_TRUSTED_DIRS",
    "WARP_SORT_LOCK_TIMEOUT",
    "WARP_SORT_JIT_VERBOSE",
    "MAX_JOBS",
    "CXX",
    "CUDA_HOME",
    "ROCM_PATH",
    "HIP_CLANG_PATH",
    "WARP_SORT_RTC",
    "LD_LIBRARY_PATH",
    "TMPDIR",
    "CK_DIR",
    "GPU_ARCH",
    "OMP_NUM_THREADS",
    "WARP_SORT_CPU_ARCH",
)
_SMOKE_SORT_SECONDS = 600
# What the report says of a small sort that did not run to its end.
NO_SORT: Facts = {"kernel": "", "seconds": None, "import_seconds": None, "compiled": []}


def facts(problems: list[Problem]) -> Facts:
    """Return the facts, and append what is wrong to problems."""
    attempt(require_sources, problems, "reinstall the package")
    compiler = _compiler(problems)
    return {
        "package": {
            "version": __version__,
            "folder": str(Path(__file__).resolve().parent.parent),
        },
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "executable": sys.executable,
        },
        "platform": {"system": platform.platform(), "machine": platform.machine()},
        "dependencies": _dependencies(problems),
        "backends": _devices.backends(problems),
        "compiler": compiler,
        "ninja": _ninja(problems),
        "cache": _cache_state.cache(problems),
        "threads": _threads(problems),
        "environment": _environment(problems),
    }


def _dependencies(problems: list[Problem]) -> dict[str, str | None]:
    versions = {name: _version(name) for name in _DEPENDENCIES}
    for name, extra in _DEPENDENCIES.items():
        # A ninja may be there without its package; _ninja reports that.
        if versions[name] is None and extra is None and name != "ninja":
            problems.append(Problem(f"{name} is not installed", f"pip install {name}"))
    if all(versions[name] is None for name in ("numpy", "torch", "jax")):
        problems.append(
            Problem(
                "no array library is installed, so there is nothing to sort",
                "pip install numpy ml_dtypes",
            )
        )
    return versions


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except Exception:  # broken metadata counts as none
        return None


def _environment(problems: list[Problem]) -> dict[str, str | None]:
    attempt(
        settings.max_jobs, problems, "set MAX_JOBS to a whole number of at least 1, or unset it"
    )
    attempt(
        listed_archs,
        problems,
        "set GPU_ARCH to native or to such a list, or unset it",
        blocking=False,  # arrays in CPU memory do not need it
    )
    attempt(
        settings.lock_timeout,
        problems,
        "set WARP_SORT_LOCK_TIMEOUT to a number of seconds, or unset it",
    )
    _note_unused_settings(problems)
    return {name: os.environ.get(name) for name in VARIABLES}


def _note_unused_settings(problems: list[Problem]) -> None:
    """Note variables that look like settings but are none, and trusted folders that are missing."""
    settings_of_package = [name for name in VARIABLES if name.startswith("WARP_SORT_")]
    for name in sorted(os.environ):
        known = (
            name in settings_of_package
            or name == "WARP_SORT_WHEEL_LAYER"
            or name.startswith("WARP_SORT_TESTS")
        )
        if name.startswith("WARP_SORT_") and not known:
            near = difflib.get_close_matches(name, settings_of_package, 1, cutoff=0.8)
            what = f"{name}: there is no such setting"
            fix = f"unset it, or set {near[0]}, if that is meant" if near else "unset it"
            problems.append(Problem(what, fix, blocking=False))
    for folder in attempt(settings.trusted_dirs, problems, "name folders, or unset it") or []:
        if _is_missing_folder(folder):
            what = f"WARP_SORT_TRUSTED_DIRS: there is no folder {folder}"
            problems.append(Problem(what, "take it off the list", blocking=False))


def _is_missing_folder(folder: Path) -> bool:
    """Tell whether there is no such folder. A folder that cannot be looked at is not missing."""
    try:
        return not stat.S_ISDIR(folder.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def _threads(problems: list[Problem]) -> Facts:
    attempt(
        settings.omp_num_threads,
        problems,
        "set OMP_NUM_THREADS to such a number, or unset it",
        blocking=False,  # it is ignored
    )
    count, why = threads.default()
    return {"count": count, "why": why}


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _compiler(problems: list[Problem]) -> Facts | None:
    compiler = attempt(
        lambda: HOST.recipe.find_compiler(HOST.example, HOST.recipe.probe_error),
        problems,
        "set CXX to a C++ compiler",
        blocking=not _cache_state.has_layer(),
    )
    if compiler is None:
        return None
    version = attempt(compiler.version, problems, "set CXX to a C++ compiler that runs")
    return {
        "command": shlex.join(compiler.command),
        "path": str(compiler.program),
        "version": None if version is None else _first_line(version),
        "why": compiler.origin,
    }


def _ninja(problems: list[Problem]) -> Facts | None:
    ninja = loader.build_module().ninja
    path = attempt(ninja.find, problems, "pip install ninja", blocking=not _cache_state.has_layer())
    if path is None:
        return None
    reinstall = "pip install --force-reinstall ninja"
    version = attempt(lambda: ninja.version(path), problems, reinstall)
    return {"path": str(path), "version": version}


def smoke_sort(problems: list[Problem]) -> Facts:
    """Sort a small array in a child process, and append what goes wrong to problems."""
    report = _run_smoke_sort()
    error = report.pop("error")
    if error:
        problem = problem_of(RuntimeError(error), "mend the problems above first, if there are any")
        # A known problem is not reported twice. Two refusals of a folder may name different files.
        cause = problem.what.partition(": ")[0] if is_refusal(problem) else problem.what
        if not any(
            known.what.startswith(cause) or (known.blocking and known.what in problem.what)
            for known in problems
        ):
            problems.append(Problem(f"a small sort failed: {problem.what}", problem.fix))
    return {"status": "failed" if error else "passed", **report}


def _run_smoke_sort() -> Facts:
    """Return the report that ``_smoke_sort`` prints, or one that says why it printed none."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", f"{__package__}._smoke_sort"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SMOKE_SORT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return {**NO_SORT, "error": f"it could not be run to its end: {error}"}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            with contextlib.suppress(ValueError):
                report: Facts = json.loads(line)
                return report
    status = f"exit status {done.returncode}"
    if done.returncode < 0:
        with contextlib.suppress(ValueError):
            status = signal.Signals(-done.returncode).name
    last_line = done.stderr.strip().splitlines()[-1:] or ["it printed nothing"]
    return {**NO_SORT, "error": f"the process ended with {status}: {last_line[0]}"}
