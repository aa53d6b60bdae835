"""Headers of .npy files: what is malformed is one line of error, at little cost."""

import contextlib
import math
import struct

import click
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import children
from warp_bitonic_sort.cli._npy import open_npy

VERSIONS = {1: "<H", 2: "<I", 3: "<I"}
GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"


def write(file, text, version=1, data=bytes(24), length=None):
    """Write a file with a header's text, and a length of it that need not be the true one."""
    raw = text if isinstance(text, bytes) else text.encode("utf-8" if version == 3 else "latin-1")
    size = struct.pack(VERSIONS[version], len(raw) if length is None else length)
    file.write_bytes(b"\x93NUMPY" + bytes([version, 0]) + size + raw + data)


def refusal(file, dtype=None):
    with pytest.raises(click.ClickException) as caught, open_npy(file, dtype):
        pass
    message = caught.value.message
    assert message.startswith(f"{file}: ")
    assert "\n" not in message
    assert len(message) < len(str(file)) + 500
    return message.removeprefix(f"{file}: ")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "in.npy"


@pytest.mark.parametrize("version", [1, 2, 3])
def test_open_npy_good_header_of_every_version_is_read(file, version):
    write(file, GOOD, version)
    with open_npy(file, None) as source:
        assert (source.shape, source.fortran, source.dtype) == ((2, 3), False, np.dtype("f4"))
        assert file.read_bytes() == source.header + bytes(source.nbytes)


def test_open_npy_lengths_of_python_2_are_read(file):
    write(file, GOOD.replace("(2, 3)", "(2L, 3L)"))
    with open_npy(file, None) as source:
        assert source.shape == (2, 3)


MALFORMED = [
    *("", "{'descr'", "{'descr': '<f4', 'shape': (", "{", "[1]", "1", "nonsense", "{[]: 1}", "\0"),
    *("(" * 5000, "-" * 9000 + "1", "(1," * 3000, "1+" * 4900 + "1", "a." * 4000 + "a"),
    *("{'a':" * 90, "1" * 9000, "0x" + "f" * 9000, "'\\ud800'", "1if 1else " * 900 + "1"),
    *("{}", "{'descr': '<f4'}", GOOD.replace("}", "'more': 1}"), GOOD.replace("descr", "dtype")),
    *("{'descr': '<f4', 'fortran_order': False, 1: (2, 3)}", "\x93\xff\xfe"),
]


@pytest.mark.parametrize("text", MALFORMED, ids=lambda text: repr(text)[:20])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_open_npy_no_dictionary_of_its_keys_is_refused(file, text, version):
    write(file, text, version)
    assert refusal(file).startswith("its .npy header is malformed: expected a dictionary")


@pytest.mark.parametrize(
    "shape",
    [
        *(
            "(-40, 9)",
            "(2, -1)",
            "[2, 3]",
            "6",
            "None",
            "'6'",
            "(2.0, 3)",
            "(True, 6)",
            "((2,), 3)",
        ),
        *("('2', 3)", "(2, None)", "(1e999,)", "(-0x" + "f" * 9000 + ",)", "(1,) + (2,)", "{2, 3}"),
    ],
)
def test_open_npy_shape_of_no_lengths_is_refused(file, shape):
    write(file, GOOD.replace("(2, 3)", shape))
    assert refusal(file).startswith("its .npy header is malformed: ")


@pytest.mark.parametrize("axes", [65, 3000])
def test_open_npy_more_axes_than_numpy_has_are_refused(file, axes):
    write(file, GOOD.replace("(2, 3)", "(" + "1, " * axes + ")"))
    assert refusal(file).endswith(f"shape has {axes} axes, expected at most 64.")


@pytest.mark.parametrize("shape", ["(2**63,)", "(2**62, 2**62)", "(2**40,) * 64", "16**2000"])
def test_open_npy_shape_larger_than_any_file_is_refused(file, shape):
    lengths = {
        "(2**63,)": (2**63,),
        "(2**62, 2**62)": (2**62, 2**62),
        "(2**40,) * 64": (2**40,) * 64,
        "16**2000": (16**2000,),
    }[shape]
    write(file, GOOD.replace("(2, 3)", f"({','.join(map(hex, lengths))},)"))
    assert "promises more bytes than any file has, it has" in refusal(file)


@pytest.mark.parametrize("value", ["0", "1", "None", "'False'", "(True,)"])
def test_open_npy_fortran_order_of_no_bool_is_refused(file, value):
    write(file, GOOD.replace("False", value))
    assert f"fortran_order is {value}, expected True or False" in refusal(file)


