"""`warp_bitonic_sort.ray` on Ray with two CPUs: its results are those of one call, bit for bit."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import ray
import ray.data
from ray.data.extensions import ArrowTensorArray

import warp_bitonic_sort as wbs
from support import children, oracle
from warp_bitonic_sort import ray as wray
from warp_bitonic_sort.ray import _batches, _functions

DTYPES = [name for name in oracle.ALL if not name.startswith(("bfloat", "float8"))]
BLOCKS, LENGTH = 4, 9
FLOATS = np.random.default_rng(0).random((400, LENGTH), np.float32)


@pytest.fixture(scope="module", autouse=True)
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        # Dask sets it for its workers, and leaves it to the process that starts them. Ray's workers
        # would have it, too.
        patch.delenv("OMP_NUM_THREADS", raising=False)
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.verbose_progress = False
    yield
    ray.shutdown()


def dataset(**columns):
    """A dataset of several blocks, with the number of each row in a column."""
    count = len(next(iter(columns.values())))
    columns = {"row": np.arange(count), **columns}
    tables = []
    for part in np.array_split(np.arange(count), BLOCKS):
        table = {
            name: ArrowTensorArray.from_numpy(x[part]) if x.ndim > 1 else pa.array(x[part])
            for name, x in columns.items()
        }
        tables.append(pa.table(table))
    return ray.data.from_arrow(tables)


def collected(ds):
    """The columns of a dataset, with its rows in the order of their numbers."""
    batches = [*ds.iter_batches(batch_size=None, batch_format="numpy")]
    order = np.argsort(np.concatenate([batch["row"] for batch in batches]))
    return {name: np.concatenate([batch[name] for batch in batches])[order] for name in batches[0]}


def assert_same(found, expected):
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(
        oracle.bits(found), oracle.bits(np.asarray(expected)), strict=True
    )


@pytest.mark.parametrize("order", [{}, {"descending": True, "nan": "last"}], ids=str)
def test_sort_of_every_dtype_equals_that_of_one_machine(order):
    rng = np.random.default_rng(1)
    x = {name: oracle.random(name, (50, LENGTH), rng) for name in DTYPES}
    ds = wray.sort(dataset(**x), DTYPES, into=[f"sorted {name}" for name in DTYPES], **order)
    result = collected(ds)
    for name in DTYPES:
        assert_same(result[f"sorted {name}"], wbs.sort(x[name], **order))
        oracle.check(x[name], result[f"sorted {name}"], **order)
        assert_same(result[name], x[name])


def test_selections_equal_those_of_one_machine():
    rng = np.random.default_rng(2)
    x = oracle.random("float32", (80, LENGTH), rng)
    planes = rng.integers(-9, 9, (80, 2, LENGTH), dtype=np.int16)
    ds = wray.top_k(dataset(x=x, planes=planes), ["x", "planes"], 3, mode="smallest", nan="last",
                    index_dtype="int32", into=[("v", "i"), ("planes", "j")])  # fmt: skip
    ds = wray.median(ds, "x", into="median", nan="omit")
    ds = wray.quantile(ds, "x", 0.3, into="quantile", method="lower")
    ds = wray.quantile(ds, "x", [0.25, 0.75], into="quantiles")
    result = collected(wray.top_k(ds, "x", 1))
    best = wbs.top_k(x, 3, mode="smallest", nan="last", index_dtype="int32")
    best_of_planes = wbs.top_k(planes, 3, mode="smallest", index_dtype="int32")
    expected = {
        "v": best.values,
        "i": best.indices,
        "planes": best_of_planes.values,
        "j": best_of_planes.indices,
        "median": wbs.median(x, nan="omit"),
        "quantile": wbs.quantile(x, 0.3, method="lower"),
        "quantiles": np.moveaxis(wbs.quantile(x, [0.25, 0.75]), 0, -1),
        "x": wbs.top_k(x, 1).values,
        "x_indices": wbs.top_k(x, 1).indices,
    }
    assert set(result) == {"row", *expected}
    for name, array in expected.items():
        assert_same(result[name], np.ascontiguousarray(array))


@pytest.mark.parametrize(
    "options",
    [
        {"compute": ray.data.TaskPoolStrategy(size=1)},
        {"compute": ray.data.ActorPoolStrategy(size=1), "num_cpus": 2},
        {"batch_size": 7, "zero_copy_batch": False},
    ],
    ids=["tasks", "actors", "batches"],
)
def test_options_of_map_batches_are_passed_on(options):
    result = collected(wray.sort(dataset(x=FLOATS), "x", **options))
    assert_same(result["x"], np.sort(FLOATS))


def test_lists_of_one_length_are_sorted(tmp_path):
    lists = pa.array(FLOATS.tolist(), pa.list_(pa.float32()))
    table = pa.table({"row": np.arange(len(FLOATS)), "x": lists})
    pa.parquet.write_table(table, tmp_path / "rows.parquet")
    ds = ray.data.read_parquet(str(tmp_path))
    with pytest.raises(ValueError, match=r"column: expected a column .*'x'\), got 'y'"):
        wray.sort(ds, "y")
    assert_same(collected(wray.sort(ds, "x"))["x"], np.sort(FLOATS))


def test_blocks_are_sorted_in_the_object_store_by_the_threads_that_ray_allows():
    def seen(array):
        from pathlib import Path

        from warp_bitonic_sort import get_num_threads

        address = array.ctypes.data
        for line in Path("/proc/self/maps").read_text().splitlines():
            start, _, end = line.partition(" ")[0].partition("-")
            if int(start, 16) <= address < int(end, 16):
                return np.full((len(array), 2), ["plasma" in line, get_num_threads()])

    # Smaller blocks are sent to the workers, and not shared with them.
    x = np.zeros((200_000, LENGTH), np.float32)
    for cpus in (1, 2, 1):  # workers run tasks of several numbers of CPUs
        ds = _functions._mapped(
            dataset(x=x), "seen", seen, "x", None, ("x",), None, {"num_cpus": cpus}
        )
        found = collected(ds)["x"]
        np.testing.assert_array_equal(found, np.broadcast_to([1, cpus], found.shape))


def test_sort_of_a_dataset_advises_code_that_sorts_it():
    ds = dataset(name=FLOATS)
    with pytest.raises(TypeError, match=r'warp_bitonic_sort\.ray\.sort\(x, "name"\) sorts the a'):
        wbs.median(ds)
    assert_same(collected(wray.sort(ds, "name"))["name"], np.sort(FLOATS))


def test_batch_reaches_the_kernel_as_it_is():
    calls = []
    batch = {"x": FLOATS, "y": FLOATS[:, 0]}
    result = _batches.transform(batch, lambda x: calls.append(x) or x[:, 0], {"x": ["z"]})
    assert calls[0] is FLOATS
    assert result["x"] is FLOATS
    assert set(batch) == {"x", "y"}
    assert set(result) == {"x", "y", "z"}


def killing(folder):
    """A compiler that, the first time it compiles, kills the worker of Ray that started it."""
    return children.script(
        folder / "killing-c++",
        f"""
