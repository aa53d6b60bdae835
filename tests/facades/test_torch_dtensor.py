"""Tensors that PyTorch shards over processes: each sorts its own rows."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("dtensor_ranks.py")


def test_sharded_tensors_are_sorted_where_they_are(tmp_path):
    ranks = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(rank), "2", str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [rank.communicate(timeout=300)[0] for rank in ranks]
    for rank, output in enumerate(outputs):
        assert f"rank {rank} done" in output, output
