"""Doubles of GPUs' drivers, and tests that run in processes of their own with one.

A process loads its driver once, so every test of one runs in a process of its own, which finds the
double where the driver would be: pytest's process only starts it.
"""

import contextlib
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support import programs
from warp_bitonic_sort.jit import loader

TESTS = Path(__file__).resolve().parent.parent
DRIVERS = Path(loader.__file__).resolve().parent.parent / "csrc" / "driver"


def build(source: str, library: Path, *flags: str) -> None:
    """Build a double from a source in tests/cpp."""
    product = programs.build(source, "-O1", "-fPIC", "-shared", "-fvisibility=hidden", *flags)
    shutil.copy(product, library)


def fixture(source: str, library: str):
    """Return a module's `double` fixture: the folder with a double of a driver's library."""

    @pytest.fixture(scope="module")
    def double(tmp_path_factory) -> Path:
        # The runtime is in the cache when the double is there.
        loader.runtime()
        folder = tmp_path_factory.mktemp("driver")
        build(source, folder / library)
        return folder

    return double


def the_double(double, folder):
    del folder
    return double


def absent(*libraries):
    """Return a driver for `driven`: a folder without one, where the machine has none of its own."""

    def driver(double, folder):
        del double
        for library in libraries:
            with contextlib.suppress(OSError):
                ctypes.CDLL(library)
                pytest.skip(f"this machine has {library}")
        return folder

    return driver


def older(header: str, prefix: str, missing: str, library: str):
    """Return a driver for `driven`: a library that lacks one of the functions in a header."""

    def driver(double, folder):
        del double
        names = set(re.findall(rf'"({prefix}[A-Z]\w+)"', (DRIVERS / header).read_text())) - {
            missing
        }
        source = folder / "older.cc"
        source.write_text("\n".join(f'extern "C" int {name}() {{ return 0; }}' for name in names))
        compiler = os.environ.get("CXX", "c++")
        command = [compiler, "-fPIC", "-shared", str(source), "-o", str(folder / library)]
        subprocess.run(command, check=True)
        return folder

    return driver


# tvm_ffi imports torch where there is one, which takes seconds and may look for a driver.
_RUN = (
    "import runpy, sys; sys.modules['torch'] = None; "
    "del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


def driven(driver=the_double, **environment):
    """Make a test of a body that is to run in a process of its own.

    The module's `double` fixture is the folder with the double; `driver` returns the folder of the
    driver that it runs with, the double if nothing is said. The module ends with `run_body`.
    """

    def decorate(body):
        # Not functools.wraps: pytest would look for the body's own arguments.
        def test(double, tmp_path):
            path = [str(driver(double, tmp_path)), os.environ.get("LD_LIBRARY_PATH")]
            library_path = os.pathsep.join(filter(None, path))
            words = [body.__code__.co_filename, body.__name__, str(tmp_path)]
            ran = subprocess.run(
                [sys.executable, "-c", _RUN, *words],
                capture_output=True,
                text=True,
                timeout=300,
                env={
                    **{name: value for name, value in os.environ.items() if name != "ROCM_PATH"},
                    "LD_LIBRARY_PATH": library_path,
                    "PYTHONPATH": os.pathsep.join(
                        filter(None, [str(TESTS), os.environ.get("PYTHONPATH")])
                    ),
                    "GPU_ARCH": "native",
                    **environment,
                },
            )
            assert ran.returncode == 0, ran.stdout + ran.stderr

        test.__name__, test.__doc__, test.body = body.__name__, body.__doc__, body
        return test

    return decorate


def run_body(names):
    """Run the body that the command line names."""
    names[sys.argv[1]].body(Path(sys.argv[2]))


class Driver:
    """A double, as its tests see it."""

    LIBRARY: str
    PREFIX: str

    def __init__(self):
        self.library = ctypes.CDLL(self.LIBRARY)
        self._double("report").restype = ctypes.c_char_p

    def _double(self, name):
        return getattr(self.library, f"{self.PREFIX}_{name}")

    def report(self):
        return json.loads(self._double("report")())

    def streams(self):
        """The streams that the runtime made, by the number of their device."""
        return {stream["device"]: stream for stream in self.report()["streams"]}

    def launches(self):
        return self.report()["launches"]

    def capture(self, stream):
        self._double("capture")(ctypes.c_void_p(stream))

    def record_only(self):
        self._double("record_only")(1)

    @contextlib.contextmanager
    def failing(self, **codes):
        listed = ",".join(f"{name}={code}" for name, code in codes.items())
        self._double("fail")(listed.encode())
        try:
            yield
        finally:
            self._double("fail")(b"")


def array(*shape, dtype=np.float32):
    return np.random.default_rng(1).random(shape).astype(dtype)


def memory_of(tensor, like):
    """The memory of a tensor that claims to be on a device, as an array like another."""
    held = (ctypes.c_char * like.nbytes).from_address(tensor.data_ptr())
    return np.frombuffer(held, like.dtype).reshape(like.shape)