pid=$$
case "$*" in *source.cc*) while [ "$pid" -gt 1 ]; do
  case "$(cat /proc/$pid/cmdline)" in ray::*)
    mkdir {folder}/once && echo $pid >{folder}/killed && kill -9 $pid
    break
  esac
  pid=$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$pid/status)
done; esac
exec $CXX "$@"
""",
    )


def in_new_workers(**variables):
    """Options of workers that start with variables of their own."""
    return {"runtime_env": {"env_vars": {name: str(value) for name, value in variables.items()}}}


@pytest.mark.compile
@pytest.mark.parametrize("workers", ["tasks", "actors"])
def test_block_of_a_worker_that_is_killed_is_sorted_by_another(workers, tmp_path):
    options = in_new_workers(WARP_SORT_CACHE_DIR=tmp_path / "cache", CXX=killing(tmp_path))
    if workers == "actors":
        options["compute"] = ray.data.ActorPoolStrategy(size=1)
    result = collected(wray.sort(dataset(x=FLOATS), "x", **options))
    assert_same(result["x"], np.sort(FLOATS))
    (killed,) = (tmp_path / "killed").read_text().split()
    assert not Path(f"/proc/{killed}").exists()


@pytest.mark.compile
def test_workers_with_a_cold_cache_compile_each_kernel_once(tmp_path):
    compiler, compiled = children.counting(tmp_path)
    options = in_new_workers(WARP_SORT_CACHE_DIR=tmp_path / "cache", CXX=compiler)
    ds = wray.sort(dataset(x=FLOATS, y=FLOATS[:, :5]), ["x", "y"], **options)

    def add_worker(batch):
        return {**batch, "worker": np.full(len(batch["row"]), os.getpid())}

    result = collected(ds.map_batches(add_worker, batch_format="numpy", **options))
    assert len(set(result["worker"])) == 2
    assert_same(result["x"], np.sort(FLOATS))
    assert_same(result["y"], np.sort(FLOATS[:, :5]))
    found = compiled()
    assert len(found) == 3  # the runtime and two kernels
    assert len(set(found)) == 3


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda ds: wray.sort([ds], "x"), TypeError, "ds: expected a ray.data.Dataset, got list"),
        (lambda ds: wray.sort(ds, 3), TypeError, "column: expected a name, or a list"),
        (lambda ds: wray.sort(ds, []), ValueError, "column: expected the name of a column"),
        (lambda ds: wray.sort(ds, ["x", None]), TypeError, "column: expected the name of a col"),
        (lambda ds: wray.sort(ds, ["x", "x"]), ValueError, "column: expected different names"),
        (lambda ds: wray.sort(ds, "z"), ValueError, r"column .*\('row', 'x', .*\), got 'z'"),
        (lambda ds: wray.sort(ds, "when"), TypeError, r"dtype datetime64\[ns\] of 'when' cannot"),
        (lambda ds: wray.sort(ds, "row"), ValueError, r"arrays in 'row'.*ds.sort\('row'\)"),
        (lambda ds: wray.median(ds, "name"), ValueError, "got one value for each row"),
        (lambda ds: wray.sort(ds, "x", into=["y"]), TypeError, "into: expected the name of"),
        (lambda ds: wray.sort(ds, ["x"], into="y"), TypeError, "into: expected a name, or a list"),
        (lambda ds: wray.sort(ds, ["x"], into=[]), ValueError, "into: expected names for 1 col"),
        (lambda ds: wray.top_k(ds, "x", 1, into="y"), TypeError, r"into: expected 2 names \(val"),
        (lambda ds: wray.top_k(ds, "x", 1, into=["y"]), ValueError, "into: expected 2 names"),
        (lambda ds: wray.top_k(ds, "x", 1, into=["y", "y"]), ValueError, "into: expected diff"),
        (lambda ds: wray.top_k(ds, "x", 10), ValueError, "k: expected 0 to 9 for rows of len"),
        (lambda ds: wray.top_k(ds, "x", True), TypeError, "k: expected an integer, got True"),
        (lambda ds: wray.top_k(ds, "x", 1, mode="top"), ValueError, "mode: expected"),
        (lambda ds: wray.top_k(ds, "x", 1, index_dtype="u4"), ValueError, "index_dtype: expected"),
        (lambda ds: wray.sort(ds, "x", descending="no"), TypeError, "descending: expected True"),
        (lambda ds: wray.sort(ds, "x", nan="lst"), ValueError, 'nan: expected "largest" or'),
        (lambda ds: wray.median(ds, "x", nan="last"), ValueError, 'nan: expected "propagate" or'),
        (lambda ds: wray.quantile(ds, "x", 2), ValueError, "q: expected numbers from 0 to 1"),
        (lambda ds: wray.quantile(ds, "x", [[0]]), ValueError, "q: expected a number or a flat"),
        (lambda ds: wray.quantile(ds, "x", 0, method="m"), ValueError, "method: expected"),
        (lambda ds: wray.sort(ds, "x", batch_format="pandas"), TypeError, "batch_format: this op"),
    ],
)
def test_wrong_argument_raises_before_a_task_runs(call, error, text):
    ds = dataset(x=FLOATS, name=np.full(len(FLOATS), "a"), when=FLOATS.astype("datetime64[ns]"))
    with pytest.raises(error, match=text):
        call(ds)


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({"y": [[1.0]]}, "column: expected a column of the dataset"),
        ({"x": [1.0, 2.0]}, "column: expected arrays in 'x', got one value for each row"),
        ({"x": [[1.0], [2.0, 3.0]]}, r"one shape in 'x', got \(1,\) and \(2,\) in one block"),
        ({"x": [[1.0], None]}, "column: expected an array in each row of 'x', got 1 without one"),
        ({"x": [["a"], ["b"]]}, "column: dtype (str|object) of 'x' cannot be sorted here"),
    ],
    ids=str,
)
def test_unfit_column_of_an_unknown_schema_raises_in_the_task(columns, text):
    ds = ray.data.from_arrow(pa.table(columns)).map_batches(lambda batch: batch)
    assert ds.schema(fetch_if_missing=False) is None
    with pytest.raises(ray.exceptions.RayTaskError, match=text):
        wray.sort(ds, "x").materialize()
