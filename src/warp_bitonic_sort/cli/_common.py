"""Turns errors that a user can fix into one message without a traceback, for all commands.

Invariant: a mistake that the user can fix (an argument, a file, a missing package or compiler)
becomes a click error. Anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Literal

import click

from ..dtypes import DTYPES
from ..errors import BuildError

Nan = Literal["largest", "last"]

DTYPE = click.Choice(list(DTYPES))
NAN = click.Choice(["largest", "last"])


def need(*modules: str) -> None:
    """Import modules, or raise the click error that says what installs them.

    Parameters
    ----------
    *modules : str
        Their names, which are also the names of their packages.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise click.ClickException(
                f"this command needs {module}, which cannot be imported ({error}). "
                f"Install it with: pip install {' '.join(modules)}"
            ) from error


@contextlib.contextmanager
def reported(where: str = "") -> Iterator[None]:
    """Turn errors of the library and of the system into click errors.

    Parameters
    ----------
    where : str, optional
        The subject of the message, such as a file. It is put before the message.
    """
    try:
        yield
    except BuildError as error:  # not the fault of a file
        raise click.ClickException(_message("", str(error))) from error
    except (TypeError, ValueError, RuntimeError, ImportError) as error:
        raise click.ClickException(_message(where, str(error))) from error
    except OSError as error:
        # The error may name a temporary file, which would only confuse.
        named = "" if where or not error.filename else f"{error.filename}: "
        raise click.ClickException(_message(where, f"{named}{error.strerror or error}")) from error
    except MemoryError as error:
        raise click.ClickException(
            _message(where, f"not enough memory. {error}".strip())
        ) from error


def _message(where: str, message: str) -> str:
    text = f"{where}: {message}" if where else message
    # A path may hold bytes that no terminal can print.
    return text.encode("utf-8", "replace").decode("utf-8")
