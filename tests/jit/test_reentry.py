"""Forks within a build, and sorts within a sort of the same thread."""

import shutil

import pytest

from support import children
from support.children import ANSWER, OTHER_ANSWER, OTHER_SORT, SORT
from warp_bitonic_sort import kernels

# -- forks -----------------------------------------------------------------------------------------

_BOTH = f"""
def both():
    {SORT}
    {OTHER_SORT}
both.__module__ = "__main__"
"""
_FORKS = {
    "os.fork": "sys.stdout.flush(); child = os.fork()\nif child == 0: both(); sys.exit()\n"
    "assert os.waitpid(child, 0)[1] == 0",
    "multiprocessing": "p = multiprocessing.get_context('fork').Process(target=both)\n"
    "p.start(); p.join(); assert p.exitcode == 0",
}


@pytest.mark.parametrize("fork", _FORKS)
@pytest.mark.usefixtures("cache_copy")
def test_forked_child_sorts_what_its_parent_did_and_more(fork):
    code = f"{SORT}\nimport multiprocessing, os, sys\n{_BOTH}\n{_FORKS[fork]}\n{OTHER_SORT}"
    done = children.run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [ANSWER, ANSWER, OTHER_ANSWER, OTHER_ANSWER]


# Stops the import of a module half-way, in the thread that has its lock.
_SLOW_IMPORT = """
import sys, threading, time
class Slow:
    reached = threading.Event()
    def find_spec(self, name, path, target=None):
        if name == MODULE and not self.reached.is_set():
            self.reached.set()
            time.sleep(0.5)
sys.meta_path.insert(0, Slow())
"""
# Forks, and has both processes sort.
_FORK = f"""
import os, signal, sys
sys.stdout.flush()
child = os.fork()
if child == 0:
    signal.alarm(40)
    try:
        {SORT}
        sys.stdout.flush()
    finally:
        os._exit(0)
status = os.waitpid(child, 0)[1]
assert status == 0, status
"""
# Without a buffer, which a child would inherit.
_IN_A_THREAD = f"""
import builtins, os, threading
builtins.print = lambda value: os.write(1, f"{{value}}\\n".encode())
def first():
    {SORT}
thread = threading.Thread(target=first)
thread.start()
"""


@pytest.mark.parametrize(
    "module",
    [
        "tvm_ffi",
        "tvm_ffi.core",
        "warp_bitonic_sort.arrays._numpy",
        "warp_bitonic_sort.jit.build.ninja",
        "warp_bitonic_sort.jit.build.run",
        "warp_bitonic_sort.jit.store.maintenance",
    ],
)
@pytest.mark.usefixtures("half_cache")
def test_child_forked_while_another_thread_imports_sorts(module):
    code = f"MODULE = {module!r}\n{_SLOW_IMPORT}{_IN_A_THREAD}Slow.reached.wait()\n{_FORK}"
    done = children.run(code + "thread.join()")
    assert done.stdout.splitlines() == [ANSWER, ANSWER], done.stderr


def test_child_forked_after_a_failed_build_sorts(half_cache, tmp_path):
    """While the parent's thread that imports tvm_ffi is still at it."""
    compiler = children.script(
        tmp_path / "c++", '[ "$1" = --version ] && exec $CXX --version\nexit 1'
    )
    code = f"""
try:
    {SORT}
except RuntimeError:
    import os
    del os.environ["CXX"]
"""
    shutil.rmtree(half_cache / "v1" / "entries")
    code = f"MODULE = 'tvm_ffi.core'\n{_SLOW_IMPORT}{code}Slow.reached.wait()\n{_FORK}"
    done = children.run(code, CXX=compiler)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")


def test_child_forked_while_another_thread_compiles_sorts_without_waiting_to_fork(
    half_cache, tmp_path
):
    go_on = tmp_path / "go-on"
    compiler = children.script(
        tmp_path / "c++",
        f'[ "$1" = --version ] || while [ ! -e {go_on} ]; do sleep 0.05; done\nexec $CXX "$@"',
    )
    code = f"""{_IN_A_THREAD}
import pathlib, time
while not list(pathlib.Path({str(half_cache)!r}).glob("v1/locks/*.holder")):
    time.sleep(0.01)
time.sleep(0.1)
{_FORK.replace("if child == 0", f"pathlib.Path({str(go_on)!r}).touch(){chr(10)}if child == 0")}
thread.join()
"""
    done = children.run(code, CXX=compiler)
    assert (done.stdout.splitlines(), done.stderr) == ([ANSWER, ANSWER], "")


