"""The network that is drawn: it sorts, and the drawings show it and nothing else."""

import itertools
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from click.testing import CliRunner

from warp_bitonic_sort.cli import main
from warp_bitonic_sort.cli._network_data import (
    bitonic_comparators,
    bitonic_depth,
    columns,
    network_steps,
)
from warp_bitonic_sort.cli.network import draw_svg, draw_text

SVG = "{http://www.w3.org/2000/svg}"


def run(length, rows):
    rows = rows.copy()
    for step in network_steps(length):
        touched = [wire for pair in step.comparators for wire in pair]
        assert len(touched) == len(set(touched))
        for low, high in step.comparators:
            assert low < high
            pair = rows[:, [low, high]]
            rows[:, low], rows[:, high] = pair.min(axis=1), pair.max(axis=1)
    return rows


@pytest.mark.parametrize("length", range(1, 15))
def test_network_sorts_every_row_of_zeros_and_ones(length):
    rows = np.array(list(itertools.product([0, 1], repeat=length)), np.int8)
    np.testing.assert_array_equal(run(length, rows), np.sort(rows, axis=1))


@pytest.mark.parametrize("length", [15, 16, 17, 33, 63, 64])
def test_network_of_longer_rows_sorts_samples_of_zeros_and_ones(length):
    # Every threshold of every cyclic order: all 0-1 rows whose ones are one run, and random ones.
    runs = np.array(
        [np.roll(np.arange(length) < ones, at) for ones in range(length) for at in range(length)],
        np.int8,
    )
    noise = np.random.default_rng(0).integers(0, 2, (5000, length), np.int8)
    rows = np.concatenate([runs, noise])
    np.testing.assert_array_equal(run(length, rows), np.sort(rows, axis=1))


@pytest.mark.parametrize("bits", range(1, 7))
def test_network_of_a_power_of_two_has_batchers_counts(bits):
    steps = network_steps(1 << bits)
    assert sum(len(step.comparators) for step in steps) == bitonic_comparators(1 << bits)
    assert len(steps) == bitonic_depth(1 << bits)


def test_network_of_four_equals_the_known_one():
    assert [(step.phase, step.mask, step.comparators) for step in network_steps(4)] == [
        (1, 1, ((0, 1), (2, 3))),
        (2, 3, ((0, 3), (1, 2))),
        (2, 1, ((0, 1), (2, 3))),
    ]


@pytest.mark.parametrize("length", [2, 7, 16, 64])
def test_columns_keep_comparators_apart(length):
    for step in network_steps(length):
        spread = columns(step.comparators)
        assert sorted(itertools.chain(*spread)) == sorted(step.comparators)
        for column in spread:
            assert all(a[1] < b[0] for a, b in itertools.pairwise(column))
        # No fewer columns would do: so many comparators cross one gap between wires.
        crossed = max(
            sum(low <= gap < high for low, high in step.comparators) for gap in range(length)
        )
        assert len(spread) == crossed


def read_text(drawing, length):
    """Read the comparators back from a drawing, stripe by stripe and column by column."""
    found = []
    for stripe in drawing.split("\n\n"):
        wires = stripe.split("\n")[2:]
        assert len(wires) == length
        for column in itertools.zip_longest(*wires, fillvalue="─"):
            start = None
            for wire, character in enumerate(column):
                assert (start is None) or character in "┼┴"
                if character == "┬":
                    start = wire
                elif character == "┴":
                    found.append((start, wire))
                    start = None
            assert start is None
    return found


@pytest.mark.parametrize("length", [2, 3, 8, 13, 64])
@pytest.mark.parametrize("width", [80, 100_000])
def test_draw_text_shows_exactly_the_network(length, width):
    steps = network_steps(length)
    drawing = draw_text(length, steps, width)
    assert max(map(len, drawing.splitlines())) <= width
    expected = [pair for step in steps for column in columns(step.comparators) for pair in column]
    assert read_text(drawing, length) == expected
    assert re.findall(r"phase (\d+)", drawing) == [
        str(phase) for phase in range(1, steps[-1].phase + 1)
    ]
    assert [int(mask) for mask in re.findall(r"\^(\d+)", drawing)] == [s.mask for s in steps]


@pytest.mark.parametrize("length", [2, 6, 64])
def test_draw_svg_shows_exactly_the_network(length):
    steps = network_steps(length)
    root = ET.fromstring(draw_svg(length, steps))  # noqa: S314 - our own text
    groups = {group.get("id"): group for group in root.findall(f"{SVG}g")}
    heights = [float(line.get("y1")) for line in groups["wires"].findall(f"{SVG}line")]
    assert len(heights) == length
    marks = groups["comparators"].findall(f"{SVG}line")
    drawn = [(heights.index(float(m.get("y1"))), heights.index(float(m.get("y2")))) for m in marks]
    expected = [pair for step in steps for column in columns(step.comparators) for pair in column]
    assert drawn == expected
    assert len(groups["phases"].findall(f"{SVG}rect")) == steps[-1].phase
    _, _, width, height = map(float, root.get("viewBox").split())
    for circle in groups["comparators"].findall(f"{SVG}circle"):
        assert 0 < float(circle.get("cx")) < width
        assert 0 < float(circle.get("cy")) < height


def test_network_command_counts_comparators_and_dropped_ones():
    full = CliRunner().invoke(main, ["network", "8"]).output
    assert "8 positions: 24 comparators in 6 steps" in full
    assert "dropped" not in full
    part = CliRunner().invoke(main, ["network", "6"]).output
    assert "6 positions: 15 comparators in 6 steps" in part
    assert "positions beyond 5: 9 comparators" in part


def test_network_command_writes_svg(tmp_path):
    file = tmp_path / "n.svg"
    result = CliRunner().invoke(main, ["network", "5", "--svg", str(file)])
    assert result.exit_code == 0
    assert file.read_bytes() == draw_svg(5, network_steps(5))
    assert str(file) in result.output
    assert "┬" not in result.output


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["1"], 2, "2<=x<=64"),
        (["65"], 2, "2<=x<=64"),
        (["eight"], 2, "eight"),
        (["8", "--svg", "/nowhere/n.svg"], 2, "there is no folder /nowhere; make it first."),
        (["8", "--svg", ""], 2, "expected a path, got an empty one"),
        (["8", "--svg", "-"], 2, "'-' would be standard input or output"),
        (["8", "--svg", f"{__file__}/n.svg"], 2, f"{__file__} is not a folder."),
        (["8", "--svg", "n" * 300], 2, "File name too long."),
    ],
)
def test_network_command_with_wrong_arguments_is_refused(arguments, status, said):
    result = CliRunner().invoke(main, ["network", *arguments])
    assert result.exit_code == status
    assert said in result.output
    assert "comparators" not in result.output


def test_network_svg_that_cannot_be_written_prints_no_counts():
    result = CliRunner().invoke(main, ["network", "8", "--svg", "/dev/full"])
    assert result.exit_code == 1
    assert result.output == "Error: /dev/full: cannot be written: No space left on device\n"


def test_network_on_terminal_without_unicode_is_ascii(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = subprocess.run(
        [sys.executable, "-m", "warp_bitonic_sort", "network", "3"], capture_output=True, check=True
    )
    wires = [line.split() for line in done.stdout.decode("ascii").splitlines()[2:5]]
    # Comparators (0, 1), (1, 2) and (0, 1).
    assert [(name, line.count("+")) for name, line in wires] == [("0", 2), ("1", 3), ("2", 1)]
