"""The command ``sort``: files of every layout, all or nothing, in bounded memory.

Rows are longer than a register kernel takes unless that is the point: one kernel for each width of
key then serves every shape.
"""

import itertools
import os
import pty
import re
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time
import zipfile

import ml_dtypes
import numpy as np
import pytest
from click.testing import CliRunner

from support import children
from warp_bitonic_sort.cli import main
from warp_bitonic_sort.operations import sort as sorting

COMMAND = [sys.executable, "-m", "warp_bitonic_sort", "sort"]
OLD = b"the old file"


def invoke(*arguments):
    return CliRunner().invoke(main, ["sort", *map(str, arguments)])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def header(file):
    with file.open("rb") as stream:
        version = np.lib.format.read_magic(stream)
        assert version == (1, 0)
        size = 10 + int.from_bytes(stream.read(2), "little")
    return file.read_bytes()[:size]


def check(source, target, expected):
    """Assert that a result has its source's header and the expected data, and nothing else."""
    order = "F" if b"'fortran_order': True" in header(source) else "C"
    assert target.read_bytes() == header(source) + expected.tobytes(order)
    assert not list(target.parent.glob(".*"))


def write_npy(file, descr, shape, data):
    """Write a file whose header NumPy might not write."""
    with file.open("wb") as stream:
        fields = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, fields)
        stream.write(data)


def values(shape, dtype="float32", seed=0):
    # Never zero or NaN, whose order np.sort leaves open.
    return (np.random.default_rng(seed).random(shape) * 200 - 100.5).astype(dtype)


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "in.npy"
    np.save(file, values((100, 50)))
    return file


@pytest.fixture
def target(tmp_path):
    (tmp_path / "results").mkdir()
    return tmp_path / "results" / "out.npy"


# -- what it computes -----------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("chunk", [64, 0.003])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((3000,), -1),
        *(((60, 70), axis) for axis in (0, 1)),
        *(((40, 37, 51), axis) for axis in (0, 1, -1)),
        ((2, 3, 40, 5), -2),
        ((1, 40), 1),
        ((40, 1, 7), 1),
    ],
)
def test_sort_along_any_axis_and_order_equals_numpy(tmp_path, target, shape, axis, order, chunk):
    source = tmp_path / "in.npy"
    array = np.asarray(values(shape), order=order)
    np.save(source, array)
    result = invoke(source, target, "--axis", axis, "--chunk-size", chunk)
    assert (result.exit_code, result.output) == (0, "")
    check(source, target, np.sort(array, axis=axis))


@pytest.mark.parametrize("shape", [(), (0,), (0, 5), (5, 0), (3, 0, 2), (1,), (1, 1)])
def test_sort_of_file_with_nothing_to_sort_copies_it(tmp_path, target, shape):
    source = tmp_path / "in.npy"
    np.save(source, values(shape))
    assert invoke(source, target).exit_code == 0
    check(source, target, np.load(source))


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("nan", ["largest", "last"])
def test_sort_descending_or_with_nan_last_equals_numpy(tmp_path, target, descending, nan):
    source = tmp_path / "in.npy"
    array = values((30, 45))
    array[array > 60] = np.nan
    np.save(source, array)
    flags = ["--nan", nan] + ["--descending"] * descending
    assert invoke(source, target, *flags).exit_code == 0
    expected = np.sort(array, axis=-1)
    if descending and nan == "largest":
        expected = expected[:, ::-1]
    elif descending:
        expected = -np.sort(-array, axis=-1)
    np.testing.assert_array_equal(np.load(target), expected)


@pytest.mark.parametrize("dtype", [">f8", "<i4", ">u2", "bool"])
def test_sort_keeps_the_dtype_of_the_header(tmp_path, target, dtype):
    source = tmp_path / "in.npy"
    array = np.random.default_rng(1).integers(0, 2, (20, 40)).astype(dtype)
    if dtype != "bool":
        array = np.random.default_rng(1).integers(1, 30000, (20, 40)).astype(dtype)
    np.save(source, array)
    assert invoke(source, target).exit_code == 0
    check(source, target, np.sort(array, axis=-1))
    assert np.load(target).dtype == array.dtype


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("bfloat16", "V2"),
        ("bfloat16", "<V2"),
        ("bfloat16", ">V2"),
        ("float16", ">V2"),
        ("float8_e4m3fn", "V1"),
        ("float8_e5m2", "f1"),
        ("float8_e5m2", "<f1"),
        ("float8_e5m2", ">f1"),
        ("uint64", "V8"),
    ],
)
def test_sort_dtype_of_untyped_file_is_used(tmp_path, target, name, stored):
    source = tmp_path / "in.npy"
    dtype = np.dtype(getattr(ml_dtypes, name, name))
    array = np.abs(values((30, 60))).astype(dtype)
    expected = np.sort(array.astype("f8"), axis=0).astype(dtype)
    foreign = dtype.newbyteorder(">") if stored.startswith(">") else dtype
    write_npy(source, stored, array.shape, array.astype(foreign).tobytes())
    assert invoke(source, target, "--dtype", name, "--axis", 0).exit_code == 0
    check(source, target, expected.astype(foreign))


