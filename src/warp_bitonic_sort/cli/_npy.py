"""Opens files of NumPy's .npy format: checks the header and says what the elements are.

Invariant: a header costs little memory and time whatever it holds, and a malformed one is one click
error. The data is not read here, only its size is compared with the header.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import math
import os
import re
import shlex
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

import click

from ..dtypes import DTYPES, SUPPORTED, numpy_name
from ._common import need, reported

if TYPE_CHECKING:
    import numpy as np

_MAGIC = b"\x93NUMPY"
# The format of the header's length, and the encoding of its text.
_VERSIONS = {"1.0": ("<H", "latin-1"), "2.0": ("<I", "latin-1"), "3.0": ("<I", "utf-8")}
_KEYS = {"descr", "fortran_order", "shape"}
# The limits of numpy.load. Longer headers are slow to parse and belong to structured arrays.
_MAX_HEADER = 10_000
_MAX_AXES = 64


@dataclass(frozen=True)
class Source:
    """An open .npy file whose elements can be sorted.

    Parameters
    ----------
    path : Path
        The file.
    descriptor : int
        The file, open for reading.
    header : bytes
        Everything before the data.
    shape : tuple of int
        The shape.
    fortran : bool
        Whether the first axis is the fastest.
    dtype : numpy.dtype
        The elements.
    """

    path: Path
    descriptor: int
    header: bytes
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """The size of the data in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    def header_of(self, shape: tuple[int, ...], dtype: Any) -> tuple[bytes, int]:
        """Return the header of a result in this array's memory order, and its element's size."""
        import numpy as np

        element = np.dtype(dtype)
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": element.str, "fortran_order": self.fortran, "shape": shape}
        )
        return header.getvalue(), element.itemsize


@contextlib.contextmanager
def open_npy(path: Path, dtype: str | None) -> Iterator[Source]:
    """Open a .npy file, or raise the click error that says what is wrong with it.

    Parameters
    ----------
    path : Path
        The file.
    dtype : str or None
        What the elements of a file without a dtype are.
    """
    with contextlib.ExitStack() as stack:
        with reported(click.format_filename(path)):
            if not path.is_file():  # opening a pipe waits for its writer
                _refuse(path, "expected a regular file; save what a stream brings to a file first.")
            file = stack.enter_context(path.open("rb"))
            source = _checked(path, file, dtype)
        yield source


def _checked(path: Path, file: IO[bytes], dtype_option: str | None) -> Source:
    header, text = _read_header(path, file)
    fields = _parsed(path, text)
    shape, fortran = fields["shape"], fields["fortran_order"]
    if not isinstance(fortran, bool):
        _refuse_header(path, f"fortran_order is {_short(fortran)}, expected True or False.")
    # isinstance takes a bool for an int.
    if not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
        _refuse_header(path, f"shape is {_short(shape)}, expected a tuple of lengths.")
    if len(shape) > _MAX_AXES:
        _refuse_header(path, f"shape has {len(shape)} axes, expected at most {_MAX_AXES}.")
    source = Source(
        path,
        file.fileno(),
        header,
        shape,
        fortran,
        _element_type(path, fields["descr"], dtype_option),
    )
    needed, size = len(header) + source.nbytes, os.fstat(file.fileno()).st_size
    if size < needed:
        promised = f"{needed} bytes" if needed < 2**63 else "more bytes than any file has"
        _refuse(path, f"the file is cut short: its header promises {promised}, it has {size}.")
    if size > needed:
        _refuse(
            path,
            f"the file goes on for {size - needed} bytes after its array; only a file of one array "
            f"is sorted. Load each array and save it to a file of its own.",
        )
    return source


def _read_header(path: Path, file: IO[bytes]) -> tuple[bytes, str]:
    """Return the bytes before the data, and the text in them."""
    start = file.read(len(_MAGIC) + 2)
    if not start.startswith(_MAGIC):
        zipped = start.startswith(b"PK")
        hint = " but a zip archive, as .npz files are: load it and save one of its arrays" * zipped
        _refuse(path, f"not a .npy file{hint}.")
    version = ".".join(map(str, start[len(_MAGIC) :]))
    if len(start) == len(_MAGIC) + 2 and version not in _VERSIONS:
        _refuse(path, f".npy version {version} is unknown; expected {', '.join(_VERSIONS)}.")
    form, encoding = _VERSIONS.get(version, ("<H", "latin-1"))
    prefix = file.read(struct.calcsize(form))
    length = struct.unpack(form, prefix)[0] if len(prefix) == struct.calcsize(form) else 1
    if length > _MAX_HEADER:
        _refuse_header(path, f"it claims {length} bytes, expected at most {_MAX_HEADER}.")
    text = file.read(length)
    if len(text) < length:
        _refuse(path, "the file is cut short: it ends within its header.")
    try:
        return start + prefix + text, text.decode(encoding)
    except UnicodeDecodeError:
        _refuse_header(path, f"expected text in {encoding}.")


