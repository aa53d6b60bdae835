"""What the commands share: one clear message instead of a traceback.

Invariant: what a person can mend (an argument, a file, a missing package or compiler) becomes a
click error; anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Literal

import click

from ..dtypes import DTYPES
from ..errors import BuildError

__all__ = ["DTYPE", "NAN", "Nan", "need", "reported"]

Nan = Literal["largest", "last"]

DTYPE = click.Choice(list(DTYPES))
NAN = click.Choice(["largest", "last"])


def need(*modules: str) -> None:
    """Import modules, or raise the click error that says what installs them.

    Parameters
    ----------
    *modules : str
        Their names, which are those of their packages, too.
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
        What the message is about, such as a file; it is put before the message.
    """
    try:
        yield
    except BuildError as error:  # no fault of any file
        raise click.ClickException(_told("", str(error))) from error
    except (TypeError, ValueError, RuntimeError, ImportError) as error:
        raise click.ClickException(_told(where, str(error))) from error
    except OSError as error:
        # Where the command names the file, the error's own name for it (a temporary one) would
        # only confuse.
        named = "" if where or not error.filename else f"{error.filename}: "
        raise click.ClickException(_told(where, f"{named}{error.strerror or error}")) from error
    except MemoryError as error:
        raise click.ClickException(_told(where, f"not enough memory. {error}".strip())) from error


def _told(where: str, message: str) -> str:
    text = f"{where}: {message}" if where else message
    # A path in it may hold bytes that no terminal could print.
    return text.encode("utf-8", "replace").decode("utf-8")