@pytest.mark.parametrize("stored", ["<f4", ">f4"])
def test_sort_dtype_of_typed_file_given_again_is_accepted(tmp_path, target, stored):
    source = tmp_path / "in.npy"
    array = values((3, 40)).astype(stored)
    np.save(source, array)
    assert invoke(source, target, "--dtype", "float32").exit_code == 0
    check(source, target, np.sort(array).astype(stored))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("stored", "asked", "bits"),
    [
        ("f4", "int32", True),
        ("f4", "float64", False),
        ("f8", "bfloat16", False),
        ("u2", "bfloat16", True),
        ("u2", "int16", True),
        ("i8", "float64", True),
        ("b1", "uint8", True),
    ],
)
def test_sort_other_dtype_for_typed_file_is_refused_with_working_advice(
    tmp_path, target, stored, asked, bits, order
):
    source = tmp_path / 'it\'s a "file".npy'
    array = (np.arange(6) % 2 + 1).astype(order + stored)
    np.save(source, array)
    result = invoke(source, target, "--dtype", asked)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {source}: its elements are {array.dtype.name}; ")
    assert f"--dtype {asked} converts nothing" in result.output
    assert result.output.count("\n") == 1
    assert names(target.parent) == []
    dtype = np.dtype(getattr(ml_dtypes, asked, asked))
    advice = re.findall(r"python -c .*?\)'(?=[.,])", result.output)
    expected = [array.astype(dtype)]
    if bits:
        expected.append(array.astype(array.dtype.newbyteorder("=")).view(dtype))
    for command, wanted in zip(advice, expected, strict=True):
        words = shlex.split(command)
        assert words[0] == "python"
        subprocess.run([sys.executable, *words[1:]], cwd=tmp_path, check=True)
        assert np.load(tmp_path / "NEW.npy").tobytes() == wanted.tobytes()


@pytest.mark.parametrize("version", [(2, 0), (3, 0)])
def test_sort_of_newer_npy_version_keeps_its_header(tmp_path, target, version):
    source = tmp_path / "in.npy"
    with source.open("wb") as file:
        np.lib.format.write_array(file, values((5, 40)), version=version)
    start = source.read_bytes()[:-800]
    assert invoke(source, target).exit_code == 0
    assert target.read_bytes() == start + np.sort(values((5, 40))).tobytes()


def test_sort_of_file_that_goes_on_after_its_array_is_refused(source):
    with source.open("ab") as file:
        np.save(file, np.zeros(3))
    before = source.read_bytes()
    result = invoke(source, source)
    assert result.exit_code == 1
    assert "only a file of one array is sorted" in result.output
    assert source.read_bytes() == before


# -- chunks ---------------------------------------------------------------------------------------


def test_sort_in_chunks_holds_one_chunk_at_a_time(tmp_path, target, monkeypatch):
    source = tmp_path / "in.npy"
    np.save(source, values((64, 64, 64)))  # 1 MiB
    sizes = []
    real = sorting.sort

    def spy(x, **options):
        sizes.append(x.nbytes)
        return real(x, **options)

    monkeypatch.setattr(sorting, "sort", spy)
    assert invoke(source, target, "--chunk-size", 0.125, "--axis", 1).exit_code == 0
    assert sum(sizes) == 2**20
    assert max(sizes) == 2**17


def peak(*arguments):
    """Return the most memory, in bytes, that a run of the command had resident."""
    # Not ru_maxrss, which begins with the peak of the process that forked.
    code = (
        "import re; from warp_bitonic_sort.cli import main;"
        f"main(['sort', *{[str(a) for a in arguments]!r}], standalone_mode=False);"
        "print(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1])"
    )
    return int(children.run(code).stdout) * 1024