@pytest.mark.parametrize("asked", [None, "float32"])
@pytest.mark.parametrize(
    "descr",
    [
        *("'<f3'", "'<x4'", "''", "'float33'", "'<'", "1", "None", "True", "('<f4', (2,))", "'V0'"),
        *("[('a', '<f4')]", "[]", "'f4,i4'", "'(2,)f4'", "'(1e5,)f4'", "'f4,('", "'<V3'", "'U0'"),
        *("'V99999999999'", "'f99999999999999999999'", "'|S5'", "'<c8'", "'<M8[ns]'", "'<m8[x]'"),
        *("'<f16'", "'a5'", "'O,O'", "{'names': ['a'], 'formats': ['f4']}", "'<f4' * 9"),
    ],
)
def test_open_npy_dtype_that_cannot_be_sorted_is_refused(file, descr, asked):
    write(file, GOOD.replace("'<f4'", descr))
    message = refusal(file, asked)
    assert "cannot be sorted" in message or "is malformed" in message


@pytest.mark.parametrize("descr", ["'O'", "'|O'", "'O8'"])
def test_open_npy_python_objects_are_refused(file, descr):
    write(file, GOOD.replace("'<f4'", descr))
    assert "Python objects" in refusal(file, "int64")


@pytest.mark.parametrize("version", [1, 2, 3])
def test_open_npy_header_longer_than_file_is_refused(file, version):
    write(file, GOOD, version, data=b"", length=len(GOOD) + 1)
    assert refusal(file) == "the file is cut short: it ends within its header."


@pytest.mark.parametrize("count", [1, 24])
def test_open_npy_file_that_goes_on_after_its_array_is_refused(file, count):
    """It may hold more arrays, which a sort into the same file would lose."""
    write(file, GOOD)
    file.write_bytes(file.read_bytes() + bytes(count))
    assert refusal(file).startswith(f"the file goes on for {count} bytes after its array; only")


@pytest.mark.parametrize("size", range(6, 64))
def test_open_npy_file_that_ends_in_its_header_is_refused(file, size):
    write(file, GOOD)
    with file.open("r+b") as stream:
        stream.truncate(size)
    assert refusal(file) == "the file is cut short: it ends within its header."


@pytest.mark.parametrize(("version", "length"), [(1, 65535), (2, 10_001), (2, 2**32 - 1)])
def test_open_npy_long_header_is_refused_without_reading_it(file, version, length):
    write(file, GOOD, version, length=length)
    with file.open("r+b") as stream:
        stream.truncate(2**32 + 100)  # sparse
    assert refusal(file).endswith(f"it claims {length} bytes, expected at most 10000.")


def test_open_npy_header_that_is_no_utf8_is_refused(file):
    write(file, b"{'descr': '\xff'}", 3)
    assert refusal(file) == "its .npy header is malformed: expected text in utf-8."


_literals = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
_dtypes = st.sampled_from(["<f4", "|b1", "<V2", "f1", ">i8", "O", "<U3"]) | st.text(max_size=8)
_lengths = st.lists(st.integers(-2, 2**65), max_size=5).map(tuple)


@given(
    st.fixed_dictionaries(
        {"descr": _dtypes | _literals, "fortran_order": st.booleans() | _literals},
        optional={"shape": _lengths | _literals},
    )
    | _literals,
    st.sampled_from([1, 2, 3]),
    st.integers(0, 40),
)
def test_open_npy_any_header_is_read_or_refused(tmp_path_factory, literal, version, cut):
    file = tmp_path_factory.getbasetemp() / "any.npy"
    text = repr(literal).encode("utf-8", "replace")
    write(file, text[: len(text) - cut] if cut < 10 else text, version)
    with contextlib.suppress(click.ClickException), open_npy(file, None) as source:
        assert math.prod(source.shape) * source.dtype.itemsize <= 24
        return
    refusal(file)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x93NUMPY\1\0", b"\x93NUMPY\2\0\20\0\0\0"]))
def test_open_npy_any_bytes_are_refused(tmp_path_factory, data, start):
    file = tmp_path_factory.getbasetemp() / "bytes.npy"
    file.write_bytes(start + data)
    refusal(file)


def test_sort_malformed_headers_cost_little_and_print_one_line(file, tmp_path):
    # 4 GiB of header in a sparse file.
    write(file, GOOD, 2, length=2**32 - 16)
    with file.open("r+b") as stream:
        stream.truncate(2**32)
    other = tmp_path / "other.npy"
    write(other, "{'descr'")
    out = tmp_path / "out.npy"
    code = f"""
        import contextlib, re
        from pathlib import Path
        from warp_bitonic_sort.cli import main
        for name in {[str(file), str(other)]!r}:
            with contextlib.suppress(SystemExit):
                main(["sort", name, {str(out)!r}])
        print(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
    """
    done = children.run(code)
    long, cut = done.stderr.splitlines()
    assert long.startswith(
        f"Error: {file}: its .npy header is malformed: it claims 4294967280 bytes"
    )
    assert cut.startswith(f"Error: {other}: its .npy header is malformed: expected a dictionary")
    assert int(done.stdout) < 500 * 1024
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.npy", "other.npy"]
