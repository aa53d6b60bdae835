"""The command ``bench``: its table and files, wrong answers, noise, and libraries that are missing.

No test asserts a time. Clocks and loads are those of the tests where the output depends on them.
"""

import html.parser
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from support.npy_files import invoke
from warp_bitonic_sort import get_num_threads, set_num_threads
from warp_bitonic_sort.cli import (
    _bench_devices,
    _bench_machine,
    _bench_peers,
    _bench_run,
    _bench_timing,
)
from warp_bitonic_sort.cli._bench_peers import Case, Way
from warp_bitonic_sort.cli._bench_report import WARNING
from warp_bitonic_sort.operations import OPERATIONS

FEW = ["--device", "cpu", "--rows", 16, "--seconds", 0.01]
NOISY = 3


@pytest.fixture(autouse=True)
def threads():
    """The number of threads of the process, which the command sets."""
    before = get_num_threads()
    yield
    set_num_threads(before)


@pytest.fixture
def ticking(monkeypatch):
    """An idle machine by whose clock our calls take 2 s, those of NumPy 1 s, of PyTorch 6 s."""
    seconds = {}

    def timer(call, count):
        call()
        return [seconds.get(call, 1.0)] * count

    monkeypatch.setattr(_bench_machine, "load", lambda: 0.0)
    monkeypatch.setattr(_bench_timing, "time_on_host", timer)
    find, ours = _bench_peers.of_torch, _bench_peers.ours

    def of_torch(*arguments):
        ways = find(*arguments)
        seconds.update({way.call: 6.0 for way in ways})
        return ways

    def of_ours(*arguments):
        call = ours(*arguments)
        seconds[call] = 2.0
        return call

    monkeypatch.setattr(_bench_peers, "of_torch", of_torch)
    monkeypatch.setattr(_bench_peers, "ours", of_ours)


