"""A process whose daemon threads sort ends with the status that it would have without them."""

import time

import children
import pytest

_FOREVER = """
import threading, time, numpy as np
from warp_bitonic_sort import sort
x = np.float32([[3, 1, 2]]).repeat(ROWS, axis=0)
started = threading.Barrier(5)
def forever():
    started.wait()
    while True:
        sort(x)
for _ in range(4):
    threading.Thread(target=forever, daemon=True).start()
"""
_END = "started.wait(); time.sleep(0.1)\n"


def run(code, rows, cache, **variables):
    text = _FOREVER.replace("ROWS", str(rows)) + code + _END
    done = children.run(text, WARP_SORT_CACHE_DIR=cache, **variables)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


@pytest.mark.parametrize("rows", [1, 100_000])
def test_process_with_daemon_threads_that_sort_ends_well(warm_cache, rows):
    for _ in range(3):
        run("", rows, warm_cache, OMP_NUM_THREADS="2")


def test_process_with_daemon_threads_in_first_calls_ends_well(half_cache):
    run("", 1, half_cache)


@pytest.mark.parametrize("when", ["before", "after"])
def test_main_thread_can_sort_while_the_process_ends(warm_cache, when):
    """In a function that atexit calls before or after the package's own."""
    code = "import atexit\natexit.register(lambda: print(sort(x)[0].tolist()))\n"
    text = _FOREVER.replace("ROWS", "1")
    text = code + text if when == "after" else text + code
    done = children.run(text + _END, WARP_SORT_CACHE_DIR=warm_cache)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[1.0, 2.0, 3.0]\n", "")


def test_a_daemon_thread_that_is_elsewhere_delays_no_end(warm_cache):
    begin = time.monotonic()
    run("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n", 1, warm_cache)
    assert time.monotonic() - begin < 40
