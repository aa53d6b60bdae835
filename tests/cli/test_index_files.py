"""Files of indices: the command ``argsort``, and ``sort --indices``."""

import os
from pathlib import Path

import numpy as np
import pytest

from support.covering import pairwise
from support.npy_files import SHAPES_AND_AXES, check, invoke, values
from warp_bitonic_sort.operations import argsort as indexing

OLD = b"the old file"


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "in.npy", values((100, 50)))
    return tmp_path


@pytest.mark.parametrize(
    ("command", "shape_axis", "order", "index_dtype", "chunk"),
    pairwise(
        ["argsort", "sort"],
        SHAPES_AND_AXES,
        ["C", "F"],
        ["int32", "int64", None],
        [64, 0.003],
    ),
)
def test_files_of_indices_equal_stable_argsort(
    tmp_path, command, shape_axis, order, index_dtype, chunk
):
    shape, axis = shape_axis
    source, out, indices = (tmp_path / name for name in ("in.npy", "out.npy", "indices.npy"))
    array = np.asarray(values(shape), order=order)
    np.save(source, array)
    targets = [indices] if command == "argsort" else [out, "--indices", indices]
    options = ["--index-dtype", index_dtype] if index_dtype else []
    result = invoke(command, source, *targets, "--axis", axis, "--chunk-size", chunk, *options)
    assert (result.exit_code, result.output) == (0, "")
    want = np.argsort(array, axis, kind="stable") if shape else np.zeros((), np.int64)
    check(indices, want.astype(index_dtype or np.int64), order)
    if command == "sort":
        check(out, np.sort(array, axis) if shape else array, order)


def test_argsort_of_file_descending_keeps_ties_in_order(folder):
    result = invoke("argsort", folder / "in.npy", folder / "i.npy", "--descending")
    assert result.exit_code == 0
    want = np.argsort(-values((100, 50)), kind="stable")
    np.testing.assert_array_equal(np.load(folder / "i.npy"), want)


def test_argsort_of_file_onto_itself_replaces_it(folder):
    assert invoke("argsort", folder / "in.npy", folder / "in.npy").exit_code == 0
    want = np.argsort(values((100, 50)), kind="stable")
    np.testing.assert_array_equal(np.load(folder / "in.npy"), want)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--indices", "OUT"], "'--indices': expected another file than OUT"),
        (["--indices", "./in.npy"], "'--indices': expected another file than IN"),
        (["--indices", "-"], "'-' would be standard input or output"),
        (["--indices", "no/i.npy"], "there is no folder"),
        (["--index-dtype", "int32"], "--index-dtype needs --indices"),
        (["--index-dtype", "int16", "--indices", "i.npy"], "'int16' is not one of"),
        (["--indices", "i.npy", "--axis", "2"], "expected -2 to 1"),
    ],
)
def test_sort_with_wrong_options_of_indices_makes_the_command_line_wrong(
    folder, monkeypatch, options, said
):
    monkeypatch.chdir(folder)
    result = invoke("sort", "in.npy", "OUT", *options)
    assert (result.exit_code, said in result.output) == (2, True), result.output
    assert [path.name for path in folder.iterdir()] == ["in.npy"]


@pytest.mark.parametrize("command", ["ranks", "sort-with-indices"])
def test_command_of_a_function_without_one_names_sort_indices(command):
    result = invoke(command, "in.npy", "out.npy")
    assert result.exit_code == 2
    assert f"No such command '{command}'" in result.output
    assert "The command sort --indices writes" in result.output


def test_sort_with_a_file_of_indices_that_cannot_be_written_changes_nothing(folder):
    (folder / "out.npy").write_bytes(OLD)
    result = invoke("sort", folder / "in.npy", folder / "out.npy", "--indices", "/dev/null")
    assert (result.exit_code, "expected a regular file or none" in result.output) == (1, True)
    assert (folder / "out.npy").read_bytes() == OLD
    assert sorted(path.name for path in folder.iterdir()) == ["in.npy", "out.npy"]


@pytest.mark.parametrize("error", [MemoryError(), ValueError("x: said"), KeyboardInterrupt()])
def test_sort_with_an_error_in_the_middle_replaces_neither_file(folder, monkeypatch, error):
    real, calls = indexing.sort_with_indices, []

    def failing(x, **options):
        calls.append(1)
        if len(calls) > 2:
            raise error
        return real(x, **options)

    monkeypatch.setattr(indexing, "sort_with_indices", failing)
    (folder / "out.npy").write_bytes(OLD)
    result = invoke(
        "sort", folder / "in.npy", folder / "out.npy", "--indices", folder / "i.npy",
        "--chunk-size", 0.001
    )  # fmt: skip
    assert result.exit_code == 1
    assert (folder / "out.npy").read_bytes() == OLD
    assert sorted(path.name for path in folder.iterdir()) == ["in.npy", "out.npy"]


@pytest.mark.parametrize("is_old_there", [True, False])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_sort_whose_second_file_is_not_replaced_restores_the_first(
    folder, monkeypatch, is_old_there, error
):
    out, indices = folder / "out.npy", folder / "i.npy"
    if is_old_there:
        out.write_bytes(OLD)
    indices.write_bytes(OLD)
    real, renamed = Path.replace, []

    def replace(self, target):
        if target == indices and not renamed.count(target):
            renamed.append(target)
            raise error
        renamed.append(target)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    result = invoke("sort", folder / "in.npy", out, "--indices", indices)
    assert result.exit_code == 1
    assert renamed[:2] == [out, indices]
    assert out.exists() == is_old_there
    assert not is_old_there or out.read_bytes() == OLD
    assert indices.read_bytes() == OLD
    expected = {"in.npy", "i.npy"} | ({"out.npy"} if is_old_there else set())
    assert {path.name for path in folder.iterdir()} == expected


def test_sort_with_indices_through_links_replaces_their_targets(folder):
    (folder / "link.npy").symlink_to("real.npy")
    (folder / "i.npy").write_bytes(OLD)
    os.link(folder / "i.npy", folder / "hard.npy")
    result = invoke("sort", folder / "in.npy", folder / "link.npy", "--indices", folder / "i.npy")
    assert result.exit_code == 0
    assert (folder / "link.npy").is_symlink()
    np.testing.assert_array_equal(np.load(folder / "real.npy"), np.sort(values((100, 50))))
    want = np.argsort(values((100, 50)), kind="stable")
    np.testing.assert_array_equal(np.load(folder / "i.npy"), want)
    assert (folder / "hard.npy").read_bytes() == OLD
