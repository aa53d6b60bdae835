"""The options of the command ``prewarm``: which kernels they name, and which are refused."""

import functools
import re
import sys
import types

import pytest
from click.testing import CliRunner

from support import children, cpu_targets
from warp_bitonic_sort import prewarm
from warp_bitonic_sort.cli import main
from warp_bitonic_sort.operations import OPERATIONS
from warp_bitonic_sort.targets import HOST, TARGETS, target_of
from warp_bitonic_sort.targets.cpu.arch import CPU_ARCHS

_CPU = HOST.arch_for()


def invoke(*arguments):
    return CliRunner().invoke(main, ["prewarm", *map(str, arguments)])


def test_prewarm_off_a_terminal_prints_lines_of_progress(half_cache, monkeypatch):
    clock = types.SimpleNamespace(monotonic=iter([0, 4, 11, 19, 22, 31]).__next__)
    module = sys.modules["warp_bitonic_sort.cli.prewarm"]  # the name is the command's
    monkeypatch.setattr(module, "time", clock)

    def build(_wanted, _into, _jobs, done):
        for count in (1, 32, 8, 3, 0):
            done(count)
        return []

    monkeypatch.setattr(prewarm, "build", build)
    result = invoke("--length", "2-24")
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    total = int(re.fullmatch("Compiling what is missing of (.*) artifacts", lines[0])[1])
    assert total == 1 + 2 * 23 + 1
    assert lines[1:] == [f"  33 of {total}", f"  44 of {total}"]
    assert half_cache


def test_prewarm_of_rows_that_no_kernel_sorts_is_refused(fresh_cache):
    done = children.program("prewarm", "--length", 20000)
    assert done.returncode == 2
    assert "Left out: sort of rows of 20000. No kernel for cpu takes them" in done.stderr
    assert "nothing is left to compile: the lines above say why." in done.stderr
    assert not fresh_cache.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--length", "2-16384"], []),
        (
            ["--length", "2-20000"],
            ["sort of rows of 16385-20000. No kernel for cpu takes them; NumPy does"],
        ),
        (
            ["--length", "16386,3,16384-16385,30000", "--dtype", "int8,float64"],
            ["sort of rows of 16385-16386,30000. No kernel for cpu takes them; NumPy does"],
        ),
        (
            ["--length", "32,20000", "--operation", "argsort,sort"],
            ["argsort, sort of rows of 20000. No kernel for cpu takes them; NumPy does"],
        ),
        (
            ["--backend", "cpu,cuda,hip", "--arch", "sm_90,gfx942", "--length", "3,9000,20000",
             "--dtype", "float32,float64"],
            [
                "sort of rows of 20000. No kernel for cpu takes them; NumPy does",
                "sort of rows of 20000. No kernel for cuda takes them; the array's own library "
                "does",
                "sort of rows of 20000 of float32. No kernel for hip takes them; the array's own "
                "library does",
                "sort of rows of 9000,20000 of float64. No kernel for hip takes them; the array's "
                "own library does",
            ],
        ),
    ],
)  # fmt: skip
def test_prewarm_names_lengths_that_no_kernel_sorts(options, said, fresh_cache, monkeypatch):
    asked = []
    monkeypatch.setattr(prewarm, "build", lambda wanted, *_: asked.extend(wanted) or [])
    result = invoke(*options)
    assert result.exit_code == 0, result.output
    assert asked != []
    told = [line for line in result.stderr.splitlines() if line.startswith("Left out")]
    assert told == [f"Left out: {each}." for each in said]
    assert not fresh_cache.exists()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_prewarm_of_an_operation_builds_its_kernels(operation, fresh_cache, monkeypatch):
    asked = []
    monkeypatch.setattr(prewarm, "build", lambda wanted, *_: asked.extend(wanted) or [])
    result = invoke("--length", "3", "--operation", operation)
    assert result.exit_code == 0, result.output
    record = OPERATIONS[operation]
    selection = "first" if record.finds_first else record.selection
    assert {(kernel.selection, kernel.payload) for kernel in asked} == {(selection, record.payload)}
    assert asked == prewarm.kernels("cpu", _CPU, ["float32"], [3], [operation])
    assert not fresh_cache.exists()


