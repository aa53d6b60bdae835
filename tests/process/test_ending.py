"""A process whose daemon threads sort ends with the status that it would have without them."""

import pytest

from support import children

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
@pytest.mark.stress
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


def test_daemon_thread_that_is_elsewhere_delays_no_end(warm_cache):
    code = """
from warp_bitonic_sort.process import ending
ending._LIMIT = 600.0  # more than a child is given
threading.Thread(target=time.sleep, args=(900,), daemon=True).start()
"""
    run(code, 1, warm_cache)


def test_daemon_thread_stopped_at_the_end_releases_its_locks_and_is_joined(warm_cache):
    """In a function that atexit calls after the package's own, for it was registered before."""
    code = """
import atexit, threading
lock = threading.Lock()
sorting = threading.Event()
def work():
    import numpy as np
    from warp_bitonic_sort import sort
    x = np.float32([[3, 1, 2]])
    while True:
        with lock:
            sort(x)
        sorting.set()
worker = threading.Thread(target=work, daemon=True)
@atexit.register
def stop():
    worker.join(60)
    print(worker.is_alive(), lock.acquire(timeout=60))
worker.start()
sorting.wait()
"""
    done = children.run(code, WARP_SORT_CACHE_DIR=warm_cache)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False True\n", "")


def test_fork_at_the_end_does_not_wait_for_a_stopped_first_call(half_cache):
    """A daemon thread is stopped within its first call, and a function of atexit forks then."""
    code = """
import atexit, os, threading, time
compiling = threading.Event()
@atexit.register
def fork():
    worker.join(60)
    begin = time.monotonic()
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    print(time.monotonic() - begin < 30)
import numpy as np
from warp_bitonic_sort import sort
from warp_bitonic_sort.process import ending
from warp_bitonic_sort.jit.build import ninja
build = ninja.run
def waits_for_the_end(*arguments):
    compiling.set()
    while not ending.is_ending():
        time.sleep(0.01)
    return build(*arguments)
ninja.run = waits_for_the_end
ending._LIMIT = 0.5
worker = threading.Thread(target=sort, args=(np.float32([[3, 1, 2]]),), daemon=True)
worker.start()
compiling.wait()
"""
    done = children.run(code, WARP_SORT_CACHE_DIR=half_cache)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
