"""Rows that are divided among processes: the first elements are those of the whole rows."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("distributed_ranks.py")


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_first_elements_of_divided_rows_are_those_of_whole_rows(tmp_path, count):
    ranks = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), str(count), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(count)
    ]
    try:
        outputs = [rank.communicate(timeout=300)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    for rank, output in enumerate(outputs):
        assert f"rank {rank} done" in output, output
        assert rank == count - 1 or f"rank {rank} noticed" in output, output
