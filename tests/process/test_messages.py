"""Messages are printed where a person sees standard error, and fail nothing elsewhere."""

import io
import sys
import types

import pytest

from warp_bitonic_sort.process import messages


class Terminal(io.StringIO):
    def isatty(self):
        return True


def ipython(monkeypatch, shell):
    module = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", module)


def shell_of(name, *bases):
    return type(name, bases, {})


def test_terminal_is_watched(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert messages.is_watched()


def test_notebook_is_watched(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    kernel = shell_of("ZMQInteractiveShell")
    ipython(monkeypatch, kernel())
    assert messages.is_watched()
    ipython(monkeypatch, shell_of("Shell", kernel)())  # as Colab's is
    assert messages.is_watched()


@pytest.mark.parametrize("stderr", [None, io.StringIO(), types.SimpleNamespace()])
def test_standard_error_that_no_person_sees_is_not_watched(monkeypatch, stderr):
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setitem(sys.modules, "IPython", None)
    assert not messages.is_watched()
    ipython(monkeypatch, None)  # imported, and not what runs this process
    assert not messages.is_watched()
    ipython(monkeypatch, shell_of("TerminalInteractiveShell")())
    assert not messages.is_watched()


def test_closed_standard_error_is_not_watched_and_fails_nothing(monkeypatch):
    closed = Terminal()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    messages.say("lost")
    monkeypatch.setattr(sys, "stderr", None)
    messages.say("lost")
    assert not messages.is_watched()
