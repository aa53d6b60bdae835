"""The command ``topk``: files of the first elements of sorted rows, and of their indices."""

import ml_dtypes
import numpy as np
import pytest

from support.covering import pairwise
from support.npy_files import SHAPES_AND_AXES, check, invoke, values
from warp_bitonic_sort.operations import top_k as selecting

OLD = b"the old file"


def expected(array, k, axis, smallest):
    """The first k values along an axis, and their indices."""
    array = array.reshape(array.shape or (1,))
    order = np.argsort(array if smallest else -array, axis, kind="stable")
    order = order.take(range(k), axis)
    return np.take_along_axis(array, order, axis), order


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "in.npy", values((100, 50)))
    return tmp_path


@pytest.mark.parametrize(
    ("shape_axis", "k", "smallest", "order", "index_dtype", "chunk"),
    pairwise(
        SHAPES_AND_AXES,
        [0, 1, 3, "all"],
        [False, True],
        ["C", "F"],
        ["int32", "int64", None, "no indices"],
        [64, 0.003],
    ),
)
def test_topk_of_file_equals_a_stable_sort(
    tmp_path, shape_axis, k, smallest, order, index_dtype, chunk
):
    shape, axis = shape_axis
    length = shape[axis] if shape else 1
    k = length if k == "all" else min(k, length)
    source, out, indices = (tmp_path / name for name in ("in.npy", "out.npy", "indices.npy"))
    array = np.asarray(values(shape), order=order)
    np.save(source, array)
    options = ["-k", k, "--axis", axis, "--chunk-size", chunk, *["--smallest"] * smallest]
    if index_dtype != "no indices":
        options += ["--indices", indices]
        options += ["--index-dtype", index_dtype] if index_dtype else []
    result = invoke("topk", source, out, *options)
    assert (result.exit_code, result.output) == (0, "")
    want, places = expected(array, k, axis, smallest)
    check(out, want, order)
    assert indices.exists() == (index_dtype != "no indices")
    if indices.exists():
        check(indices, places.astype(index_dtype or np.int64), order)


@pytest.mark.parametrize("stored", [">f4", "<i8", "?", "V2"])
def test_topk_of_file_keeps_its_dtype(tmp_path, stored):
    dtype = ml_dtypes.bfloat16 if stored == "V2" else stored
    array = values((4, 50)).astype(dtype)
    np.save(tmp_path / "in.npy", array.view("V2") if stored == "V2" else array)
    options = ["--dtype", "bfloat16"] if stored == "V2" else []
    assert invoke("topk", tmp_path / "in.npy", tmp_path / "o.npy", "-k", 3, *options).exit_code == 0
    result = np.load(tmp_path / "o.npy")
    assert result.dtype.str == np.load(tmp_path / "in.npy").dtype.str
    want = np.sort(array.astype(np.float64))[:, :-4:-1]
    np.testing.assert_array_equal(result.view(dtype).astype(np.float64), want)


@pytest.mark.parametrize(("nan", "count"), [("largest", 2), ("last", 1)])
def test_topk_of_file_with_nan_takes_it_first_or_last(tmp_path, nan, count):
    np.save(tmp_path / "in.npy", np.float32([[1, np.nan, 2, np.nan]]))
    result = invoke("topk", tmp_path / "in.npy", tmp_path / "out.npy", "-k", 3, "--nan", nan)
    assert result.exit_code == 0
    assert np.isnan(np.load(tmp_path / "out.npy")).sum() == count


def test_topk_of_file_onto_itself_replaces_it(folder):
    assert invoke("topk", folder / "in.npy", folder / "in.npy", "-k", 8).exit_code == 0
    check(folder / "in.npy", expected(values((100, 50)), 8, 1, False)[0], "C")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Missing option '-k'"),
        (["-k", "51"], "'-k': expected 0 to 50 for rows of length 50 in in.npy, got 51."),
        (["-k", "101", "--axis", "0"], "'-k': expected 0 to 100 for rows of length 100"),
        (["-k", "-1"], "Invalid value for '-k'"),
        (["-k", "2.5"], "'2.5' is not a valid integer"),
        (["-k", "3", "--descending"], "No such option"),
        (["-k", "3", "--axis", "2"], "expected -2 to 1"),
        (["-k", "3", "--index-dtype", "int32"], "--index-dtype needs --indices"),
        (["-k", "3", "--indices", "OUT"], "'--indices': expected another file than OUT"),
    ],
)
def test_topk_with_wrong_options_makes_the_command_line_wrong(folder, monkeypatch, options, said):
    monkeypatch.chdir(folder)
    result = invoke("topk", "in.npy", "OUT", *options)
    assert (result.exit_code, said in result.output) == (2, True), result.output
    assert [path.name for path in folder.iterdir()] == ["in.npy"]


@pytest.mark.parametrize("command", ["top_k", "top-k"])
def test_command_of_the_function_top_k_names_topk(command):
    result = invoke(command, "in.npy", "out.npy", "-k", 3)
    assert (result.exit_code, "Did you mean topk?" in result.output) == (2, True)


@pytest.mark.parametrize("error", [MemoryError(), ValueError("x: said"), KeyboardInterrupt()])
def test_topk_with_an_error_in_the_middle_replaces_neither_file(folder, monkeypatch, error):
    real, calls = selecting.top_k, []

    def failing(*arguments, **options):
        calls.append(1)
        if len(calls) > 2:
            raise error
        return real(*arguments, **options)

    monkeypatch.setattr(selecting, "top_k", failing)
    (folder / "out.npy").write_bytes(OLD)
    result = invoke(
        "topk", folder / "in.npy", folder / "out.npy", "-k", 3, "--indices", folder / "i.npy",
        "--chunk-size", 0.001
    )  # fmt: skip
    assert result.exit_code == 1
    assert (folder / "out.npy").read_bytes() == OLD
    assert sorted(path.name for path in folder.iterdir()) == ["in.npy", "out.npy"]


def test_explain_of_a_selection_needs_k():
    said = invoke("explain", "9x40", "--operation", "kthvalue", "-k", 30).output
    assert "copies element 30 of each row" in said
    for options, said in [
        ([], "Invalid value for '-k': expected an integer, got None; top_k needs a k."),
        (["-k", 10], "Invalid value for '-k': expected 0 to 9 for rows of length 9, got 10."),
    ]:
        result = invoke("explain", "9x9", "--operation", "top_k", *options)
        assert (result.exit_code, said in result.output) == (2, True), result.output
