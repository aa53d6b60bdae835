"""A build that fails: one error that names the cause and a remedy."""

import pickle
import re
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest

import warp_bitonic_sort
from warp_bitonic_sort import BuildError, CacheError, ToolError, settings
from warp_bitonic_sort.errors import ArchError, LockError, TrustError
from warp_bitonic_sort.jit.build import hints, ninja
from warp_bitonic_sort.targets import HOST
from warp_bitonic_sort.targets.common import sources


@pytest.mark.parametrize(
    "error",
    [
        BuildError("it failed"),
        ArchError("arch", "'sm_1' is not an architecture."),
        LockError("it is built"),
        TrustError("others can write it", Path("/folder")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_of_another_process_arrives_as_it_was(error):
    arrived = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(arrived) is type(error)
    assert (str(arrived), vars(arrived)) == (str(error), vars(error))


@pytest.mark.usefixtures("nothing_open", "fresh_cache")
class TestFailures:
    """Each failure is one error, whose message is tested."""

    x = np.zeros((3, 7), np.float32)

    def sort(self):
        return warp_bitonic_sort.sort(self.x)

    def test_sort_without_compiler_raises(self, monkeypatch):
        monkeypatch.delenv("CXX", raising=False)
        monkeypatch.setenv("PATH", "/nonexistent")
        with pytest.raises(ToolError, match=r"no C\+\+ compiler: .*Install one .*or set CXX"):
            self.sort()

    def test_sort_with_missing_cxx_raises(self, monkeypatch):
        monkeypatch.setenv("CXX", "/nonexistent/g++")
        with pytest.raises(ToolError, match=r"CXX: '/nonexistent/g\+\+' is not a program"):
            self.sort()

    def test_sort_with_unparsable_cxx_raises(self, monkeypatch):
        monkeypatch.setenv("CXX", 'g++ "')
        with pytest.raises(ToolError, match=r"""CXX: 'g\+\+ "' .*No closing quotation.*Set CXX"""):
            self.sort()

    def test_sort_with_cxx_that_is_no_compiler_raises(self, monkeypatch):
        monkeypatch.setenv("CXX", "false")
        # What such a program prints instead may be long, and end in anything.
        with pytest.raises(ToolError, match=r"\nHint: Set CXX to a C\+\+ compiler") as error:
            self.sort()
        assert "false' (CXX=false) does not answer --version" in str(error.value)

    def test_sort_without_ninja_raises(self, monkeypatch):
        monkeypatch.setattr(ninja, "_packaged", list)
        found = shutil.which
        is_ninja = re.compile("ninja").match
        monkeypatch.setattr(shutil, "which", lambda name: None if is_ninja(name) else found(name))
        with pytest.raises(ToolError, match=r"no ninja: .*pip install ninja") as error:
            self.sort()
        assert "registers7_rows" in str(error.value)
        assert "warp-bitonic-sort prewarm --operation sort --backend cpu" in str(error.value)
        # One error names a missing compiler and a missing ninja.
        monkeypatch.setenv("CXX", "/nonexistent/g++")
        with pytest.raises(ToolError, match=r"CXX: .* And there is no ninja: .*\)\. Or have"):
            self.sort()

    def test_sort_whose_build_fails_gives_error_hint_and_log(self, monkeypatch, tmp_path):
        broken = tmp_path / "include"
        shutil.copytree(sources.INCLUDE_DIR, broken)
        header = broken / "warp_bitonic_sort" / "network" / "bitonic.hpp"
        header.write_text(f"{header.read_text()}\nint x = undeclared_name;\nint y = also_wrong;\n")
        monkeypatch.setattr(sources, "INCLUDE_DIR", broken)
        with pytest.raises(BuildError) as caught:
            self.sort()
        lines = str(caught.value).splitlines()
        assert re.match(r"compiling .*cpu_all_none_ieee32_registers7_rows\w* failed", lines[0])
        assert "with " in lines[0]
        assert lines[2].startswith("First error: ")
        assert "bitonic.hpp" in lines[2]
        assert "undeclared_name" in lines[2]
        assert lines[3].startswith("Hint: ")
        log = Path(lines[1].removeprefix("Whole log: "))
        assert "also_wrong" in log.read_text()
        assert settings.cache_dir() in log.parents
        assert list((settings.cache_dir() / "v1" / "staging").iterdir()) == []
        header.write_text(
            (sources.CSRC / "include/warp_bitonic_sort/network/bitonic.hpp").read_text()
        )
        np.testing.assert_array_equal(self.sort(), self.x)

    @pytest.mark.parametrize(
        ("log", "line", "hint"),
        [
            ("a.cc:1:2: error: no\nx.cc:3: error: b", "a.cc:1:2: error: no", "see the log"),
            (
                "g++: error: unrecognized command-line option '-mavx512f'",
                "g++: error: unrecognized command-line option '-mavx512f'",
                "does not know this CPU",
            ),
            (
                "c++: error: unrecognized command line option '-std=c++17'",
                "c++: error: unrecognized command line option '-std=c++17'",
                "too old",
            ),
            (
                "a.h:1:10: fatal error: tvm/ffi/function.h: No such file or directory",
                "a.h:1:10: fatal error: tvm/ffi/function.h: No such file or directory",
                "reinstall it",
            ),
            (
                "a.h:1:10: fatal error: algorithm: No such file or directory",
                "a.h:1:10: fatal error: algorithm: No such file or directory",
                "system header",
            ),
            (
                "g++: fatal error: cannot execute 'as': execvp: No such file or directory",
                "g++: fatal error: cannot execute 'as': execvp: No such file or directory",
                "binutils",
            ),
            (
                "[0/1] c++\nFAILED: x\nc++ a\nc++: fatal error: Killed signal terminated program",
                "c++: fatal error: Killed signal terminated program",
                "MAX_JOBS=1",
            ),
            ("cc1plus: error: No space left on device", "cc1plus: error: No space left on device",
             "TMPDIR"),
            ("/usr/bin/ld: cannot find -ldl", "/usr/bin/ld: cannot find -ldl", "linking failed"),
            ("/bin/sh: 1: ./cc: not found", "/bin/sh: 1: ./cc: not found", "see the log"),
            ("", "the build printed nothing", "see the log"),
        ],
    )  # fmt: skip
    def test_first_error_of_a_log_has_its_line_and_a_hint(self, log, line, hint):
        found, said = hints.first_error(log)
        assert found == line
        assert hint in said

    def test_sort_with_unwritable_cache_warns_once(self, monkeypatch, tmp_path):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(tmp_path / "file" / "cache"))
        message = r"the cache folder .*file/cache cannot be written: .*Set WARP_SORT_CACHE_DIR"
        with pytest.warns(RuntimeWarning, match=message):
            np.testing.assert_array_equal(self.sort(), self.x)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # one warning a process
            other = np.zeros((3, 8), np.float32)
            np.testing.assert_array_equal(warp_bitonic_sort.sort(other), other)
        assert (tmp_path / "file").read_text() == "in the way"

    def test_sort_with_unwritable_cache_and_temporary_folder_raises(self, monkeypatch, tmp_path):
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(tmp_path / "file" / "cache"))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
        with pytest.raises(CacheError, match=r"file/cache cannot be written: .*Set WARP_SORT_CACH"):
            self.sort()

    @pytest.mark.parametrize("jobs", ["many", "0", "-1", "1.5", "²", "٣", "9" * 5000])
    def test_sort_with_max_jobs_that_is_no_number_raises(self, monkeypatch, jobs):
        monkeypatch.setenv("MAX_JOBS", jobs)
        with pytest.raises(BuildError, match=f"MAX_JOBS: expected a whole number .*got '{jobs}'"):
            self.sort()

    def test_sort_with_unknown_cpu_arch_raises(self, monkeypatch):
        monkeypatch.setenv("WARP_SORT_CPU_ARCH", "pentium")
        with pytest.raises(ToolError, match="WARP_SORT_CPU_ARCH: expected one of .*got 'pentium'"):
            self.sort()

    def test_sort_with_cpu_arch_of_another_machine_raises(self, monkeypatch):
        other = "x86-64" if HOST.arch_for() == "aarch64" else "aarch64"
        monkeypatch.setenv("WARP_SORT_CPU_ARCH", other)
        with pytest.raises(ToolError, match=f"cannot run kernels built for '{other}'"):
            self.sort()
