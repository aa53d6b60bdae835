"""Stops a command on a signal, after it has cleaned up.

Invariant: a signal that is not ignored ends the process by itself, as its sender expects, and what
the command left half done is removed before that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

import click


class _Stopped(BaseException):
    """A signal asked the command to stop. It is not an Exception, so that nothing swallows it."""


@contextlib.contextmanager
def stopped_cleanly() -> Iterator[Callable[[], None]]:
    """Turn signals into an exception, and end by the signal after the cleaning up.

    Yields a function that the caller calls from time to time, because an exception that a signal
    raises inside a destructor is lost.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # signals go to the main thread only
        return
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of handlers
        if not received:  # a second one must not interrupt the cleaning up
            received.append(number)
            raise _Stopped

    def check() -> None:
        if received:
            raise _Stopped

    # An ignored signal (nohup) stays ignored.
    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) != signal.SIG_IGN
    ]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield check
    except _Stopped:
        _die(received[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _die(number: int) -> NoReturn:
    """End by the signal, as its sender expects."""
    with contextlib.suppress(OSError):
        click.echo(f"Stopped by {signal.Signals(number).name}.", err=True)
        sys.stdout.flush()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise SystemExit(128 + number)