@pytest.mark.usefixtures("half_cache")
def test_signal_handler_that_forks_during_a_build_and_its_child_both_sort(tmp_path):
    """The parent waits for the child, which must not wait for the parent's lock."""
    compiler = children.script(
        tmp_path / "c++", '[ "$1" = --version ] || sleep 0.5; exec $CXX "$@"'
    )
    fork = _FORK.replace("\n", "\n    ")
    code = f"""
import signal
def handler(*_):{fork}
signal.signal(signal.SIGALRM, handler)
from warp_bitonic_sort.jit.build import ninja
build = ninja.run
def slow(*arguments, **options):
    ninja.run = build
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    return build(*arguments, **options)
ninja.run = slow
{SORT}
"""
    done = children.run(code, CXX=compiler)
    assert (done.stdout.splitlines(), done.stderr) == ([ANSWER, ANSWER], "")


@pytest.mark.usefixtures("half_cache")
def test_grandchild_forked_during_a_first_sort_sorts():
    fork = f"""
import os, sys
if (child := os.fork()) > 0:
    sys.exit(os.waitpid(child, 0)[1] != 0)
{_FORK}{SORT}
"""
    code = f"MODULE = 'tvm_ffi.core'\n{_SLOW_IMPORT}{_IN_A_THREAD}Slow.reached.wait()\n{fork}"
    done = children.run(code)
    assert done.stdout.splitlines() == [ANSWER] * 3, done.stderr


# -- calls within calls ----------------------------------------------------------------------------

# What a signal handler or a finalizer may do at any line.
_SORT_IN = f"""
import importlib
module = importlib.import_module("warp_bitonic_sort." + MODULE)
original = getattr(module, FUNCTION)
def interrupted(*arguments, **options):
    setattr(module, FUNCTION, original)
    {SORT}
    return original(*arguments, **options)
setattr(module, FUNCTION, interrupted)
"""


@pytest.mark.parametrize(
    "point",
    [
        "jit.store.layers.look_up",
        "jit.build.run.ensure",
        "jit.store.locks.write_json",
        "jit.build.run._remove_abandoned",
        "jit.build.ninja.run",
        "jit.loader._check",
        "jit.store.publish.publish",
        "jit.runtime.load",
        "jit.runtime.mark_unloadable",
    ],
)
@pytest.mark.usefixtures("half_cache")
def test_sort_within_a_first_sort_of_the_same_thread_returns(half_cache, point):
    if point == "jit.runtime.mark_unloadable":
        children.break_library(half_cache, kernels.RUNTIME)
    module, _, function = point.rpartition(".")
    done = children.run(f"MODULE, FUNCTION = {module!r}, {function!r}\n{_SORT_IN}{SORT}")
    assert (done.stdout.splitlines(), done.stderr) == ([ANSWER, ANSWER], "")


@pytest.mark.usefixtures("half_cache")
def test_signal_handler_that_sorts_during_a_build_returns(tmp_path):
    compiler = children.script(
        tmp_path / "c++", '[ "$1" = --version ] || sleep 0.5; exec $CXX "$@"'
    )
    code = f"""
import signal
def handler(*_):
    {SORT}
signal.signal(signal.SIGALRM, handler)
from warp_bitonic_sort.jit.build import ninja
build = ninja.run
def slow(*arguments, **options):
    ninja.run = build
    signal.setitimer(signal.ITIMER_REAL, 0.25)
    return build(*arguments, **options)
ninja.run = slow
{SORT}
"""
    done = children.run(code, CXX=compiler)
    assert (done.stdout.splitlines(), done.stderr) == ([ANSWER, ANSWER], "")


@pytest.mark.usefixtures("runtime_layer")
@pytest.mark.compile
def test_sort_within_the_making_of_a_temporary_folder_returns(tmp_path):
    code = f"""
import tempfile
make = tempfile.mkdtemp
def interrupted(*arguments, **options):
    tempfile.mkdtemp = make
    {SORT}
    return make(*arguments, **options)
tempfile.mkdtemp = interrupted
import warnings; warnings.simplefilter("ignore")
{SORT}
"""
    done = children.run(code, WARP_SORT_CACHE_DIR="/proc/none", TMPDIR=tmp_path)
    assert (done.stdout.splitlines(), done.stderr) == ([ANSWER, ANSWER], "")
    assert not list(tmp_path.iterdir())


_DLPACK_SORT = """
import numpy as np, warp_bitonic_sort as w
class Array(list):
    def __dlpack__(self, **how): return np.float32(self).__dlpack__()
    def __dlpack_device__(self): return 1, 0
"""


@pytest.mark.parametrize("array", ["np.float32", "Array"])
@pytest.mark.usefixtures("cache_copy")
def test_sort_within_the_import_of_tvm_ffi_by_the_same_thread_raises(array):
    code = f"""
{_DLPACK_SORT}
import sys
class Interrupts:
    def find_spec(self, name, path, target=None):
        if name == "tvm_ffi.core" and self in sys.meta_path:
            sys.meta_path.remove(self)
            try:
                w.sort({array}([[3, 1, 2]]))
            except RuntimeError as error:
                print(error)
sys.meta_path.insert(0, Interrupts())
{SORT}
"""
    done = children.run(code)
    said, answer = done.stdout.splitlines()
    assert said.startswith("a signal handler or a finalizer called sort while this thread was")
    assert answer == ANSWER, done.stderr
