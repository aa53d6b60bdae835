"""The number of threads: set by the program, by OMP_NUM_THREADS, or by what the machine allows."""

import os
from pathlib import Path

import numpy as np
import pytest

import warp_bitonic_sort
from support import children
from warp_bitonic_sort.process import threads
from warp_bitonic_sort.process.cpu_quota import cpu_quota

# -- quotas of control groups ----------------------------------------------------------------------

_CGROUP2 = "31 23 0:28 {top} {mount} rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate"
_CGROUP1 = "32 23 0:29 {top} {mount} rw,relatime - cgroup cgroup rw,{controllers}"


def tree(root, groups, mounts, files):
    """Make a folder that stands for the root of a file system."""
    given = {"proc/self/cgroup": groups, "proc/self/mountinfo": "\n".join(mounts), **files}
    for name, text in given.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")
    return root


def cgroup2(root, path, files, top="/", mount="/sys/fs/cgroup"):
    mounts = ["22 1 8:1 / / rw - ext4 /dev/sda1 rw", _CGROUP2.format(top=top, mount=mount)]
    there = {f"sys/fs/cgroup{name}/cpu.max": text for name, text in files.items()}
    return tree(root, f"0::{path}", mounts, there)


def cgroup1(root, path, quotas, top="/", controllers="cpu,cpuacct"):
    mount = f"/sys/fs/cgroup/{controllers}"
    mounts = [_CGROUP1.format(top=top, mount=mount, controllers=controllers)]
    mounts.append(_CGROUP1.format(top="/", mount="/sys/fs/cgroup/memory", controllers="memory"))
    files = {}
    for name, quota in quotas.items():
        files[f"sys/fs/cgroup/{controllers}{name}/cpu.cfs_quota_us"] = quota
        files[f"sys/fs/cgroup/{controllers}{name}/cpu.cfs_period_us"] = "100000"
    groups = f"12:cpuset:/other\n4:{controllers}:{path}\n2:memory:/third\n1:name=systemd:/s\n0::/"
    return tree(root, groups, mounts, files)


@pytest.mark.parametrize(
    ("path", "files", "quota"),
    [
        ("/", {"": "200000 100000"}, 2.0),
        ("/", {"": "max 100000"}, None),
        ("/", {"": "50000 100000"}, 0.5),
        ("/a/b", {"/a/b": "max 100000", "/a": "150000 100000"}, 1.5),
        ("/a/b", {"/a/b": "300000 100000", "/a": "150000 100000"}, 1.5),
        ("/a/b", {"/a/b": "100000 100000", "/a": "150000 100000"}, 1.0),
        ("/a/b", {"/a/c": "100000 100000"}, None),
        ("/a/b", {}, None),
        ("/../../outside", {"": "100000 100000"}, 1.0),
        ("/a", {"/a": "not numbers"}, None),
        ("/a", {"/a": "1 2 3"}, None),
        ("/a", {"/a": "100000 0"}, None),
    ],
)
def test_cpu_quota_of_cgroup2_is_the_least_on_the_way_to_the_root(tmp_path, path, files, quota):
    assert cpu_quota(cgroup2(tmp_path, path, files)) == quota


def test_cpu_quota_where_a_container_mounts_its_own_group_finds_it(tmp_path):
    """As Docker does without a namespace of groups: the path is the host's, the mount is not."""
    files = {"": "100000 100000", "/inner": "50000 100000"}
    assert cpu_quota(cgroup2(tmp_path / "a", "/docker/1", files, top="/docker/1")) == 1.0
    assert cpu_quota(cgroup2(tmp_path / "b", "/docker/1/inner", files, top="/docker/1")) == 0.5
    assert cpu_quota(cgroup2(tmp_path / "c", "/docker/12", files, top="/docker/1")) == 1.0


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
@pytest.mark.parametrize(
    ("path", "quotas", "quota"),
    [
        ("/", {"": "250000"}, 2.5),
        ("/", {"": "-1"}, None),
        ("/a/b", {"/a/b": "-1", "/a": "50000", "": "-1"}, 0.5),
    ],
)
def test_cpu_quota_of_cgroup1_is_the_least_on_the_way(tmp_path, controllers, path, quotas, quota):
    assert cpu_quota(cgroup1(tmp_path, path, quotas, controllers=controllers)) == quota


def test_cpu_quota_at_a_mount_point_with_a_space_finds_it(tmp_path):
    root = cgroup2(tmp_path, "/", {}, mount="/sys/fs/my\\040groups")
    (root / "sys/fs/my groups").mkdir(parents=True)
    (root / "sys/fs/my groups/cpu.max").write_text("100000 50000\n")
    assert cpu_quota(root) == 2.0


@pytest.mark.parametrize("mounts", [[], ["", "nonsense", "1 2 - cgroup2", "a - cgroup2 b rw"]])
def test_cpu_quota_without_control_groups_is_none(tmp_path, mounts):
    assert cpu_quota(tmp_path / "nothing") is None
    assert cpu_quota(tree(tmp_path, "nonsense\n0::/", mounts, {})) is None


