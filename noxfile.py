"""Names the checks of a change: ``nox -s lint types tests docs`` runs them.

Invariant: ``.ci/run`` runs lint, types, kernels, conformance, facades, engines and docs from here.
Its stage core runs the README's command, which has the tests of the sessions tests and
tests-compile.
"""

from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.sessions = ["lint", "types", "tests", "docs"]
nox.options.reuse_existing_virtualenvs = True

PROJECT = nox.project.load_toml("pyproject.toml")
LINT = PROJECT["project"]["optional-dependencies"]["lint"]
# On all cores, as the README's test command.
PYTEST = ("-m", "pytest", "-n", "logical", "--dist", "worksteal")
CPP_FILES = ("*.h", "*.hpp", "*.cc", "*.cu")


def _tracked(session: nox.Session, *patterns: str) -> list[str]:
    """Return the files of the repository that match the patterns."""
    listed = session.run("git", "ls-files", *patterns, external=True, silent=True, log=False)
    return [name for name in str(listed).splitlines() if Path(name).exists()]


def _python(session: nox.Session, extra: str, *arguments: str) -> None:
    """Run Python in `.venv`, the environment of the README's test command.

    PyTorch and JAX take some gigabytes, so one environment has them.
    """
    session.run("python3", "-m", "venv", ".venv", external=True)
    session.run(".venv/bin/pip", "install", "--quiet", "-e", f".[{extra}]", external=True)
    session.run(".venv/bin/python", *arguments, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the format and the lint rules of Python and C++, and the arrows between modules."""
    session.install(*LINT)
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("lint-imports", "--no-cache", env={"PYTHONPATH": "src"})
    session.run("clang-format", "--dry-run", "-Werror", *_tracked(session, *CPP_FILES))


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with mypy --strict."""
    session.install(*LINT)
    session.run("mypy")


@nox.session(python=False)
def tests(session: nox.Session) -> None:
    """Run the quick tests: nox -s tests -- tests/cli -x."""
    _python(session, "test", *PYTEST, "-m", "not compile and not stress", *session.posargs)


@nox.session(name="tests-compile", python=False)
def tests_compile(session: nox.Session) -> None:
    """Run the tests that compile many kernels or take long."""
    _python(session, "test", *PYTEST, "-m", "compile or stress", *session.posargs)


@nox.session(python=False)
def kernels(session: nox.Session) -> None:
    """Prove networks, run kernels under sanitizers and simulated, look at the code of devices."""
    _python(session, "test", *PYTEST, "tests/kernels", *session.posargs)


@nox.session(python=False)
def conformance(session: nox.Session) -> None:
    """Compare results with those of NumPy, PyTorch and JAX."""
    _python(session, "test", *PYTEST, "tests/conformance", *session.posargs)


@nox.session(python=False)
def facades(session: nox.Session) -> None:
    """Transform, compile and differentiate calls of the facades of PyTorch, JAX and NumPy."""
    _python(session, "test", *PYTEST, "tests/facades", *session.posargs)


@nox.session
def engines(session: nox.Session) -> None:
    """Sort data in engines: Dask, xarray, Ray, Polars, Arrow and pandas."""
    session.install("-e", ".[engines]")
    session.run("pytest", "tests/engines", *session.posargs)


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """Follow the links of the documents, and look at the site that they make."""
    _python(session, "test,docs", *PYTEST, "tests/docs", "tests/site", *session.posargs)


@nox.session(python=False)
def site(session: nox.Session) -> None:
    """Build the documentation: site/index.html."""
    _python(session, "docs", "-m", "sphinx", "-W", "-n", "docs", "site", *session.posargs)


@nox.session(python=False)
def bench(session: nox.Session) -> None:
    """Measure the CPU kernels and one call beside their peers."""
    _python(session, "bench", "benchmarks/sort_cpu.py", *session.posargs)
    _python(session, "bench", "benchmarks/call_overhead.py")
