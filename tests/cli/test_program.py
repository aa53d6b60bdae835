"""The command line as a process: closed streams, narrow terminals, warnings, files to write."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest

from support import children

PROGRAM = [sys.executable, "-m", "warp_bitonic_sort"]


def program(*arguments, close=(), **changes):
    """Run the program with some of its standard streams closed."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {" ".join(close)}', "sh", *PROGRAM, *map(str, arguments)],
        env=children.environment(**changes),
        text=True,
        capture_output=True,
    )


def on_terminal(arguments, columns, **changes):
    """Run the program with standard error on a terminal; return what that shows."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [*PROGRAM, *map(str, arguments)]
    environment = children.environment(COLUMNS=None, **changes)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=slave, env=environment) as child:
        os.close(slave)
        shown = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:  # Linux's end of file
                break
            if not part:
                break
            shown += part
        os.close(master)
        assert child.wait() == 0, shown
    return shown.decode()


def _counts_of(length):
    """What is printed about a network below its picture."""
    return program("network", length).stdout.rpartition("\n\n")[2]


@pytest.mark.parametrize("arguments", ["explain 9", "network 8", "cache path", "--help"])
def test_closed_standard_output_is_an_error(arguments):
    done = program(*arguments.split(), close=[">&-"])
    assert done.returncode == 1
    assert done.stderr == "Error: the output cannot be written: Bad file descriptor.\n"


@pytest.mark.parametrize("arguments", ["explain 9", "prewarm --length 3", "doctor --no-build"])
def test_closed_standard_error_changes_no_status(arguments, cache_copy):
    done = program(*arguments.split(), close=["2>&-", "<&-"])
    assert done.returncode == 0
    assert done.stdout
    assert cache_copy


def test_sort_with_closed_streams_prints_nothing_into_its_file(tmp_path, cache_copy):
    """With standard output and error closed, OUT would be the file of their number."""
    np.save(tmp_path / "in.npy", np.float32([[3, 1, 2]]))
    done = program("sort", tmp_path / "in.npy", tmp_path / "out.npy",
                   close=["<&-", ">&-", "2>&-"], WARP_SORT_JIT_VERBOSE="1")  # fmt: skip
    assert done.returncode == 0
    assert np.load(tmp_path / "out.npy").tolist() == [[1, 2, 3]]
    assert cache_copy


def test_warning_of_a_command_is_one_line():
    code = """
        import warnings
        from warp_bitonic_sort import __main__
        __main__.main = lambda: warnings.warn("the cache is full.", RuntimeWarning)
        __main__.run()
    """
    assert children.run(code).stderr == "Warning: the cache is full.\n"


@pytest.fixture
def file_of_many_chunks(tmp_path):
    np.save(tmp_path / "in.npy", np.tile(np.float32([3, 1, 2]), (4000, 1)))
    return ["sort", tmp_path / "in.npy", tmp_path / "out.npy", "--chunk-size", "0.004"]


@pytest.mark.parametrize(
    ("columns", "has_label"), [(200, True), (80, True), (39, True), (38, False), (20, False)]
)
@pytest.mark.usefixtures("cache_copy")
def test_progress_bar_is_narrower_than_the_terminal(file_of_many_chunks, columns, has_label):
    shown = on_terminal(file_of_many_chunks, columns)
    drawn = [re.sub(r"\x1b\[\?25[lh]", "", line).rstrip("\n") for line in shown.split("\r")]
    assert "100%" in shown
    assert ("sorting" in shown) is has_label
    assert max(map(len, drawn)) < columns


@pytest.mark.parametrize(("columns", "terminal"), [(10, "xterm"), (80, "dumb")])
@pytest.mark.usefixtures("cache_copy")
def test_terminal_without_room_or_cursor_shows_no_bar(file_of_many_chunks, columns, terminal):
    assert on_terminal(file_of_many_chunks, columns, TERM=terminal) == ""


def test_file_that_does_not_fit_on_the_disk_stays_what_it_was(tmp_path):
    folder = tmp_path / "full"
    folder.mkdir()
    code = f"""
        from pathlib import Path
        from warp_bitonic_sort.cli import main
        file = Path({str(folder / "n.svg")!r})
        file.write_text("before")
        try:
            main(["network", "64", "--svg", str(file)])
        finally:
            print(file.read_text(), [path.name for path in file.parent.iterdir()])
    """
    done = children.run(code, before=children.full(folder, "8k"))
    assert done.returncode == 1
    assert done.stdout == "before ['n.svg']\n"
    assert done.stderr == f"Error: {folder}/n.svg: cannot be written: No space left on device\n"


@pytest.mark.parametrize("name", ["/dev/stdout", "pipe"])
def test_picture_is_written_into_a_stream(name, tmp_path):
    if name == "pipe":
        name = tmp_path / "pipe"
        name.symlink_to("/proc/self/fd/1")
    done = program("network", "3", "--svg", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("<?xml")
    assert done.stdout.endswith(f"</svg>\n{_counts_of(3)}picture: {name}\n")


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize(
    "arguments", [["network", "8", "--svg"], ["demo", "--output"], ["sort", "in.npy"]]
)
def test_file_whose_name_ends_with_a_slash_is_refused(arguments, is_there, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("in.npy", np.zeros(3))
    if is_there:
        Path("out.png").touch()
    done = program(*arguments, "out.png/")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'out.png/' ends like a folder's name; expected a file's." in done.stderr
    assert is_there == Path("out.png").exists()
    assert not is_there or Path("out.png").stat().st_size == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["network", "8", "--svg", "out"],
        ["demo", "--output", "out.png"],
        ["prewarm", "--length", "3", "--manifest", "out"],
    ],
)
def test_file_in_a_folder_that_cannot_be_written_is_refused_first(arguments, tmp_path, fresh_cache):
    """As another user than root, who may write anywhere."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    code = f"""
        import os, sys
        os.access = lambda path, mode, **_: mode == os.R_OK
        sys.argv = ["", *{arguments[:-1]!r}, {str(folder / arguments[-1])!r}]
        from warp_bitonic_sort.cli import main
        main()
    """
    done = children.run(code)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"nothing can be written into the folder {folder}." in " ".join(done.stderr.split())
    assert list(folder.iterdir()) == []
    assert not fresh_cache.exists()
