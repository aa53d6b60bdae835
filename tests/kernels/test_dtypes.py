"""The two tables of dtypes, in Python and in C++, are the same."""

import re
from pathlib import Path

import warp_bitonic_sort
from warp_bitonic_sort.dtypes import DTYPES

_ROW = re.compile(r'\{dtype::\w+, "(\w+)", (\d+), codec_kind::(\w+), (\w+), (\w+)\},')


def test_dtype_header_has_the_rows_of_the_python_table():
    header = Path(warp_bitonic_sort.get_include(), "warp_bitonic_sort/core/dtype.hpp").read_text()
    rows = {
        name: (int(bits), codec, int(first.rstrip("ul"), 0), int(last.rstrip("ul"), 0))
        for name, bits, codec, first, last in _ROW.findall(header)
    }
    expected = {}
    for dtype in DTYPES.values():
        sign = 1 << (dtype.bits - 1) if dtype.signed else 0
        first = dtype.lowest if dtype.codec == "ieee" else sign
        expected[dtype.name] = (dtype.bits, dtype.codec, first, dtype.highest)
    assert rows == expected