def test_prewarm_of_all_operations_builds_each_kernel_once(fresh_cache, monkeypatch):
    asked = []
    monkeypatch.setattr(prewarm, "build", lambda wanted, *_: asked.extend(wanted) or [])
    result = invoke("--length", "3", "--operation", "all,sort")
    assert result.exit_code == 0, result.output
    assert asked == prewarm.kernels("cpu", _CPU, ["float32"], [3], OPERATIONS)
    assert len(asked) == len(set(asked))
    assert not fresh_cache.exists()


def test_operation_without_kernels_for_a_back_end_is_left_out(fresh_cache, monkeypatch):
    longest, asked = prewarm.longest, []

    def longest_but_for_cuda(backend, arch, dtype, operation):
        is_missing = (backend, operation) == ("cuda", "argsort")
        return 0 if is_missing else longest(backend, arch, dtype, operation)

    monkeypatch.setattr(prewarm, "longest", longest_but_for_cuda)
    monkeypatch.setattr(prewarm, "build", lambda wanted, *_: asked.extend(wanted) or [])
    options = ["--length", "3,20000", "--dtype", "float32,int8", "--arch", "sm_90"]
    result = invoke(*options, "--backend", "cpu,cuda", "--operation", "sort,argsort")
    assert result.exit_code == 0, result.output
    told = "Left out: argsort. No kernel for cuda does it yet."
    assert told in result.stderr.splitlines()
    assert {(kernel.target, kernel.payload) for kernel in asked} == {
        ("cpu", "none"), ("cpu", "index"), ("cuda", "none"),
    }  # fmt: skip
    result = invoke(*options, "--backend", "cuda", "--operation", "argsort")
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith(f"{told}\n")
    assert "nothing is left to compile: the lines above say why." in result.stderr
    assert not fresh_cache.exists()


def test_prewarm_of_a_dtype_that_an_operation_does_not_take_says_so(fresh_cache):
    result = invoke(
        "--arch", "sm_90", "--backend", "cuda", "--operation", "median", "--length", "25",
        "--dtype", "float8_e5m2",
    )  # fmt: skip
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Left out: median of float8_e5m2. It takes no such dtype.\n")
    assert not fresh_cache.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--length"),
        (["--length", ""], "2-32,64"),
        (["--length", "1"], "'1' is neither a length of at least 2 nor a range"),
        (["--length", "9-3"], "'9-3'"),
        (["--length", "0-3"], "'0-3'"),
        (["--length", "3-"], "'3-'"),
        (["--length", "three"], "'three'"),
        (["--length", "12345678"], "'12345678'"),
        (["--length", "3", "--backend", "vulkan"], "'vulkan' is not one of cpu, cuda, hip"),
        (["--length", "3", "--backend", ","], "expected a list of cpu, cuda, hip"),
        (["--length", "3", "--dtype", "float33"], "'float33' is not one of"),
        (["--length", "3", "--dtype", ""], "expected a list of"),
        (["--length", "3", "--operation", "mean"], "median, quantile, all."),
        (["--length", "3", "--operation", ""], "expected a list of sort, argsort"),
        (["--length", "3", "--arch", "z80"], "'z80' is neither an architecture of a CPU"),
        (["--length", "3", "--arch", "gfx803"], "'gfx803'"),
        (["--length", "3", "--arch", "sm_90a"], "'sm_90a' names features"),
        (["--length", "3", "--arch", "sm_90a"], "use sm_90."),
        (["--length", "3", "--arch", "sm_120f"], "use sm_120."),
        (["--length", "3", "--arch", "gfx942:xnack-"], "use gfx942."),
        (["--length", "3", "--arch", "sm_90b"], "'sm_90b' is neither an architecture of a CPU"),
        (["--length", "3", "--arch", "sm_90"], "--backend does not list cuda"),
        (
            ["--length", "3", "--backend", "cuda"],
            "--backend cuda needs an architecture in --arch, such as sm_90",
        ),
        (["--length", "3", "--backend", "hip", "--arch", "sm_90"], "does not list cuda"),
        (["--length", "3", "--jobs", "0"], "0"),
        (["--length", "3", "--into", __file__], "is a file"),
        (["--length", "3", "--into", ""], "'--into': expected a path, got an empty one"),
        (["--length", "3", "--manifest", "/"], "/"),
        (["--length", "3", "--manifest", ""], "'--manifest': expected a path, got an empty one"),
        (["--length", "3", "more"], "more"),
    ],
)
def test_prewarm_with_wrong_command_line_says_what_is_wrong(
    arguments, said, fresh_cache, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.output.split())
    assert not fresh_cache.exists()
    assert list(tmp_path.iterdir()) == []


