"""The pages of benchmarks are those that benchmarks/report.py makes of the data beside them."""

import json
import re

import matplotlib
import pytest
import report

DATA = report.FOLDER / "data"
FILES = report.files_of(DATA)
MACHINE = {
    "date": "2020-02-03",
    "command": "python benchmarks/sort_cpu.py --json FILE",
    "cpu": "A Processor",
    "cores": 4,
    "threads": 1,
    "load": 0.1,
    "arch": "x86-64-avx2",
    "python": "3.99",
    "versions": {"numpy": "2.99", "torch": "not installed"},
    "compiler": "g++ 99",
}


def made_of(folder, name, rows, **machine):
    """Return the files for one file of data."""
    (folder / f"{name}.json").write_text(json.dumps({"machine": MACHINE | machine, **rows}))
    return report.files_of(folder)


def drawn(svg):
    """Return what a drawing shows, whatever version of matplotlib drew it."""
    return sorted(re.findall(r">([^<>]+)</text>", svg)), len(re.findall(r'id="line2d_\d+"', svg))


def test_folder_holds_the_generated_files_and_one_page_by_hand():
    assert {path.name for path in report.FOLDER.glob("*.*")} == {*FILES, "older.md"}


@pytest.mark.parametrize("name", FILES)
def test_file_is_what_the_data_make(name):
    written = (report.FOLDER / name).read_text()
    if not name.endswith(".svg") or f"Matplotlib v{matplotlib.__version__}," in written:
        same = written == FILES[name]  # a difference of two drawings would fill the screen
        assert same, "run python benchmarks/report.py"
    else:
        assert drawn(written) == drawn(FILES[name])


@pytest.mark.parametrize("data", sorted(path.stem for path in DATA.glob("*.json")))
def test_data_stand_on_a_page_with_date_and_command(data):
    machine = json.loads((DATA / f"{data}.json").read_text())["machine"]
    (page,) = (text for text in FILES.values() if f"```text\n{machine['command']}\n```" in text)
    assert f"\n{machine['date']}: " in page
    assert f"--json docs/benchmarks/data/{data}.json" in machine["command"]


def test_losses_are_marked_listed_and_counted(tmp_path):
    rows = [
        {"dtype": "float32", "length": length, "seconds": {"ours": 1.0, "np.sort": s, "copy": 0.5}}
        for length, s in [(8, 2.0), (16, 0.9999), (32, 0.25)]
    ]
    files = made_of(tmp_path, "sort-cpu", {"rows": rows})
    cells = [cell.strip() for cell in re.findall(r"float32, np.sort \|(.*)\|", files["cpu.md"])]
    assert re.split(r" *\| *", *cells) == ["2.0", "**0.99 loses**", "**0.25 loses**"]
    losses = files["cpu.md"].partition("## Where it is slow or loses")[2]
    assert "- `sort`, float32: np.sort is faster at 16, 32 (0.25 to 0.99)." in losses
    assert losses.count("\n- ") == 1  # a copy is no peer
    assert re.search(r"\| +3 \| +2 \|$", files["index.md"], re.MULTILINE)
    assert "2020-02-03: A Processor, 4 cores, x86-64-avx2, 1 thread, load 0.1" in files["cpu.md"]
    assert "numpy 2.99" in files["cpu.md"]
    assert "torch not installed" not in files["cpu.md"]


@pytest.mark.parametrize(("load", "noisy"), [(0.1, False), (3.9, True)])
def test_page_of_a_noisy_machine_says_so(tmp_path, load, noisy):
    rows = [{"dtype": "int8", "length": 8, "seconds": {"ours": 1.0, "np.sort": 2.0}}]
    files = made_of(tmp_path, "sort-cpu", {"rows": rows}, load=load)
    assert ("**A noisy machine.**" in files["cpu.md"]) is noisy


def test_unknown_data_are_an_error(tmp_path):
    with pytest.raises(SystemExit, match="no page has a section for others"):
        made_of(tmp_path, "others", {"rows": []})