def _parsed(path: Path, text: str) -> dict[str, Any]:
    """Return the fields of a header, whose text is a Python literal of a dictionary."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser's remarks on odd literals
            # Python 2 wrote lengths as 10L.
            fields = ast.literal_eval(re.sub(r"(?<=\d)L\b", "", text))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        _refuse_header(path, f"expected a dictionary as Python writes it, got {_short(text)}.")
    if not isinstance(fields, dict) or fields.keys() != _KEYS:
        keys = ", ".join(sorted(_KEYS))
        _refuse_header(path, f"expected a dictionary of {keys}, got {_short(text)}.")
    return fields


def _element_type(path: Path, descr: object, dtype_option: str | None) -> np.dtype[Any]:
    """Return the dtype to read the elements as."""
    import numpy as np

    text = descr if isinstance(descr, str) else ""
    # ml_dtypes saves float8_e5m2 as f1, which NumPy does not know.
    untyped = re.fullmatch(r"([<>|=]?)(V[1248]|f1)", text)
    if untyped:
        return _named_type(path, int(untyped[2][1:]), untyped[1] == ">", dtype_option)
    try:
        # Lists of fields, and "f4,i4", make NumPy raise errors of many kinds.
        if not re.fullmatch(r"[<>|=]?(\?|\w+(\[\w+\])?)", text):
            raise TypeError
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = np.dtype(text)
    except (TypeError, ValueError, OverflowError, MemoryError):
        _refuse(path, f"dtype {_short(descr)} cannot be sorted: expected one of {SUPPORTED}.")
    if stored.hasobject:
        _refuse(path, "it holds Python objects, which cannot be sorted here.")
    if stored.name not in DTYPES:
        _refuse(
            path, f"dtype {numpy_name(stored)} cannot be sorted; convert it to one of {SUPPORTED}."
        )
    if dtype_option is not None and dtype_option != stored.name:
        _refuse(path, _advice(path, stored, dtype_option))
    return stored


def _named_type(path: Path, size: int, swapped: bool, dtype_option: str | None) -> np.dtype[Any]:
    """Return the dtype that the command line gives to elements without one."""
    import numpy as np

    if dtype_option is None:
        candidates = [dtype.name for dtype in DTYPES.values() if dtype.bits == 8 * size]
        _refuse(
            path,
            f"its header does not say what its {size}-byte elements are, as NumPy saves arrays of "
            f"ml_dtypes. Say it with --dtype: {', '.join(candidates)}.",
        )
    width = DTYPES[dtype_option].bits // 8
    if width != size:
        _refuse(
            path,
            f"--dtype {dtype_option} is {width} bytes wide, but the file's elements are {size}.",
        )
    if dtype_option.startswith(("bfloat", "float8")):
        need("ml_dtypes")
        import ml_dtypes

        dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, dtype_option))
    else:
        dtype = np.dtype(dtype_option)
    return dtype.newbyteorder(">") if swapped else dtype


def _advice(path: Path, stored: np.dtype[Any], dtype_option: str) -> str:
    """Return how to convert a file, because --dtype converts nothing."""

    def command(expression: str, modules: str = "numpy") -> str:
        name = json.dumps(click.format_filename(path), ensure_ascii=False)
        code = f'import {modules}; numpy.save("NEW.npy", numpy.load({name}){expression})'
        return f"python -c {shlex.quote(code)}"

    if dtype_option.startswith(("bfloat", "float8")):
        convert = command(f".astype(ml_dtypes.{dtype_option})", "ml_dtypes, numpy")
    else:
        convert = command(f'.astype("{dtype_option}")')
    text = (
        f"its elements are {stored.name}; --dtype {dtype_option} converts nothing, it only names "
        f"elements without a dtype. To convert the values: {convert}"
    )
    if DTYPES[dtype_option].bits == 8 * stored.itemsize:
        # astype converts to the byte order of the machine. Untyped bytes have no byte order.
        native = "" if stored.isnative else f'.astype("{stored.name}")'
        bits = command(f'{native}.view("V{stored.itemsize}")')
        text += (
            f". If they are the bits of {dtype_option}: {bits}, and sort NEW.npy with this --dtype"
        )
    return f"{text}."


def _short(value: object) -> str:
    """Quote a value of a header on one short line."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        text = "something too long to show"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _refuse_header(path: Path, message: str) -> NoReturn:
    _refuse(path, f"its .npy header is malformed: {message}")


def _refuse(path: Path, message: str) -> NoReturn:
    raise click.ClickException(f"{click.format_filename(path)}: {message}")
