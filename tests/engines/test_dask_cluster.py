"""Dask on two worker processes: cold caches, killed workers, threads, plugins."""

import contextlib
import os

import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster, wait

import warp_bitonic_sort as wbs
import warp_bitonic_sort.dask as facade
from support import children, oracle
from support.in_workers import built, in_large_call, killed_once, open_now, wait_for_both


@contextlib.contextmanager
def started(**environment):
    """A client of two workers in processes of their own, which have variables of their own."""
    given = {name: str(value) for name, value in environment.items()}
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "env": given}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def client():
    with started() as found:
        yield found


def computed(client, lazy):
    """The results of lazy arrays, computed together; they do not wait forever for lost workers."""
    futures = client.compute(lazy)
    wait(futures, timeout=120)
    return client.gather(futures)


def rows(name="float32", shape=(4000, 25)):
    return oracle.random(name, shape, np.random.default_rng(7))


def call_all(x, module, **chunks):
    """The results of all functions, for an array of NumPy or of Dask."""
    return [
        module.sort(x, descending=True),
        module.argsort(x, nan="last"),
        *module.sort_with_indices(x),
        *module.top_k(x, 3, nan="last", **chunks),
        module.median(x, nan="omit"),
        module.quantile(x, [0.1, 0.9]),
    ]


@pytest.mark.parametrize("name", ["float32", "bfloat16", "int64"])
@pytest.mark.parametrize("chunks", [(300, 25), (2000, 7)])
def test_results_of_two_workers_are_those_of_one_process(client, name, chunks):
    x = rows(name)
    found = computed(client, call_all(da.from_array(x, chunks=chunks), facade))
    for array, same in zip(found, call_all(x, wbs), strict=True):
        np.testing.assert_array_equal(oracle.bits(array), oracle.bits(same), strict=True)


@pytest.mark.parametrize("chunks", [(250, 25), (1000, 7)])
def test_block_of_killed_worker_is_done_again(client, chunks, tmp_path):
    x = rows()
    lazy = da.from_array(x, chunks=chunks)
    before = set(client.run(os.getpid).values())
    dying = lazy.map_blocks(killed_once, file=tmp_path / "killed", dtype=x.dtype, meta=lazy._meta)
    values, indices = facade.top_k(dying, 5)
    found = computed(client, [facade.sort(dying), values, indices])
    expected = [wbs.sort(x), *wbs.top_k(x, 5)]
    for array, same in zip(found, expected, strict=True):
        np.testing.assert_array_equal(oracle.bits(array), oracle.bits(same), strict=True)
    assert (tmp_path / "killed").exists()
    client.wait_for_workers(2, timeout=60)
    assert set(client.run(os.getpid).values()) != before


def test_workers_use_the_threads_that_dask_allows(client):
    """Dask sets OMP_NUM_THREADS to 1 for its workers."""
    assert client.run(os.environ.get, "OMP_NUM_THREADS") == dict.fromkeys(
        client.scheduler_info()["workers"], "1"
    )
    client.run(wbs.sort, np.zeros((2, 25), np.float32))  # loads the runtime
    assert set(client.run(in_large_call).values()) == {(1, 0)}


def test_workers_with_a_cold_cache_compile_each_kernel_once(tmp_path):
    """Two workers open the same kernels at the same time; a third finds them warmed up."""
    compiler, compiled = children.counting(tmp_path)
    x, begun = rows(), tmp_path / "begun"
    begun.mkdir()
    with started(WARP_SORT_CACHE_DIR=tmp_path / "cache", CXX=compiler, OMP_NUM_THREADS=2) as client:
        lazy = da.from_array(x, chunks=(500, 25))
        lazy = lazy.map_blocks(wait_for_both, folder=begun, dtype=x.dtype, meta=lazy._meta)
        results = computed(client, [facade.sort(lazy), facade.argsort(lazy)])
        np.testing.assert_array_equal(oracle.bits(results[0]), oracle.bits(wbs.sort(x)))
        np.testing.assert_array_equal(results[1], wbs.argsort(x))
        assert len(list(begun.iterdir())) == 2
        done = compiled()
        assert len(done) == len(set(done)) == 3  # the runtime and two kernels
        assert set(client.run(in_large_call).values()) == {(2, 1)}

        client.register_plugin(facade.WarmUp("int8", 4))
        done = compiled()
        assert len(done) == len(set(done)) > 3
        opened = client.run(open_now)
        assert len(opened) == 2
        warmed = {name for name in done if "integer8" in name}
        assert warmed
        assert all(warmed <= set(names) for names in opened.values())

        client.cluster.scale(3)
        client.wait_for_workers(3, timeout=60)
        (new,) = set(client.run(open_now)) - set(opened)
        assert warmed <= set(client.run(open_now, workers=[new])[new])
        assert client.run(built, workers=[new]) == {new: []}
        y = np.random.default_rng(0).integers(-9, 9, (100, 4), np.int8)
        lazy = da.from_array(y, chunks=(10, 4))
        np.testing.assert_array_equal(facade.sort(lazy).compute(), wbs.sort(y))
        assert compiled() == done


def test_errors_of_builds_reach_the_caller(tmp_path):
    with started(WARP_SORT_CACHE_DIR=tmp_path, CXX="/nonexistent/c++") as client:
        with pytest.raises(wbs.ToolError, match="CXX: '/nonexistent/c"):
            facade.sort(da.zeros((4, 5), chunks=(2, 5))).compute()
        with pytest.raises(wbs.ToolError, match="CXX: '/nonexistent/c"):
            client.register_plugin(facade.WarmUp("float32", 9))
