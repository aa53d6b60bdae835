"""Forks wait for what is short, and for nothing else; children inherit no lock."""

import textwrap

from support import children

_BEGIN = """
import os, signal, sys, threading, time
from warp_bitonic_sort.process import forks
inside, leave = threading.Event(), threading.Event()
def stay(how):
    with forks.held_off(), how:
        inside.set()
        leave.wait(30)
def start(how):
    threading.Thread(target=stay, args=(how,), daemon=True).start()
    inside.wait()
def fork(code="pass"):
    begin = time.monotonic()
    if (child := os.fork()) == 0:
        signal.alarm(20)
        exec(code)
        os._exit(0)
    seconds = time.monotonic() - begin
    assert os.waitpid(child, 0)[1] == 0
    return seconds
"""


def run(code, said=""):
    done = children.run(_BEGIN + textwrap.dedent(code))
    assert (done.returncode, done.stderr[: len(said) or None]) == (0, said), done.stderr


def test_fork_waits_for_another_thread_inside():
    run("""
        import contextlib
        start(contextlib.nullcontext())
        threading.Timer(0.4, leave.set).start()
        assert 0.2 < fork() < 10
    """)


def test_fork_does_not_wait_for_a_thread_where_it_is_allowed():
    run("""
        start(forks.allowed())
        assert fork() < 10
        leave.set()
    """)


def test_fork_does_not_wait_for_its_own_thread():
    run("""
        with forks.held_off(), forks.held_off():
            assert fork("with forks.held_off(): pass") < 10
    """)


def test_child_can_hold_off_forks_and_fork_again():
    """Although another thread was inside, and the fork would not wait for it any longer."""
    code = """
        import contextlib
        forks._LIMIT = 0.2
        start(contextlib.nullcontext())
        child = "with forks.held_off(): pass" + chr(10) + "assert fork() < 0.1"
        assert 0.1 < fork(child) < 10
        leave.set()
    """
    run(code, said="warp_bitonic_sort: this process forks although another thread has been loading")


def test_exception_while_forks_are_waited_for_leaves_no_thread_inside():
    run("""
        def interrupted(me):
            forks._wait_for_forks = wait
            raise InterruptedError
        wait, caught = forks._wait_for_forks, 0
        for entry in (forks.allowed, forks.held_off):
            forks._wait_for_forks = interrupted
            try:
                with entry():
                    pass
            except InterruptedError:
                caught += 1
        try:
            with forks.held_off(), forks.held_off(), forks.allowed():
                forks._wait_for_forks = interrupted
        except InterruptedError:
            caught += 1
        assert (caught, forks._inside) == (3, {})
    """)


def test_thread_enters_after_a_fork_that_failed():
    run("""
        forks._before()
        forks._after_in_parent()
        thread = threading.Thread(target=forks.held_off().__enter__)
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
    """)


def test_forks_of_two_threads_that_are_inside_do_not_wait_for_each_other():
    run("""
        both = threading.Barrier(2)
        def work():
            with forks.held_off():
                both.wait()
                assert fork() < 10
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """)