def test_prewarm_for_another_machine_without_a_folder_is_refused(fresh_cache):
    result = invoke("--length", 3, "--arch", f"{_CPU},{cpu_targets.FOREIGN}")
    assert result.exit_code == 2, "as the command line is wrong"
    assert f"'--arch': kernels for {cpu_targets.FOREIGN} do not load" in result.output
    assert "--into" in result.output
    assert not fresh_cache.exists()


def test_prewarm_help_has_examples_and_exit_status():
    result = invoke("--help")
    assert result.exit_code == 0
    for part in ("Examples", "Exit status", "warp-bitonic-sort prewarm", "WARP_SORT_CACHE_LAYERS"):
        assert part in result.output
    assert max(map(len, result.output.splitlines())) <= 80


def test_prewarm_help_lists_the_architectures():
    text = invoke("--help").output
    for arch in (*CPU_ARCHS, "sm_90", "gfx942", "gfx9-4-generic", "native"):
        assert arch in text
    assert max(map(len, text.splitlines())) <= 80


def test_prewarm_that_is_stopped_says_what_is_kept(monkeypatch):
    def stopped(_wanted, _into, _jobs, done):
        done(3)
        raise KeyboardInterrupt

    monkeypatch.setattr(prewarm, "build", stopped)
    result = invoke("--length", "3-4")
    assert result.exit_code == 1
    assert "Stopped: 3 of 6 artifacts are finished. What was compiled is kept" in result.output


def test_prewarm_publishes_a_few_kernels_for_each_job_at_a_time(monkeypatch):
    chunks, advanced = [], []

    def build(runtime, chunk, *_):
        chunks.append(len(chunk))
        return [
            prewarm.BuildResult(each.name, each.target, each.arch) for each in chunk or [runtime]
        ]

    monkeypatch.setattr(prewarm, "_chunk", build)
    wanted = prewarm.kernels("cpu", _CPU, ["float32"], range(2, 12))
    prewarm.build(wanted, jobs=2, done=advanced.append)
    assert (chunks[0], advanced[0]) == (0, 1), "the runtime comes first"
    assert max(chunks) == 8
    assert sum(advanced) == len(wanted) + 1


def test_prewarm_for_native_builds_for_the_machines_devices(half_cache, monkeypatch):
    """For each listed back end, and together with named architectures."""
    cpu = HOST.native_archs()[0]
    devices = {"cuda": ["sm_80", "sm_90"], "hip": ["gfx942"], "cpu": [cpu]}
    of_cpu = {kernel.arch for kernel in prewarm.kernels("cpu", cpu, ["float32"], [3])}
    asked = []
    for name in TARGETS:
        archs_of = functools.partial(devices.__getitem__, name)
        monkeypatch.setattr(target_of(name), "native_archs", archs_of)
    monkeypatch.setattr(prewarm, "build", lambda wanted, *_: asked.extend(wanted) or [])
    for backends, archs, wanted in (
        ("cpu", "native", of_cpu),
        ("cuda,cpu", "native", ["sm_80", "sm_90", *of_cpu]),
        ("cuda,hip", "native,sm_90,sm_120", ["sm_80", "sm_90", "sm_120", "gfx942"]),
    ):
        asked.clear()
        result = invoke("--backend", backends, "--arch", archs, "--length", 3)
        assert result.exit_code == 0, result.output
        assert {kernel.arch for kernel in asked} == set(wanted)
    devices["hip"] = []
    result = invoke("--backend", "hip", "--arch", "native", "--length", 3)
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert (
        "--arch native: no device of the back end hip is found here. Name an architecture" in said
    )
    assert "gfx942" in said
    assert half_cache