def bench(*arguments):
    result = invoke("bench", *FEW, *arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_there_is_a_question_for_every_operation():
    assert set(_bench_peers._OURS) == set(OPERATIONS)


@pytest.mark.usefixtures("ticking")
def test_every_operation_is_compared_and_in_the_json(tmp_path):
    file = tmp_path / "bench.json"
    result = bench("--operation", "all", "--length", "9,32", "-k", 3, "--json", file)
    assert result.exit_code == 0, result.output
    report = json.loads(file.read_text())
    assert {"date", "command", "cpu", "cores", "threads", "load", "arch", "versions"} <= set(
        report["machine"]
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", report["machine"]["date"])
    assert report["machine"]["versions"]["numpy"] == np.__version__
    assert (report["quotable"], report["noise"]) == (True, [])
    rows = report["rows"]
    assert [(row["operation"], row["length"]) for row in rows] == [
        (name, length) for name in OPERATIONS for length in (9, 32)
    ]
    for row in rows:
        assert (row["dtype"], row["rows"], row["left_out"]) == ("float32", 16, {})
        assert set(row["fastest"]) == {"NumPy", "PyTorch"}
        assert set(row["fastest"].values()) < set(row["seconds"])
        assert set(row["calls"]) == set(row["seconds"])
    assert {row["k"] for row in rows if row["operation"] in ("top_k", "kthvalue")} == {3}
    # The median of an even number of elements is another one for torch.median.
    called = {row["length"]: row["seconds"] for row in rows if row["operation"] == "median"}
    assert "torch.median" in called[9]
    assert "torch.median" not in called[32]


@pytest.mark.usefixtures("ticking")
def test_table_has_ratios_and_marks_losses():
    result = bench("--operation", "sort", "--length", 9)
    assert result.exit_code == 0, result.output
    (line,) = (line for line in result.output.splitlines() if "16 x 9" in line)
    assert re.split(r"\s{2,}", line)[-4:] == ["2000000.0", "0.50", "3.00", "loses to NumPy"]
    assert "0.5 times as fast in the median of 1 cases, and loses 1 of them." in result.output
    assert WARNING not in result.output


class _Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.links = [], [], []
        self._open = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self._open = tag == "td"
        self.links += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data):
        if self._open:
            self.cells.append(data)
            self._open = False


@pytest.mark.usefixtures("ticking")
@pytest.mark.parametrize("noisy", [False, True])
def test_page_and_plot_are_whole_and_warn_of_noise(tmp_path, monkeypatch, noisy):
    if noisy:
        monkeypatch.setattr(_bench_machine, "load", lambda: 1000.0)
    page, plot = tmp_path / "bench.html", tmp_path / "bench.svg"
    result = bench(
        "--operation", "sort,argsort", "--length", "9,16", "--html", page, "--plot", plot
    )
    assert result.exit_code == (NOISY if noisy else 0), result.output
    text = page.read_text()
    parsed = _Page(text)
    assert {"table", "svg"} <= set(parsed.tags)
    assert parsed.cells.count("0.50") == 4
    assert parsed.cells.count("loses to NumPy") == 4
    # No request: links lead to other parts of the page, and nothing is loaded.
    assert all(link.startswith("#") for link in parsed.links)
    assert not {"script", "link", "img", "iframe", "object"} & set(parsed.tags)
    assert "@import" not in text
    assert "url(http" not in text
    drawing = plot.read_text()
    assert drawing.rstrip().endswith("</svg>")
    assert (WARNING in text) is (WARNING in drawing) is noisy
    assert sorted(tmp_path.iterdir()) == [page, plot]


@pytest.mark.usefixtures("ticking")
@pytest.mark.parametrize("cause", ["load", "spread", "reference"])
def test_noisy_machine_warns_first_and_last_and_quotes_nothing(tmp_path, monkeypatch, cause):
    def timer(call, count):
        call()
        clock[0] += 1
        if cause == "spread":
            return [1.0, 2.0, 9.0, 20.0][:count] * count
        return [1.0 + clock[0] * (cause == "reference")] * count

    clock = [0]
    monkeypatch.setattr(_bench_timing, "time_on_host", timer)
    if cause == "load":
        monkeypatch.setattr(_bench_machine, "load", lambda: 1000.0)
    file = tmp_path / "bench.json"
    result = bench("--operation", "sort", "--length", 9, "--json", file)
    assert result.exit_code == NOISY
    lines = result.stdout.splitlines()
    assert lines[0] == lines[-1] == f"{WARNING}."
    reason = {
        "load": "its load average was 1000.0 before the run",
        "spread": "repeated calls took different times",
        "reference": "slower after the run than before",
    }[cause]
    assert reason in lines[1]
    assert "in the median of" not in result.output
    report = json.loads(file.read_text())
    assert report["quotable"] is False
    assert reason in report["noise"][0]


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        ("sort", lambda x: [x]),
        ("argsort", lambda x: [np.zeros(x.shape, np.int64)]),
        ("argsort", lambda x: [np.argsort(-x, axis=-1)]),
        ("median", lambda x: [np.median(x, axis=-1) + 1]),
        ("sort", lambda x: [np.sort(x, axis=-1)[:, 1:]]),
    ],
)
def test_wrong_answer_of_a_library_is_an_error(monkeypatch, tmp_path, operation, wrong):
    def ways(*arguments):
        _, library, _, _, x, _ = arguments
        return [Way(library, "np.wrong", lambda: wrong(x), stable=False)]

    monkeypatch.setattr(_bench_peers, "of_arrays", ways)
    file = tmp_path / "bench.json"
    result = bench("--operation", operation, "--length", 9, "--json", file)
    assert result.exit_code == 1
    assert f"this package and np.wrong disagree on {operation} of 16 x 9 float32" in result.output
    assert not file.exists()


@pytest.mark.usefixtures("ticking")
def test_way_that_refuses_the_dtype_is_left_out_with_the_reason():
    result = bench("--operation", "quantile", "--dtype", "int32", "--length", 9)
    assert result.exit_code == 0
    assert re.search(r"torch.quantile is left out for int32, rows of 9: .*dtype", result.output)
    assert "np.quantile" in result.output


@pytest.mark.usefixtures("ticking")
def test_no_other_library_is_no_error(monkeypatch):
    monkeypatch.setattr(_bench_devices, "installed", lambda _: None)
    result = bench("--operation", "sort", "--length", 9, "--threads", 2)
    assert result.exit_code == 0, result.output
    assert "PyTorch is left out: it is not installed" in result.output
    assert "NumPy is left out: it has no 2 threads" in result.output
    assert "No other library was timed." in result.output


