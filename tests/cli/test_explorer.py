"""The explorer of networks: one file, whose networks are those of the kernels.

tests/site looks at the page in a browser.
"""

import itertools
import json
import re
import subprocess

import numpy as np
import pytest
from click.testing import CliRunner

from support import programs
from warp_bitonic_sort.cli import main
from warp_bitonic_sort.cli._explorer import MAX_LENGTH, explorer_data, explorer_html
from warp_bitonic_sort.cli._network_data import LEAF_BITS, kernel_steps, layers, leaf, network_steps


def wires(comparators):
    """The comparators of each position, in order: what makes two networks the same."""
    seen = {}
    for pair in comparators:
        for position in pair:
            seen.setdefault(position, []).append(tuple(pair))
    return seen


def pairs(flat):
    return [pair for step in flat for pair in zip(step[::2], step[1::2], strict=True)]


def test_networks_of_the_explorer_are_those_of_the_kernels():
    printed = subprocess.run(
        [programs.build("print_networks.cc")], capture_output=True, text=True, check=True
    ).stdout
    data = explorer_data(8)
    names = set()
    for line in printed.splitlines():
        bits, leaf_bits, *flat = map(int, line.split())
        of_kernel = list(zip(flat[::2], flat[1::2], strict=True))
        shown = (
            data["smallest"][bits] if bits == leaf_bits else data["merged"][f"{bits},{leaf_bits}"]
        )
        assert wires(pairs(shown)) == wires(of_kernel), line[:5]
        names.add((bits, leaf_bits))
    assert names == {(bits, each) for bits in range(2, 7) for each in LEAF_BITS if each <= bits}


@pytest.mark.parametrize("bits", range(1, 7))
def test_bitonic_network_of_the_explorer_is_that_of_the_command(bits):
    expected = [pair for step in network_steps(1 << bits) for pair in step.comparators]
    assert pairs(explorer_data(8)["bitonic"][bits]) == expected


@pytest.mark.parametrize(("bits", "count"), [(2, 5), (3, 19), (4, 60), (5, 185)])
def test_leaf_has_the_known_number_of_comparators_and_sorts(bits, count):
    assert len(leaf(bits)) == count
    size = 1 << bits
    rows = np.random.default_rng(0).integers(0, 2, (4000, size), np.int8)
    if bits < 5:
        rows = np.array(list(itertools.product([0, 1], repeat=size)), np.int8)
    for low, high in leaf(bits):
        pair = rows[:, [low, high]]
        rows[:, low], rows[:, high] = pair.min(axis=1), pair.max(axis=1)
    assert (np.diff(rows, axis=1) >= 0).all()


def test_layers_keep_the_order_of_each_position():
    assert wires(itertools.chain(*layers(leaf(4)))) == wires(leaf(4))
    assert len(layers(leaf(4))) == 10
    for step in kernel_steps(6, 4):
        positions = [position for pair in step for position in pair]
        assert len(positions) == len(set(positions))


def test_page_is_one_small_file_that_loads_nothing():
    page = explorer_html(16)
    assert len(page.encode()) < 150_000
    without_names = page.replace("http://www.w3.org/2000/svg", "")
    assert not re.findall(r"https?:|//\w+\.|@import|url\(", without_names)
    assert re.findall(r"\bsrc=", page) == []
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert json.loads(data) == json.loads(json.dumps(explorer_data(16)))


def test_layouts_of_the_explorer_cover_every_length():
    for target in explorer_data(8)["targets"]:
        longest = [each["longest"] for each in target["layouts"]]
        assert longest == sorted(longest)
        assert longest[-1] == MAX_LENGTH
        for each in target["layouts"]:
            assert each["registers"] in (4, 8, 16, 32)
            assert "register" in target["costs"]
            assert each["rest"] in target["costs"]


def test_network_command_writes_the_page(tmp_path):
    file = tmp_path / "n.html"
    result = CliRunner().invoke(main, ["network", "5", "--html", str(file)])
    assert result.exit_code == 0, result.output
    assert "5 positions: 11 comparators" in result.output
    assert result.output.endswith(f"page: {file}\n")
    assert file.read_text() == explorer_html(5)