@pytest.mark.stress
def test_sort_in_chunks_needs_memory_for_one_chunk(tmp_path, target):
    small, large = tmp_path / "small.npy", tmp_path / "large.npy"
    np.save(small, values((64, 64)))
    array = np.tile(values((1024, 64)), (512, 1))  # 128 MiB
    np.save(large, array)
    extra = peak(large, target, "--chunk-size", 4) - peak(small, tmp_path / "other.npy")
    assert extra < 40 * 2**20
    np.testing.assert_array_equal(np.load(target), np.sort(array))


# -- all or nothing -------------------------------------------------------------------------------


def test_sort_of_file_onto_itself_equals_numpy(source):
    array = np.load(source)
    assert invoke(source, source, "--chunk-size", 0.001).exit_code == 0
    check(source, source, np.sort(array))


def test_sort_into_link_replaces_its_target_and_keeps_the_mode(source, target, tmp_path):
    target.write_bytes(OLD)
    target.chmod(0o640)
    link = tmp_path / "link.npy"
    link.symlink_to(target)
    assert invoke(source, link).exit_code == 0
    assert link.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o640
    check(source, target, np.sort(np.load(source)))


def test_sort_into_new_file_gives_it_the_mode_of_the_umask(source, target):
    before = os.umask(0o027)
    try:
        assert invoke(source, target).exit_code == 0
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("error", [RuntimeError("boom"), MemoryError(), OSError(28, "disk full")])
def test_sort_with_error_in_the_middle_changes_nothing(source, target, monkeypatch, error):
    target.write_bytes(OLD)
    real, calls = sorting.sort, itertools.count(1)

    def failing(x, **options):
        if next(calls) == 3:
            raise error
        return real(x, **options)

    monkeypatch.setattr(sorting, "sort", failing)
    result = invoke(source, target, "--chunk-size", 0.001)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert str(source) in result.output
    assert next(calls) == 4
    assert target.read_bytes() == OLD
    assert names(target.parent) == ["out.npy"]


@pytest.mark.usefixtures("fresh_cache")
def test_sort_without_compiler_prints_one_error(source, target):
    done = subprocess.run(
        [*COMMAND, source, target],
        capture_output=True,
        text=True,
        env={**os.environ, "CXX": "/nonexistent"},
    )
    assert done.returncode == 1
    assert re.match(r"Error: runtime and cpu_all_none_\w+ are in no cache, and cannot", done.stderr)
    assert "CXX: '/nonexistent' is not a program" in done.stderr
    assert done.stderr.count("\n") == 1
    assert names(target.parent) == []


