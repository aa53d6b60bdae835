"""Importing the package loads no framework, runs nothing and writes nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import warp_bitonic_sort
from support import children

_SCRIPT = """
import json, os, sys
before = set(sys.modules)
events = []
sys.addaudithook(lambda name, args: events.append((name, str(args))))
import warp_bitonic_sort
written = [
    args for name, args in events
    if (name == "open" and any(mode in args for mode in ("'w", "'a", "'x", "'r+")))
    or name in ("os.mkdir", "os.rename", "os.remove", "subprocess.Popen", "socket.connect")
]
print(json.dumps({
    "modules": sorted(set(sys.modules) - before),
    "written": written,
    "seen": len(events),
    "home": os.listdir(os.environ["HOME"]),
    "version": warp_bitonic_sort.__version__,
}))
"""


def test_import_loads_no_framework_and_writes_nothing(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("WARP_SORT_CACHE_DIR", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    heavy = {"torch", "tvm_ffi", "numpy", "jax", "ml_dtypes", "ninja", "click"}
    assert not heavy & {name.partition(".")[0] for name in seen["modules"]}
    assert seen["seen"] > 0
    assert seen["written"] == []
    assert seen["home"] == []
    assert seen["version"]
    assert done.stderr == ""


def test_default_cache_is_below_the_home_folder(tmp_path, monkeypatch):
    from warp_bitonic_sort import settings

    monkeypatch.delenv("WARP_SORT_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings.cache_dir() == tmp_path / ".cache" / "warp_bitonic_sort" / "jit"
    monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(tmp_path / "other"))
    assert settings.cache_dir() == tmp_path / "other"


def test_texts_that_are_read_first_say_that_sort_returns_values_only():
    readme = Path(__file__).parents[2] / "README.md"
    title, first, *_ = readme.read_text().split("\n\n")
    assert title.startswith("# ")
    assert "values only" in first
    for function in (warp_bitonic_sort.sort, warp_bitonic_sort.warp_bitonic_sort):
        assert "values only" in function.__doc__.partition("\n")[0]


def test_lazy_names_of_the_package_are_found():
    assert set(warp_bitonic_sort.__all__) <= set(dir(warp_bitonic_sort))
    for name in warp_bitonic_sort.__all__:
        assert getattr(warp_bitonic_sort, name)
    assert isinstance(warp_bitonic_sort.explain((2, 3)), warp_bitonic_sort.Explanation)
    with pytest.raises(AttributeError, match="'warp_bitonic_sort' has no attribute 'explains'"):
        warp_bitonic_sort.explains  # noqa: B018


@pytest.fixture
def torch_that_ends_the_process(tmp_path, monkeypatch):
    """A torch that is found before the real one, and ends the process that imports it."""
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.parametrize(
    "arguments",
    [
        "sort {tmp}/in.npy {tmp}/out.npy",
        pytest.param("demo --size 3 --output {tmp}/demo.png", marks=pytest.mark.stress),
        "explain 9",
        "network 8",
        "doctor --no-build",
        "prewarm --length 3",
        "cache verify",
    ],
)
@pytest.mark.usefixtures("torch_that_ends_the_process", "cache_copy")
def test_command_in_its_own_process_does_not_import_torch(arguments, tmp_path):
    np.save(tmp_path / "in.npy", np.float32([[3, 1, 2]]))
    words = arguments.format(tmp=tmp_path).split()
    done = subprocess.run(
        [sys.executable, "-m", "warp_bitonic_sort", *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "torch" not in done.stderr


def test_command_called_in_a_users_process_hides_no_torch():
    code = """
        import sys
        del sys.modules["torch"]  # which every child has
        from warp_bitonic_sort.cli import main
        main(["explain", "9"], standalone_mode=False)
        print("torch" in sys.modules)
    """
    assert children.run(code).stdout.endswith("\nFalse\n")


def test_torch_that_is_imported_already_stays_imported():
    code = """
        import sys
        sys.modules["torch"] = "imported"
        from warp_bitonic_sort import __main__
        sys.argv = ["warp-bitonic-sort", "explain", "9"]
        try:
            __main__.run()
        finally:
            print(sys.modules["torch"])
    """
    assert children.run(code).stdout.endswith("\nimported\n")


def test_get_include_in_new_process_names_the_headers_and_imports_no_tvm_ffi():
    code = """
        import sys, warp_bitonic_sort
        print(warp_bitonic_sort.get_include())
        print("tvm_ffi" in sys.modules, "numpy" in sys.modules)
    """
    folder, imported = children.run(code).stdout.splitlines()
    assert (Path(folder) / "warp_bitonic_sort" / "network" / "registers.hpp").is_file()
    assert imported == "False False"
