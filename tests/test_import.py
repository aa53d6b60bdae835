"""Importing the package loads no framework, runs nothing and writes nothing."""

import json
import os
import subprocess
import sys

import pytest

import warp_bitonic_sort

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


def test_import_is_inert(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("WARP_SORT_CACHE_DIR", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    seen = json.loads(done.stdout)
    heavy = {"torch", "tvm_ffi", "numpy", "jax", "ml_dtypes", "ninja", "filelock", "click"}
    assert not heavy & {name.partition(".")[0] for name in seen["modules"]}
    assert seen["seen"] > 0
    assert seen["written"] == []
    assert seen["home"] == []
    assert seen["version"]
    assert done.stderr == ""


def test_the_default_cache_is_below_the_home_folder(tmp_path, monkeypatch):
    from warp_bitonic_sort.jit import settings

    monkeypatch.delenv("WARP_SORT_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings.cache_dir() == tmp_path / ".cache" / "warp_bitonic_sort" / "jit"
    monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(tmp_path / "other"))
    assert settings.cache_dir() == tmp_path / "other"


def test_what_is_imported_when_it_is_asked_for():
    assert set(warp_bitonic_sort.__all__) <= set(dir(warp_bitonic_sort))
    for name in warp_bitonic_sort.__all__:
        assert getattr(warp_bitonic_sort, name)
    assert isinstance(warp_bitonic_sort.explain((2, 3)), warp_bitonic_sort.Explanation)
    with pytest.raises(AttributeError, match="'warp_bitonic_sort' has no attribute 'explains'"):
        warp_bitonic_sort.explains  # noqa: B018