def test_sort_without_room_on_the_disk_keeps_the_old_file(source, target):
    target.write_bytes(OLD)
    done = subprocess.run(
        [*COMMAND, source, target],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert done.returncode == 1
    assert done.stderr == f"Error: {target}: cannot be written: File too large\n"
    assert target.read_bytes() == OLD
    assert names(target.parent) == ["out.npy"]


def test_sort_without_room_for_the_result_fails_before_sorting(source, target, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    calls = []
    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(sorting, "sort", lambda *_, **__: calls.append(1))
    result = invoke(source, target)
    assert result.exit_code == 1
    assert result.output == f"Error: {target}: cannot be written: No space left on device\n"
    assert calls == []
    assert names(target.parent) == []


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("columns", [50, 2000])
@pytest.mark.stress
def test_sort_of_file_cut_short_meanwhile_is_one_line(tmp_path, target, axis, columns):
    # In a process of its own, which SIGBUS would end.
    source = tmp_path / "in.npy"
    np.save(source, values((100, columns)))
    target.write_bytes(OLD)
    code = (
        "import os; from warp_bitonic_sort.cli import main\n"
        "from warp_bitonic_sort.operations import sort as sorting\n"
        "real = sorting.sort\n"
        "def sort(x, **options):\n"
        f"    os.truncate({str(source)!r}, 200)\n"
        "    return real(x, **options)\n"
        "sorting.sort = sort\n"
        f"main(['sort', {str(source)!r}, {str(target)!r}, '--axis={axis}', '--chunk-size=0.001'])"
    )
    done = children.run(code)
    assert done.returncode == 1
    assert done.stderr == f"Error: {source}: the file was cut short while it was read.\n"
    assert target.read_bytes() == OLD
    assert names(target.parent) == ["out.npy"]


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def slow(tmp_path):
    """A file that takes a minute in chunks of a row."""
    file = tmp_path / "slow.npy"
    np.save(file, values((400_000, 40)))
    return file


def as_in_a_foreground_shell():
    """A suite under nohup or in the background hands its children signals that are ignored."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.stress
def test_sort_stopped_by_a_signal_keeps_the_old_file(slow, target, number, twice):
    target.write_bytes(OLD)
    process = subprocess.Popen(
        [*COMMAND, slow, target, "--chunk-size", "0.0001"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=as_in_a_foreground_shell,
    )
    wait_for(lambda: len(names(target.parent)) == 2)
    if not twice:  # in the middle of a chunk, where twice hits the start, perhaps the compiler
        (temporary,) = target.parent.glob(".*")
        sorted_row = np.sort(np.load(slow, mmap_mode="r")[0]).tobytes()
        wait_for(lambda: temporary.read_bytes()[128 : 128 + 160] == sorted_row)
    process.send_signal(number)
    if twice:
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == -number
    assert said == f"Stopped by {number.name}.\n"
    assert target.read_bytes() == OLD
    assert names(target.parent) == ["out.npy"]


def test_second_signal_does_not_interrupt_the_clean_up():
    code = (
        "import signal; from warp_bitonic_sort.cli._signals import stopped_cleanly\n"
        "with stopped_cleanly():\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "    finally:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "        print('cleaned', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "cleaned\n")


@pytest.mark.stress
def test_sort_under_nohup_ignores_sighup(source, target):
    code = (
        "import signal; from warp_bitonic_sort.cli import main\n"
        "from warp_bitonic_sort.operations import sort as sorting\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); real = sorting.sort\n"
        "def sort(x, **options):\n"
        "    signal.raise_signal(signal.SIGHUP)\n"
        "    return real(x, **options)\n"
        f"sorting.sort = sort; main(['sort', {str(source)!r}, {str(target)!r}])"
    )
    assert children.run(code).returncode == 0
    check(source, target, np.sort(np.load(source)))


def test_sort_restores_the_signal_handlers(source, target):
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    assert invoke(source, target).exit_code == 0
    assert [signal.getsignal(number) for number in numbers] == before


# -- what a person sees ---------------------------------------------------------------------------


def test_sort_on_a_terminal_shows_progress(source, target):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, source, target, "--chunk-size", "0.004"], stderr=theirs, stdout=subprocess.PIPE
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # Linux's end of file
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.communicate() == (b"", None)
    assert process.returncode == 0
    assert b"sorting" in shown
    assert b"100%" in shown
    assert shown.rstrip().endswith(b"\x1b[?25h")  # the cursor is back


def test_sort_without_a_terminal_prints_nothing(source, target):
    done = subprocess.run([*COMMAND, source, target], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def _save(array):
    return lambda file: np.save(file, array, allow_pickle=True)


def _archive(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", b"")


def _cut_short(file):
    np.save(file, values((100, 50)))
    os.truncate(file, 10_000)


def _magic_only(file):
    file.write_bytes(b"\x93NUMPY\x01\x00")


def _version_nine(file):
    file.write_bytes(b"\x93NUMPY\x09\x00v\x00{}")


REFUSED = [
    (lambda file: file.write_text("a,b\n1,2\n"), [], "not a .npy file."),
    (lambda file: file.write_bytes(b""), [], "not a .npy file."),
    (_archive, [], "a zip archive, as .npz files are"),
    (_magic_only, [], "it ends within its header"),
    (_version_nine, [], "version 9.0 is unknown"),
    (_cut_short, [], "header promises 20128 bytes, it has 10000"),
    (os.mkfifo, [], "expected a regular file"),
    (lambda file: file.symlink_to("/dev/zero"), [], "expected a regular file"),
    (lambda file: socket.socket(socket.AF_UNIX).bind(str(file)), [], "expected a regular file"),
    (_save(np.array([{}, None])), [], "Python objects"),
    (_save(np.array([{}, None])), ["--dtype", "int64"], "Python objects"),
    (
        _save(np.array(["a", "b"])),
        [],
        "dtype str cannot be sorted; convert it to one of bool, int8",
    ),
    (_save(np.zeros(3, "c8")), [], "dtype complex64 cannot be sorted"),
    (_save(np.zeros(3, "i4,f4")), [], "cannot be sorted: expected one of bool, "),
    (_save(np.zeros(3, "V3")), [], "dtype |V3 cannot be sorted"),
    (_save(np.zeros(3, "V2")), [], "Say it with --dtype: uint16, int16, float16, bfloat16"),
    (_save(np.zeros(3, "V2")), ["--dtype", "float32"], "float32 is 4 bytes wide"),
]


@pytest.mark.parametrize(("make", "flags", "said"), REFUSED)
def test_sort_of_unsupported_file_prints_one_error(tmp_path, target, make, flags, said):
    source = tmp_path / "in.npy"
    make(source)
    target.write_bytes(OLD)
    result = invoke(source, target, *flags)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {source}: ")
    assert said in result.output
    assert result.output.count("\n") == 1
    assert target.read_bytes() == OLD
    assert names(target.parent) == ["out.npy"]


@pytest.mark.parametrize(
    ("array", "axis", "told"),
    [
        (np.zeros(3, "f4"), "1", "expected -1 to 0 for the array of shape (3,) in {}, got 1."),
        (np.zeros((2, 3), "f4"), "-3", "expected -2 to 1 for the array of shape (2, 3) in {}"),
        (np.float32(1), "1", "expected -1 to 0 for the array of shape () in {}, got 1."),
    ],
)
def test_axis_that_the_file_does_not_have_makes_the_command_line_wrong(
    tmp_path, target, array, axis, told
):
    np.save(tmp_path / "in.npy", array)
    target.write_bytes(OLD)
    result = invoke(tmp_path / "in.npy", target, "--axis", axis)
    assert result.exit_code == 2
    told = f"Invalid value for '--axis': {told.format(tmp_path / 'in.npy')}"
    assert told in " ".join(result.output.split())
    assert target.read_bytes() == OLD


def test_sort_into_what_is_no_regular_file_is_refused(source, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    looped = tmp_path / "loop"
    looped.symlink_to(looped)
    for target, said in (
        (pipe, "regular file"),
        (looped, ""),
    ):
        before = names(tmp_path)
        result = invoke(source, target)
        assert result.exit_code == 1
        assert result.output.startswith(f"Error: {target}: ")
        assert said in result.output
        assert names(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no/out.npy", "there is no folder {}/no; make it first."),
        ("in.npy/out.npy", "{}/in.npy is not a folder."),
        ("n" * 300, "File name too long."),
    ],
)
def test_output_in_no_folder_makes_the_command_line_wrong(source, tmp_path, name, told):
    result = invoke(source, tmp_path / name)
    assert result.exit_code == 2
    assert f"{tmp_path / name}: {told.format(tmp_path)}" in " ".join(result.output.split())
    assert names(tmp_path) == ["in.npy"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["/nowhere.npy", "out.npy"],
        ["IN", "."],
        *(["IN", "out.npy", "--chunk-size", size] for size in ("0", "-1", "inf", "nan", "much")),
        ["IN", "out.npy", "--dtype", "float33"],
        ["IN"],
        ["IN", "-"],
        ["-", "out.npy"],
    ],
)
def test_sort_with_wrong_command_line_prints_the_usage(source, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    result = invoke(*[source if a == "IN" else a for a in arguments])
    assert result.exit_code == 2
    assert result.output.startswith("Usage: ")
    assert names(tmp_path) == ["in.npy"]


def test_sort_dash_is_refused_and_its_file_is_reached_by_a_path(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array = np.load(source)
    source.rename(tmp_path / "-")
    for arguments in (["-", "out.npy"], ["./-", "-"]):
        result = invoke("--", *arguments)
        assert result.exit_code == 2
        assert "./- is the file of that name" in result.output
        assert names(tmp_path) == ["-"]
    assert invoke("--", "./-", "./-").exit_code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "-"), np.sort(array))


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.parametrize("into_file", [False, True])
def test_sort_onto_standard_output_is_refused(source, tmp_path, name, into_file):
    with (tmp_path / "redirected").open("w+b") as stream:
        output = stream if into_file else subprocess.PIPE
        done = subprocess.run([*COMMAND, source, name], stdout=output, stderr=subprocess.PIPE)
    assert done.returncode == 1
    expected = f"Error: {name}: expected a file to replace, got a stream or an open file.\n"
    assert done.stderr.decode() == expected
    assert (tmp_path / "redirected").read_bytes() == b""
    assert names(tmp_path) == ["in.npy", "redirected"]


def test_sort_of_standard_input_from_pipe_is_refused(target):
    done = subprocess.run([*COMMAND, "/dev/stdin", target], input=b"x", capture_output=True)
    assert done.returncode == 1
    assert b"expected a regular file; save what a stream brings to a file first" in done.stderr
