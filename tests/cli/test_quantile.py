"""The commands ``median`` and ``quantile``: files of the quantiles of rows."""

import ml_dtypes
import numpy as np
import pytest

from support.covering import pairwise
from support.npy_files import SHAPES_AND_AXES, check, invoke
from warp_bitonic_sort import median, quantile


@pytest.mark.parametrize(
    ("q", "shape_axis", "order", "nan", "chunk"),
    pairwise(
        [None, "0.3", "0,0.5,1"],
        SHAPES_AND_AXES,
        ["C", "F"],
        ["propagate", "omit"],
        [64, 0.003],
    ),
)
def test_quantiles_of_file_equal_those_of_its_array(tmp_path, q, shape_axis, order, nan, chunk):
    shape, axis = shape_axis
    source, out = tmp_path / "in.npy", tmp_path / "out.npy"
    array = np.asarray(np.random.default_rng(0).random(shape, np.float32), order=order)
    array[array > 0.99] = np.nan
    np.save(source, array)
    command = ["median"] if q is None else ["quantile", "-q", q]
    result = invoke(*command, source, out, "--axis", axis, "--nan", nan, "--chunk-size", chunk)
    assert (result.exit_code, result.output) == (0, "")
    if q is None:
        want = median(array, axis=axis, nan=nan)
    else:
        points = [float(word) for word in q.split(",")]
        want = quantile(array, points if len(points) > 1 else points[0], axis=axis, nan=nan)
    assert want.dtype == np.float32
    check(out, np.asarray(want), order)


@pytest.mark.parametrize("chunk", [64, 0.0002])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_quantiles_of_file_in_column_major_order_equal_those_of_its_array(tmp_path, axis, chunk):
    source, out = tmp_path / "in.npy", tmp_path / "out.npy"
    array = np.asfortranarray(np.random.default_rng(1).random((40, 5, 6)))
    np.save(source, array)
    result = invoke("quantile", source, out, "-q", "0.2,0.7", "--axis", axis, "--chunk-size", chunk)
    assert (result.exit_code, result.output) == (0, "")
    check(out, quantile(array, [0.2, 0.7], axis=axis), "F")


def test_median_of_file_of_integers_is_float64(tmp_path):
    path = tmp_path / "in.npy"
    np.save(path, np.arange(64, dtype=np.int64).reshape(2, 32))
    assert invoke("median", path, path).exit_code == 0
    result = np.load(path)
    assert result.dtype == np.float64
    assert result.tolist() == [15.5, 47.5]


def test_quantile_of_file_of_bfloat16_keeps_its_dtype(tmp_path):
    path = tmp_path / "in.npy"
    np.save(path, np.array([[3, 1, 2]], ml_dtypes.bfloat16))
    options = ["-q", "0.7", "--method", "higher", "--dtype", "bfloat16"]
    assert invoke("quantile", path, path, *options).exit_code == 0
    assert np.load(path).view(ml_dtypes.bfloat16).tolist() == [3]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-q", "1.5"], "expected numbers from 0 to 1, got 1.5"),
        (["-q", "0.5,x"], "'0.5,x' is not a list of numbers"),
        (["-q", "0.5", "--method", "hazen"], "'hazen' is not one of"),
        (["-q", "0.5", "--nan", "last"], "'last' is not one of"),
        (["-q", "0.5", "--axis", "2"], "expected -2 to 1"),
        (["-q", "0.5", "--axis", "1"], "'--axis': rows of"),
        ([], "Missing option '-q'"),
    ],
)
def test_quantile_with_wrong_options_makes_the_command_line_wrong(tmp_path, options, said):
    np.save(tmp_path / "in.npy", np.ones((2, 0)))
    result = invoke("quantile", tmp_path / "in.npy", tmp_path / "out.npy", *options)
    assert (result.exit_code, said in result.output) == (2, True), result.output
    assert not (tmp_path / "out.npy").exists()


def test_median_of_file_of_float8_changes_nothing(tmp_path):
    np.save(tmp_path / "in.npy", np.ones((2, 9), ml_dtypes.float8_e4m3fn))
    (tmp_path / "out.npy").write_bytes(b"old")
    result = invoke("median", tmp_path / "in.npy", tmp_path / "out.npy", "--dtype", "float8_e4m3fn")
    assert (result.exit_code, "convert x to float16 or float32" in result.output) == (1, True)
    assert (tmp_path / "out.npy").read_bytes() == b"old"