def test_cpu_quota_of_a_real_group_is_found():
    """Where a group can be made here; made-up trees are tested above."""
    for folder, file, text in (
        ("/sys/fs/cgroup", "cpu.max", "150000 100000"),
        ("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "150000"),
    ):
        group = Path(folder, f"warp-sort-test-{os.getpid()}")
        try:
            if not Path(folder, "cgroup.procs").exists():
                continue
            group.mkdir()
        except OSError:
            continue
        try:
            (group / file).write_text(text)
            code = f"""
                import os
                from warp_bitonic_sort.process.cpu_quota import cpu_quota
                open({str(group / "cgroup.procs")!r}, "w").write(str(os.getpid()))
                print(cpu_quota())
            """
            assert children.run(code).stdout == "1.5\n"
            return
        except OSError:
            continue
        finally:
            group.rmdir()
    pytest.skip("no control group can be made here")


# -- what is taken where nothing was set ----------------------------------------------------------


@pytest.mark.parametrize(
    ("quota", "count"), [(None, 8), (0.1, 1), (1.0, 1), (2.1, 3), (8.0, 8), (64.0, 8)]
)
def test_default_is_the_cores_or_the_quota_rounded_up(monkeypatch, quota, count):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    found, why = threads.default()
    assert found == count
    assert ("quota" in why) == (count < 8)


@pytest.mark.parametrize(
    ("text", "count"),
    [("3", 3), (" +3 ", 3), ("4,2", 4), ("4 , 2", 4), ("007", 7), ("99999", 1024), ("", None)],
)
def test_default_with_omp_num_threads_is_its_first_number(monkeypatch, text, count):
    monkeypatch.setenv("OMP_NUM_THREADS", text)
    monkeypatch.setattr(threads, "cpu_quota", lambda: 2.0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert threads.default()[0] == (count or 2)


@pytest.mark.parametrize("text", ["many", "0", "-3", "3x", "3.5", ",4", "0x10", "٣", "1e3"])
def test_omp_num_threads_that_is_no_number_warns_once(cache_copy, text):
    code = f"""
        import warnings, numpy as np, warp_bitonic_sort as w
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for length in (3, 3):
                w.sort(np.float32([[3, 1, 2]]))
            w.get_num_threads()
        (warning,) = said
        assert warning.filename == "<string>"
        assert "OMP_NUM_THREADS: expected a whole number of at least 1" in str(warning.message)
        assert {text!r} in str(warning.message)
        assert f"large sorts use {{w.get_num_threads()}} threads" in str(warning.message)
    """
    done = children.run(code, OMP_NUM_THREADS=text, WARP_SORT_CACHE_DIR=cache_copy)
    assert (done.returncode, done.stderr) == (0, "")


# -- what is set -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [True, 2.0, "2", None])
def test_set_num_threads_to_no_integer_raises(n):
    with pytest.raises(TypeError, match=r"n: expected an integer, got "):
        warp_bitonic_sort.set_num_threads(n)


@pytest.mark.parametrize("n", [0, -1, 1025])
def test_set_num_threads_out_of_range_raises(n):
    with pytest.raises(
        ValueError, match=f"n: expected a number of threads from 1 to 1024, got {n}"
    ):
        warp_bitonic_sort.set_num_threads(n)


def test_set_num_threads_takes_integers_of_numpy():
    before = warp_bitonic_sort.get_num_threads()
    warp_bitonic_sort.set_num_threads(np.int64(3))
    assert warp_bitonic_sort.get_num_threads() == 3
    warp_bitonic_sort.set_num_threads(before)


_LARGE = """
import os, numpy as np, warp_bitonic_sort as w
from warp_bitonic_sort.jit import loader
x = np.random.default_rng(1).random((200_000, 3), dtype=np.float32)
expected = np.sort(x)
others = len(os.listdir("/proc/self/task"))
def threads_of_a_sort():
    np.testing.assert_array_equal(w.sort(x), expected)
    assert loader.runtime().thread_count() == w.get_num_threads()
    return len(os.listdir("/proc/self/task")) - others + 1
"""


def large(code, cache, **variables):
    done = children.run(f"{_LARGE}{code}", WARP_SORT_CACHE_DIR=cache, **variables)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_num_threads_set_before_the_first_call_are_used(warm_cache):
    """OMP_NUM_THREADS is not even read."""
    code = "w.set_num_threads(3)\nassert threads_of_a_sort() == 3"
    large(code, warm_cache, OMP_NUM_THREADS="nonsense")


def test_num_threads_set_after_a_call_are_more_or_fewer(warm_cache):
    code = """
assert threads_of_a_sort() == 2
for count in (5, 1, 3, 6):
    w.set_num_threads(count)
    assert w.get_num_threads() == count
    assert threads_of_a_sort() == max(count, {1: 5, 3: 5}.get(count, count))
"""
    large(code, warm_cache, OMP_NUM_THREADS="2")


def test_num_threads_hold_in_a_forked_child_and_can_be_set_there(warm_cache):
    code = """
w.set_num_threads(3)
assert threads_of_a_sort() == 3
if (child := os.fork()) == 0:
    others = len(os.listdir("/proc/self/task"))
    assert w.get_num_threads() == 3
    assert threads_of_a_sort() == 3
    w.set_num_threads(4)
    assert threads_of_a_sort() == 4
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert w.get_num_threads() == 3
"""
    large(code, warm_cache)


def test_num_threads_set_while_others_sort_are_right(warm_cache):
    code = """
import threading
def work():
    for _ in range(10):
        np.testing.assert_array_equal(w.sort(x), expected)
workers = [threading.Thread(target=work) for _ in range(4)]
for worker in workers: worker.start()
for count in (1, 4, 2, 7, 3) * 20:
    w.set_num_threads(count)
for worker in workers: worker.join()
assert w.get_num_threads() == loader.runtime().thread_count() == 3
"""
    large(code, warm_cache)


def test_get_num_threads_loads_nothing():
    code = (
        "import sys, warp_bitonic_sort as w; w.get_num_threads(); print('tvm_ffi' in sys.modules)"
    )
    assert children.run(code).stdout == "False\n"