@pytest.mark.parametrize("dtype", ["int16", "bfloat16"])
def test_libraries_agree_on_each_dtype(dtype):
    device = _bench_devices.cpu(1)
    for operation in OPERATIONS:
        row = _bench_run._row(Case(operation, dtype, 40, 9, 3, 0.3), device, 1e-3)
        assert "NumPy" in row["fastest"], row["left_out"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--operation", "sorted"], "'--operation': 'sorted' is not one of sort, argsort,"),
        (["--dtype", "float8_e5m2"], "'--dtype': 'float8_e5m2' is not one of uint8,"),
        (["--length", "1"], "'--length': '1' is neither a length of at least 2 nor a range"),
        (["--rows", "0"], "'--rows': 0 is not in the range x>=1."),
        (["--seconds", "0"], "'--seconds': 0.0 is not in the range x>0."),
        (["--length", "4,9", "-k", "5"], "'-k': expected at most the shortest --length, 4; got 5."),
        (["-q", "2"], "'-q': 2.0 is not in the range 0<=x<=1."),
        (["--threads", "0"], "'--threads': 0 is not in the range"),
        (["--device", "tpu"], "'--device': 'tpu' is not one of 'auto', 'cpu', 'gpu'."),
        (["--plot", "bench.txt"], "'--plot': bench.txt: the ending gives the picture's format;"),
        (["--json", "no/bench.json"], "'--json': no/bench.json: there is no folder"),
    ],
)
def test_bad_argument_is_named(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke("bench", *FEW, *arguments)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())


def test_gpu_that_no_library_sees_is_refused(monkeypatch):
    monkeypatch.setattr(_bench_devices, "gpu", lambda: None)
    result = invoke("bench", "--device", "gpu")
    assert result.exit_code == 2
    assert "'--device': expected cpu, got gpu: neither PyTorch nor CuPy" in result.output


def test_gpu_of_pytorch_gets_tensors_and_its_own_clock(monkeypatch, tmp_path):
    def timer(call, count):
        results.append(call())
        return [1.0] * count

    torch = pytest.importorskip("torch")
    results = []
    # The CPU stands for a GPU.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    monkeypatch.setattr(_bench_timing, "time_by_torch", timer)
    monkeypatch.setattr(_bench_machine, "load", lambda: 0.0)
    file = tmp_path / "bench.json"
    arguments = ["--operation", "all", "--length", 9, "--rows", 16, "--dtype", "float32,bfloat16"]
    result = invoke("bench", "--device", "gpu", "--seconds", 0.01, *arguments, "--json", file)
    assert result.exit_code == 0, result.output
    answers = [each for each in results if isinstance(each, (list, tuple))]
    assert all(isinstance(each, torch.Tensor) for answer in answers for each in answer)
    assert len(answers) > len(OPERATIONS)
    report = json.loads(file.read_text())
    assert (report["device"], report["machine"]["gpu"]) == ("gpu", "A GPU")
    assert "machine: A GPU; host: " in result.output
    assert len(report["rows"]) == 2 * len(OPERATIONS)
    for row in report["rows"]:
        if (row["dtype"], row["operation"]) != ("bfloat16", "quantile"):  # PyTorch has none
            assert "PyTorch" in row["fastest"], row


@pytest.mark.parametrize("option", ["--plot", "--html"])
def test_picture_without_matplotlib_says_what_installs_it(monkeypatch, tmp_path, option):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = bench(option, tmp_path / "bench.svg")
    assert result.exit_code == 1
    assert "needs matplotlib" in result.output
    assert "pip install numpy matplotlib" in result.output
    assert not list(tmp_path.iterdir())


def test_program_times_pytorch_which_other_commands_hide(tmp_path):
    file = tmp_path / "bench.json"
    arguments = ["bench", *FEW, "--operation", "sort", "--length", 9, "--json", file]
    done = subprocess.run(
        [sys.executable, "-m", "warp_bitonic_sort", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, NOISY), done.stderr
    report = json.loads(file.read_text())
    assert "PyTorch" in report["rows"][0]["fastest"]
    assert report["machine"]["command"].startswith("warp-bitonic-sort bench --device cpu")
