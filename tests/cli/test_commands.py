"""The command line as a whole: help, versions, imports, missing packages, explain and demo."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from click.testing import CliRunner

import warp_bitonic_sort
from support import children
from warp_bitonic_sort.cli import _diagnosis, main
from warp_bitonic_sort.jit.store import locks, publish
from warp_bitonic_sort.operations import sort as sorting
from warp_bitonic_sort.targets.hip.arch import native_hip_archs

# The script of the environment that runs the tests, which need not be on the PATH.
PROGRAM = str(Path(sys.executable).with_name("warp-bitonic-sort"))
COMMANDS = ["demo", "sort", "bench", "network", "explain", "doctor"]


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def run_without(modules, *arguments):
    """Run the command line in a process where some modules cannot be imported."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({modules!r}));"
        f"from warp_bitonic_sort.cli import main; main({[str(a) for a in arguments]!r})"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example_and_exit_status(command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    for part in ("Example", "Exit status", f"warp-bitonic-sort {command}"):
        assert part in result.output
    assert max(map(len, result.output.splitlines())) <= 80


def test_main_help_lists_every_command():
    result = invoke("--help")
    assert result.exit_code == 0
    assert all(f"\n  {command} " in result.output for command in COMMANDS)


@pytest.mark.parametrize("command", [[PROGRAM], [sys.executable, "-m", "warp_bitonic_sort"]])
def test_version_option_of_either_name_prints_the_version(command):
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"warp-bitonic-sort, version {warp_bitonic_sort.__version__}\n"


def test_import_of_cli_loads_click_only():
    heavy = ("numpy", "matplotlib", "scipy", "tvm_ffi", "torch", "jax", "ml_dtypes", "ninja")
    code = (
        "import sys, warp_bitonic_sort.cli;"
        f"print([name for name in {heavy!r} if name in sys.modules], 'click' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] True\n"


@pytest.mark.parametrize(
    ("missing", "arguments", "packages"),
    [
        ("numpy", ["sort", "in.npy", "out.npy"], "numpy"),
        ("numpy", ["demo"], "numpy matplotlib"),
        ("matplotlib", ["demo"], "numpy matplotlib"),
    ],
)
def test_command_without_a_package_names_it(tmp_path, missing, arguments, packages):
    np.save(tmp_path / "in.npy", np.zeros((2, 2)))
    arguments = [tmp_path / a if a.endswith(".npy") else a for a in arguments]
    done = run_without([missing], *arguments)
    assert done.returncode == 1
    assert missing in done.stderr
    assert f"pip install {packages}\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.npy").exists()


def test_help_of_demo_names_the_packages_to_install():
    assert "pip install numpy matplotlib" in " ".join(invoke("demo", "--help").output.split())


def test_sort_without_ml_dtypes_names_it(tmp_path):
    np.save(tmp_path / "in.npy", np.zeros((2, 2), "V2"))
    done = run_without(
        ["ml_dtypes"], "sort", tmp_path / "in.npy", tmp_path / "out.npy", "--dtype", "bfloat16"
    )
    assert done.returncode == 1
    assert "ml_dtypes" in done.stderr
    assert "pip install ml_dtypes\n" in done.stderr


# -- explain --------------------------------------------------------------------------------------


def test_explain_prints_what_the_library_says():
    result = invoke("explain", "1000x9", "--dtype", "uint8", "--axis", 0, "--descending")
    assert result.exit_code == 0
    expected = warp_bitonic_sort.explain((1000, 9), dtype="uint8", axis=0, descending=True)
    assert result.output == f"{expected}\n"


def test_explain_prints_a_folder_of_any_bytes(monkeypatch):
    module = sys.modules["warp_bitonic_sort.cli.explain"]  # the name is the command's
    folder = os.fsdecode(b"/layer\xff")
    monkeypatch.setattr(module, "explain_call", lambda *_, **__: folder)
    assert CliRunner().invoke(main, ["explain", "9"]).stdout_bytes == b"/layer\xff\n"


def test_explain_of_one_dimension_has_one_row():
    assert "1 row of 300 float32" in invoke("explain", "300").output


@pytest.mark.parametrize("shape", ["", "x", "3x", "-3x2", "3,4", "3.0", "1000 x 9"])
def test_explain_refuses_what_is_no_shape(shape):
    result = invoke("explain", "--", shape)
    assert result.exit_code == 2
    assert "1000x9" in result.output


def test_explain_reports_the_librarys_error():
    result = invoke("explain", "10x9", "--axis", 5)
    assert result.exit_code == 2
    told = "Invalid value for '--axis': expected -2 to 1 for an array of shape (10, 9), got 5."
    assert told in result.output
    result = invoke("explain", "10x9", "--index-dtype", "int32")
    assert result.exit_code == 2
    assert "Invalid value for '--index-dtype': sort returns no indices" in result.output
    assert invoke("explain", "9", "--operation", "ranks", "--index-dtype", "int32").exit_code == 0


# -- demo -----------------------------------------------------------------------------------------


@pytest.mark.stress
def test_demo_cleans_the_photograph(tmp_path):
    picture = tmp_path / "demo.png"
    result = invoke("demo", "--size", 3, "--output", picture)
    assert result.exit_code == 0, result.output
    assert "921,600 rows of 9 uint8" in result.output
    assert "compiled on first use" in result.output
    assert warp_bitonic_sort.explain((921600, 9), dtype="uint8").kernel in result.output
    threads = warp_bitonic_sort.get_num_threads()
    for name in ("1", f"{threads}"):
        assert re.search(rf"^  warp_bitonic_sort +{name}( +[0-9.]+){{3}}$", result.output, re.M)
    assert re.search(r"^  np\.sort +1( +[0-9.]+){3}$", result.output, re.M)
    assert re.search(r"^  scipy\.ndimage\.median_filter +1( +-){2} +[0-9.]+$", result.output, re.M)
    assert f"On {threads} thread" in result.output
    before, after = map(float, re.findall(r"([0-9.]+) dB (?:before|after)", result.output))
    assert after > before + 8
    drawn = matplotlib.image.imread(picture)
    height, width, _ = drawn.shape
    assert width > 2 * height  # three pictures side by side
    left, middle, right = (drawn[100:-50, i * width // 3 : (i + 1) * width // 3] for i in range(3))
    roughness = [np.abs(np.diff(part[..., 0], axis=0)).mean() for part in (left, middle, right)]
    assert roughness[1] > 2 * max(roughness[0], roughness[2])


@pytest.mark.stress
def test_demo_by_medians_cleans_the_photograph_as_by_sorting(tmp_path):
    pictures = [tmp_path / "sort.png", tmp_path / "median.png"]
    for picture in pictures:
        result = invoke("demo", "--size", 3, "--filter", picture.stem, "--output", picture)
        assert result.exit_code == 0, result.output
    assert "Medians of 921,600 rows of 9 uint8" in result.output
    assert re.search(r"^  np\.median +1( +[0-9.]+){3}$", result.output, re.M)
    assert re.search(r"^  scipy\.ndimage\.median_filter +1( +-){2} +[0-9.]+$", result.output, re.M)
    assert "the median alone" in result.output
    assert "_columns_" in result.output
    np.testing.assert_array_equal(*map(matplotlib.image.imread, pictures))


def test_demo_fails_loudly_when_the_sorts_differ(tmp_path, monkeypatch):
    def wrong(x):
        result = np.sort(x, axis=-1)
        result[-1, 0] ^= 1
        return result

    monkeypatch.setattr(sorting, "sort", wrong)
    result = invoke("demo", "--size", 3, "--output", tmp_path / "demo.png")
    assert result.exit_code == 1
    assert "disagree" in result.output
    assert not (tmp_path / "demo.png").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--size", 4], 2, "odd"),
        (["--size", 1], 2, "3<=x<=15"),
        (["--filter", "mean"], 2, "median"),
        (["--noise", 1.5], 2, "0<=x<=1"),
        (["--dtype", "bfloat16"], 2, "float32"),
        (["--output", "/nowhere/at/all.png"], 2, "there is no folder /nowhere/at; make it first."),
        (["--size", 3, "--output", "demo.nonsense"], 2, "demo.nonsense"),
    ],
)
def test_demo_with_wrong_arguments_says_what_is_wrong(
    arguments, status, said, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = invoke("demo", *arguments)
    assert result.exit_code == status
    assert said in result.output
    assert list(tmp_path.iterdir()) == []


# -- doctor ---------------------------------------------------------------------------------------


def shadowed(folder, monkeypatch, module, body):
    """Put a module before the real one, in this process's children."""
    (folder / "shadow").mkdir()
    (folder / "shadow" / f"{module}.py").write_text(body)
    monkeypatch.setenv("PYTHONPATH", str(folder / "shadow"))


def report(*arguments):
    done = subprocess.run([PROGRAM, "doctor", "--json", *arguments], capture_output=True, text=True)
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert done.returncode == (0 if document["works"] else 1)
    assert all(problem["what"] and problem["fix"] for problem in document["problems"])
    return document


def whats(document):
    return "\n".join(problem["what"] for problem in document["problems"])


def test_doctor_of_a_sound_installation_works(fresh_cache):
    first, second = report(), report()
    assert first["works"]
    assert first["problems"] == []
    assert first["trial"]["status"] == second["trial"]["status"] == "passed"
    kernel = first["trial"]["kernel"]
    with_indices = warp_bitonic_sort.explain((5, 4), operation="argsort").kernel
    assert sorted(first["trial"]["compiled"]) == sorted([with_indices, kernel, "runtime"])
    assert second["trial"]["compiled"] == []
    assert (first["cache"]["exists"], first["cache"]["entries"]) == (False, 0)
    assert (second["cache"]["path"], second["cache"]["entries"]) == (str(fresh_cache), 3)
    assert second["cache"]["bytes"] > 10_000
    assert first["dependencies"]["numpy"] == np.__version__
    assert first["environment"]["WARP_SORT_CACHE_DIR"] == str(fresh_cache)
    assert first.keys() == second.keys()
    assert first["trial"].keys() == second["trial"].keys()
    assert 0 < second["trial"]["import_seconds"] < second["trial"]["seconds"]


def test_doctor_text_shows_threads_small_sort_and_driver(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    done = subprocess.run([PROGRAM, "doctor"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.endswith("\n\nA call to sort works.\n")
    for line in (
        "threads +3 \\(OMP_NUM_THREADS\\)",
        r"small sort +passed in \d+\.\d\d s, ",
        r"\n +after \d+\.\d\d s of imports, among them PyTorch, which tvm_ffi imports\n",
        "hip +(no|the) .*driver",
    ):
        assert re.search(line, done.stdout)


def test_doctor_prints_names_of_any_bytes(tmp_path, monkeypatch):
    folder = os.fsencode(tmp_path) + b"/\xff"
    monkeypatch.setenv("WARP_SORT_CACHE_DIR", os.fsdecode(folder))
    for flags in ([], ["--json"]):
        done = subprocess.run(
            [PROGRAM, "doctor", "--no-build", *flags], capture_output=True, check=True
        )
        assert folder in done.stdout or json.loads(done.stdout)["cache"]["path"] == os.fsdecode(
            folder
        )


def test_doctor_without_build_writes_nothing(fresh_cache):
    document = report("--no-build")
    assert document["works"]
    assert document["trial"]["status"] == "skipped"
    assert document["trial"]["seconds"] is document["trial"]["import_seconds"] is None
    assert not fresh_cache.exists()


def test_doctor_without_build_does_not_say_that_it_works(fresh_cache, whole_layer):
    done = children.program("doctor", "--no-build")
    assert done.returncode == 0, done.stderr
    assert re.search("small sort +not tried\n", done.stdout)
    end = "\n\nNothing was tried. Nothing is known to hinder a call to sort{}.\n"
    assert done.stdout.endswith(end.format(""))
    how = {"WARP_SORT_CACHE_LAYERS": whole_layer, **children.NO_COMPILER}
    done = children.program("doctor", "--no-build", **how)
    assert done.stdout.endswith(end.format(" whose kernel a layer has"))
    assert not fresh_cache.exists()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("CXX", "/nonexistent", "'/nonexistent' is not a program"),
        ("CXX", "false", "does not answer --version"),
        ("WARP_SORT_CPU_ARCH", "z80", "got 'z80'"),
        ("MAX_JOBS", "many", "MAX_JOBS"),
        ("PATH", "/nonexistent", "no C++ compiler"),
    ],
)
def test_doctor_names_what_is_broken(variable, value, said, monkeypatch):
    monkeypatch.setenv(variable, value)
    done = subprocess.run(
        [sys.executable, "-m", "warp_bitonic_sort", "doctor", "--json", "--no-build"],
        capture_output=True,
        text=True,
    )
    document = json.loads(done.stdout)
    assert (done.returncode, document["works"], done.stderr) == (1, False, "")
    assert said in whats(document)
    assert len(document["problems"]) == 1


@pytest.mark.usefixtures("fresh_cache")
def test_doctor_reports_a_wrong_compiler_that_fails_the_small_sort_once(monkeypatch):
    monkeypatch.setenv("CXX", "/nonexistent")
    (problem,) = report()["problems"]
    assert problem["what"].startswith("CXX: '/nonexistent' is not a program")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("GPU_ARCH", "sm_90,nonsense", "GPU_ARCH: expected native or a list"),
        ("CUDA_HOME", "/nonexistent", "CUDA_HOME: '/nonexistent' holds neither bin/nvcc"),
        ("ROCM_PATH", "/nonexistent", "ROCM_PATH: '/nonexistent' holds neither bin/hipcc"),
        ("CK_DIR", "/nonexistent", "CK_DIR: '/nonexistent' is not a folder"),
        ("WARP_SORT_CACHE_DIR", "/dev/null/cache", "/dev/null/cache cannot be written"),
        ("WARP_SORT_CACHE_LAYERS", "/nonexistent", "/nonexistent does not exist"),
        ("OMP_NUM_THREADS", "many", "OMP_NUM_THREADS: expected a whole number of at least 1"),
    ],
)
def test_doctor_notes_what_hinders_no_sort_on_the_cpu(variable, value, said, monkeypatch):
    monkeypatch.setenv(variable, value)
    document = report("--no-build")
    assert said in whats(document)
    assert document["works"]
    assert [problem["blocking"] for problem in document["problems"]] == [False]


@pytest.mark.usefixtures("runtime_layer")
@pytest.mark.compile
def test_doctor_lists_what_was_compiled_into_a_temporary_folder(monkeypatch):
    monkeypatch.setenv("WARP_SORT_CACHE_DIR", "/proc/nowhere")
    trial = report()["trial"]
    assert trial["status"] == "passed"
    assert trial["kernel"] in trial["compiled"]
    assert "runtime" not in trial["compiled"]


def test_doctor_without_build_tools_says_that_cached_kernels_work(monkeypatch):
    """A kernel in the cache needs none of the tools that building others does."""
    warp_bitonic_sort.sort(np.zeros((5, 4), np.float32))
    warp_bitonic_sort.argsort(np.zeros((5, 4), np.float32))
    monkeypatch.setenv("MAX_JOBS", "none")
    done = subprocess.run([PROGRAM, "doctor"], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search("small sort +passed .* from the cache", done.stdout)
    assert done.stdout.endswith(
        "\n\nSorts whose kernels are in the cache work; others would not.\n"
    )


def test_doctor_reads_the_architectures_of_amd_gpus(tmp_path):
    """As the kernel lists them; the first node is a CPU."""
    for node, version in enumerate((0, 90402, 90010, 110501, 120001, 90402)):
        (tmp_path / str(node)).mkdir()
        text = f"cpu_cores_count 1\ngfx_target_version {version}\nvendor_id 4098\n"
        (tmp_path / str(node) / "properties").write_text(text)
    assert native_hip_archs(tmp_path) == ["gfx1151", "gfx1201", "gfx90a", "gfx942"]
    assert native_hip_archs(tmp_path / "nowhere") == []


def test_doctor_of_many_faults_reports_each(tmp_path, monkeypatch):
    shadowed(tmp_path, monkeypatch, "numpy", "raise ImportError('no such thing')")
    monkeypatch.setenv("CXX", "/nonexistent")
    monkeypatch.setenv("MAX_JOBS", "-1")
    monkeypatch.setenv("WARP_SORT_CPU_ARCH", "z80")
    monkeypatch.setenv("WARP_SORT_CACHE_DIR", "/dev/null/cache")
    monkeypatch.setenv("ROCM_PATH", "/nonexistent")
    document = report()
    assert len(document["problems"]) == 6
    assert [problem["what"] for problem in document["problems"] if "GPU" in problem["what"]] == [
        "arrays on AMD GPUs, if there were any, can't be sorted: ROCM_PATH: '/nonexistent' holds "
        "neither bin/hipcc nor llvm/bin/clang++ nor lib/llvm/bin/clang++ nor lib/libhiprtc.so"
    ]
    assert "no such thing" in whats(document)


@pytest.mark.usefixtures("fresh_cache")
def test_doctor_shows_the_compilers_first_error(tmp_path, monkeypatch):
    compiler = tmp_path / "cxx"
    compiler.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo sound && exit\n'
        "echo 'x.cc:1:1: fatal error: tvm/ffi.h: No such file'; exit 1\n"
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    document = report()
    assert "fatal error: tvm/ffi.h" in whats(document)
    assert "reinstall" in document["problems"][0]["fix"]


def test_doctor_survives_a_crash_of_the_sort(tmp_path, monkeypatch):
    shadowed(tmp_path, monkeypatch, "numpy", "import os; os.abort()")
    assert "SIGABRT" in whats(report())


def test_doctor_notes_what_killed_builds_left(fresh_cache):
    prefix = publish.staging_prefix()
    left, newborn, ours = (fresh_cache / "v1" / "staging" / f"{prefix}{name}" for name in "abc")
    for folder in (left, newborn, ours):
        folder.mkdir(parents=True)
    (left / "source.cc").write_bytes(b"12345")
    (left / publish.OWNER_LOCK).touch()
    with locks.try_acquire(ours / publish.OWNER_LOCK):
        document = report("--no-build")
    assert document["works"]
    assert document["cache"]["left"] == [str(left)]
    (problem,) = document["problems"]
    assert problem == {
        "what": "1 files and folders (5 bytes) are left in the cache of builds that were killed",
        "fix": "warp-bitonic-sort cache prune",
        "blocking": False,
    }


def test_doctor_counts_the_artifacts_that_cache_list_counts(fresh_cache):
    for entry in ("v1/entries/kernel/key", "v1/entries/runtime/key", "v0/entries/runtime/key"):
        (fresh_cache / entry).mkdir(parents=True)
        (fresh_cache / entry / "library.so").write_bytes(bytes(1000))
    (fresh_cache / "v1/entries/runtime/.half.tmp").touch()
    listed = json.loads(invoke("cache", "list", "--json").output)
    cache = report("--no-build")["cache"]
    assert (cache["entries"], cache["bytes"]) == (2, 2000)
    assert [item["size"] for item in listed] == [1000, 1000]
    last_line = invoke("cache", "list").output.splitlines()[-1]
    assert last_line == f"2 artifacts, 0.0 MB in {fresh_cache} (user)"
    assert "\n" + " " * 23 + "2 artifacts, 0.0 MB\n" in invoke("doctor", "--no-build").output


def test_doctor_counts_the_bytes_of_files_that_killed_builds_left(fresh_cache):
    (fresh_cache / "v1/entries").mkdir(parents=True)
    left = fresh_cache / "v1/entries/.manifest.json.tmp"
    left.write_bytes(b"12345")
    os.utime(left, (0, 0))
    assert "1 files and folders (5 bytes) are left" in whats(report("--no-build"))


@pytest.mark.parametrize(
    "arguments",
    [
        "explain 9",
        "network 64",
        "doctor --no-build",
        "cache path",
        "cache prune --dry-run",
        "--help",
    ],
)
@pytest.mark.parametrize("buffered", [None, "1"])
def test_command_whose_output_cannot_be_written_prints_one_error(arguments, buffered, tmp_path):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "warp_bitonic_sort", *arguments.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=children.environment(WARP_SORT_CACHE_DIR=tmp_path, PYTHONUNBUFFERED=buffered),
        )
    assert done.returncode == 1
    assert done.stderr == "Error: the output cannot be written: No space left on device.\n"


def test_command_error_that_is_not_the_outputs_keeps_its_traceback(monkeypatch):
    def fails(**_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(main.commands["explain"], "callback", fails)
    result = CliRunner().invoke(main, ["explain", "9"])
    assert isinstance(result.exception, OSError)
    assert result.output == ""


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.", ".png", "a.pgf"])
def test_demo_with_unknown_picture_format_is_refused(tmp_path, name):
    done = subprocess.run(
        [sys.executable, "-m", "warp_bitonic_sort", "demo", "-o", str(tmp_path / name)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{tmp_path / name}: the ending gives the picture's format; expected" in done.stderr
    assert ".pdf, .png, " in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_doctor_notes_settings_that_do_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("WARP_SORT_CACHEDIR", "/x")
    monkeypatch.setenv("WARP_SORT_COLOUR", "1")
    folders = [tmp_path, tmp_path / "none", tmp_path / ("far" * 100)]  # too long a name
    monkeypatch.setenv("WARP_SORT_TRUSTED_DIRS", os.pathsep.join(map(str, folders)))
    problems = []
    _diagnosis._environment(problems)
    assert [(problem.what, problem.fix, problem.blocking) for problem in problems] == [
        (
            "WARP_SORT_CACHEDIR: there is no such setting",
            "unset it, or set WARP_SORT_CACHE_DIR, if that is meant",
            False,
        ),
        ("WARP_SORT_COLOUR: there is no such setting", "unset it", False),
        (
            f"WARP_SORT_TRUSTED_DIRS: there is no folder {tmp_path / 'none'}",
            "take it off the list",
            False,
        ),
    ]
