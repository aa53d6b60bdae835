"""The command ``cache``: its lists, its check for damage, and its removals."""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from support import children
from support.children import ANSWER, KERNEL, OTHER_ANSWER, OTHER_SORT, SORT
from warp_bitonic_sort import kernels
from warp_bitonic_sort.cli import main
from warp_bitonic_sort.jit.store import inventory, locks, maintenance, publish
from warp_bitonic_sort.targets import HOST

NAMES = sorted(["runtime", KERNEL.name])


def invoke(*arguments, status=0):
    result = CliRunner().invoke(main, ["cache", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.output


def edit(entry, **changes):
    """Change fields of an entry's manifest; None removes one."""
    file = entry / "manifest.json"
    said = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({name: value for name, value in said.items() if value is not None}))


def another(entry, *, days, size=0):
    """A copy of an entry that was built and used some days ago and is so much bigger."""
    then = int(time.time()) - days * 86400
    target = children.copy(entry, entry.with_name(f"copy{days}"))
    edit(target, created=then)
    (target / "ballast.bin").write_bytes(bytes(size))
    os.utime(target / "library.so", (then, then))
    return target


# -- path, list -----------------------------------------------------------------------------------


def test_cache_help_names_every_command():
    for command in ("path", "list", "verify", "clear", "prune"):
        assert command in invoke("--help")
        assert f"warp-bitonic-sort cache {command}" in invoke("--help")
        assert "Usage" in invoke(command, "--help")


def test_cache_path_prints_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(tmp_path / "here"))
    assert invoke("path") == f"{tmp_path / 'here'}\n"
    assert not (tmp_path / "here").exists()
    folder = os.fsencode(tmp_path) + b"/\xff"
    done = children.program("cache", "path", WARP_SORT_CACHE_DIR=os.fsdecode(folder), LC_ALL="C")
    assert done.stdout == f"{os.fsdecode(folder)}\n", done.stderr


def test_list_shows_the_cache_and_the_layers(cache_copy, whole_layer, monkeypatch):
    monkeypatch.setenv("WARP_SORT_CACHE_LAYERS", str(whole_layer))
    text = invoke("list")
    assert "2 artifacts, " in text
    assert f" in {cache_copy} (user)" in text
    assert "4 artifacts, " in text
    assert f" in {whole_layer} (layer)" in text
    assert text.count(KERNEL.name) == 2
    listed = json.loads(invoke("list", "--json"))
    assert [each["name"] for each in listed if each["layer"] == "user"] == NAMES
    assert len([each for each in listed if each["layer"] == "layer"]) == 4
    for each in listed:
        assert each["root"] == str(whole_layer if each["layer"] == "layer" else cache_copy)
        access = "columns" if "_columns_" in each["name"] else "rows"
        arch = HOST.kernel_arch(KERNEL.arch, "none", access)
        assert each["arch"] == (kernels.RUNTIME.arch if each["name"] == "runtime" else arch)
        assert each["size"] > 1000
        assert 0 <= time.time() - each["created"] < 3600


def test_cache_commands_without_a_cache_find_nothing(fresh_cache):
    assert "0 artifacts" in invoke("list")
    assert json.loads(invoke("list", "--json")) == []
    assert "0 of 0" in invoke("verify")
    assert "0 files" in invoke("prune", "--keep", 0)
    assert "0.0 MB" in invoke("clear")
    assert not fresh_cache.exists()


# -- verify ---------------------------------------------------------------------------------------


def test_verify_of_a_sound_cache_changes_nothing(cache_copy, whole_layer, monkeypatch):
    monkeypatch.setenv("WARP_SORT_CACHE_LAYERS", str(whole_layer))
    assert invoke("verify") == "6 of 6 artifacts are sound\n"
    assert children.leftovers(cache_copy) != []  # the locks' files: it changes nothing


def _flip(entry):
    library = entry / "library.so"
    data = bytearray(library.read_bytes())
    data[len(data) // 2] ^= 1
    library.write_bytes(data)


_DAMAGE = {
    "a flipped bit": (_flip, "bytes have changed"),
    "no product": (lambda entry: (entry / "library.so").unlink(), "cannot be read"),
    "no manifest": (lambda entry: (entry / "manifest.json").unlink(), "cannot be read"),
    "half a manifest": (
        lambda entry: (entry / "manifest.json").write_text('{"name": '),
        "cannot be read",
    ),
    "another's manifest": (lambda entry: edit(entry, name="runtime"), "another artifact's"),
    "another target": (lambda entry: edit(entry, arch="gfx942"), "not for gfx942"),
    "another compiler": (lambda entry: edit(entry, compiler="c++ 1"), "not what was published"),
    "other headers": (lambda entry: edit(entry, dependencies={}), "not what was published"),
    "no headers": (lambda entry: edit(entry, dependencies=None), "not what was published"),
    "another layer's": (lambda entry: edit(entry, layer_build="0"), "not what was published"),
    "another key": (lambda entry: entry.rename(entry.with_name("0")), "not what was published"),
}


@pytest.mark.parametrize("damage", _DAMAGE)
@pytest.mark.parametrize("where", ["user", "layer"])
def test_verify_names_what_is_damaged(cache_copy, tmp_path, monkeypatch, damage, where):
    if where == "layer":
        monkeypatch.setenv("WARP_SORT_CACHE_LAYERS", str(cache_copy))
        monkeypatch.setenv("WARP_SORT_CACHE_DIR", str(tmp_path / "none"))
    harm, reason = _DAMAGE[damage]
    harm(children.folder_of(cache_copy, KERNEL))
    first, second = invoke("verify", status=1).splitlines()
    assert first.startswith(f"{children.folder_of(cache_copy, KERNEL)}: ")
    assert reason in first
    remedy = "It is compiled again when it is next wanted"
    if where == "layer":
        remedy = f"Fill the layer again (warp-bitonic-sort prewarm --into {cache_copy})."
    assert f". {remedy}" in first
    assert second == "1 of 2 artifacts are sound"
    if where == "user":
        assert "prune --damaged" in first
        assert "1 files and folders removed" in invoke("prune", "--damaged")
        assert invoke("verify") == "1 of 1 artifacts are sound\n"


# -- clear ----------------------------------------------------------------------------------------


@pytest.mark.compile
def test_clear_leaves_nothing(cache_copy):
    (cache_copy / "v1" / "logs").mkdir()
    (cache_copy / "v1" / "logs" / "a.log").touch()
    (cache_copy / "prewarm.json").touch()
    assert f"MB removed from {cache_copy}" in invoke("clear")
    assert list(cache_copy.iterdir()) == []
    done = children.run()
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")


def test_clear_does_not_disturb_a_build_under_way(cache_copy):
    staging = cache_copy / "v1" / "staging"
    ours, left = (staging / f"{publish.staging_prefix()}{name}" for name in ("ours", "left"))
    for folder in (ours, left):
        folder.mkdir(parents=True)
        (folder / publish.OWNER_LOCK).touch()
    with locks.try_acquire(ours / publish.OWNER_LOCK) as is_held:
        assert is_held
        invoke("clear")
        assert sorted(path.name for path in (cache_copy / "v1").iterdir()) == ["locks", "staging"]
        assert list(staging.iterdir()) == [ours]
        assert (ours / publish.OWNER_LOCK).exists()
    invoke("clear")
    assert list(cache_copy.iterdir()) == []


@pytest.mark.compile
def test_build_survives_a_clear(half_cache, tmp_path):
    """The cache is cleared while the compiler runs; what was built is published, and loads."""
    (tmp_path / "clear.py").write_text(
        "from pathlib import Path\n"
        "from warp_bitonic_sort.jit.store import maintenance\n"
        f"maintenance.clear(Path({str(half_cache)!r}))\n"
    )
    compiler = children.script(
        tmp_path / "clearing-c++",
        f'case "$*" in *source.cc*) {sys.executable} {tmp_path}/clear.py || exit 1;; esac\n'
        'exec $CXX "$@"',
    )
    done = children.run(CXX=compiler)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    children.assert_sound(half_cache, count=2)


def test_process_sorts_on_after_its_kernel_was_cleared(cache_copy):
    code = f"""
        {SORT}
        from warp_bitonic_sort import settings
        from warp_bitonic_sort.jit.store import maintenance
        maintenance.clear(settings.cache_dir())
        assert list(settings.cache_dir().iterdir()) == []
        {SORT}
        {OTHER_SORT}
        print(w.sort(np.float32([[3, 1, 2], [6, 5, 4]])).tolist())
    """
    done = children.run(code)
    assert done.stdout.splitlines() == [
        ANSWER,
        ANSWER,
        OTHER_ANSWER,
        "[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]",
    ], done.stderr
    children.assert_sound(cache_copy, count=1)


def test_kernel_removed_between_look_up_and_opening_is_built_again(cache_copy):
    code = f"""
        from warp_bitonic_sort import settings
        from warp_bitonic_sort.jit.store import maintenance
        from warp_bitonic_sort.jit import loader
        real, opened = loader._open, []
        def removing(entry, *rest):
            opened.append(entry.folder)
            if len(opened) == 1:
                maintenance.clear(settings.cache_dir())
            return real(entry, *rest)
        loader._open = removing
        {SORT}
        assert opened == opened[:1] * 2, opened
    """
    done = children.run(code)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    children.assert_sound(cache_copy, count=1)


# -- prune ----------------------------------------------------------------------------------------


def test_prune_without_options_keeps_every_artifact(cache_copy):
    another(children.folder_of(cache_copy, KERNEL), days=1000)
    assert "0 files and folders removed" in invoke("prune")
    assert len(children.entries(cache_copy)) == 3


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--keep", 3], ["copy5", "copy9", "new", "runtime"]),
        (["--keep", 2], ["copy5", "new", "runtime"]),
        (["--keep", 0], []),
        (["--older", "1h"], ["new", "runtime"]),
        (["--older", "7d"], ["copy5", "new", "runtime"]),
        (["--older", "2w"], ["copy5", "copy9", "new", "runtime"]),
        (["--max-size", "2400k"], ["copy5", "new", "runtime"]),
        (["--max-size", "1200kb"], ["new", "runtime"]),
        (["--max-size", "1.5MiB"], ["copy5", "new", "runtime"]),
        (["--max-size", "0.001gib"], ["new", "runtime"]),
        (["--max-size", "2.4M"], ["copy5", "new", "runtime"]),
        (["--max-size", "2500000B"], ["copy5", "new", "runtime"]),
        (["--max-size", "1G"], ["copy5", "copy9", "new", "runtime"]),
        (["--max-size", "0"], []),
        (["--keep", 2, "--older", "1d", "--max-size", "100M"], ["new", "runtime"]),
    ],
)
def test_prune_with_options_keeps_what_they_allow(cache_copy, options, left):
    new = children.folder_of(cache_copy, KERNEL)
    another(new, days=5, size=1_200_000)
    another(new, days=9, size=1_200_000)

    def there():
        every = (cache_copy / "v1" / "entries").glob("*/*")
        names = [folder.name if folder.name.startswith("copy") else folder for folder in every]
        known = {new: "new"}
        return sorted(known.get(name, name if isinstance(name, str) else "runtime")
                      for name in names)  # fmt: skip

    everything = there()
    gone = len(everything) - len(left)
    said = invoke("prune", "--dry-run", *options)
    assert said.endswith(f"{gone} files and folders would be removed\n")
    assert there() == everything
    assert invoke("prune", *options).startswith(said.rpartition(f"{gone} files")[0])
    assert there() == sorted(left)
    assert children.leftovers(cache_copy) == []


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--keep", "-1", "x>=0"),
        ("--keep", "some", "'some'"),
        ("--older", "30", "'30' is not an age: expected a whole number with a unit, as 12h"),
        ("--older", "-1d", "'-1d' is not an age"),
        ("--older", "1y", "'1y' is not an age"),
        ("--older", "1.5d", "'1.5d' is not an age"),
        ("--max-size", "much", "'much' is not a size: expected a number with a unit, as 500M"),
        ("--max-size", "100", "'100' is not a size"),
        ("--max-size", "1.5", "'1.5' is not a size"),
        ("--max-size", "1.5.5M", "'1.5.5M' is not a size"),
        ("--max-size", ".5M", "'.5M' is not a size"),
        ("--max-size", "-1", "'-1' is not a size"),
        ("--max-size", "1T", "'1T' is not a size"),
    ],
)
def test_prune_with_a_wrong_option_is_refused(cache_copy, option, value, said):
    text = " ".join(invoke("prune", option, value, status=2).split())
    assert option in text
    assert said in text
    assert len(children.entries(cache_copy)) == 2


def test_prune_removes_what_a_killed_removal_left(cache_copy):
    code = """
        import os, signal
        from warp_bitonic_sort import settings
        from warp_bitonic_sort.jit.store import maintenance
        maintenance.shutil.rmtree = lambda _: os.kill(os.getpid(), signal.SIGKILL)
        maintenance.clear(settings.cache_dir())
    """
    killed = children.run(code)
    assert killed.returncode == -signal.SIGKILL
    assert list((cache_copy / "v1").glob("removed-*")) != []
    done = children.run()
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    children.grow_old(cache_copy)
    invoke("prune")
    assert children.leftovers(cache_copy) == []
    children.assert_sound(cache_copy, count=2)


def test_prune_leaves_locks_that_are_held(cache_copy):
    held = cache_copy / "v1" / "locks" / f"{KERNEL.name}.lock"
    with children.holder_of(cache_copy, KERNEL):
        invoke("prune")
        assert held.exists()
        assert held.with_suffix(".holder").exists()
        assert not held.with_name("runtime.lock").exists()
    invoke("prune")
    assert not held.parent.exists()


def test_concurrent_prunes_leave_a_sound_cache(cache_copy):
    entry = children.folder_of(cache_copy, KERNEL)
    for days in range(1, 41):
        another(entry, days=days)

    def prune(_):
        return CliRunner().invoke(main, ["cache", "prune", "--keep", "1"]).exit_code

    with ThreadPoolExecutor(4) as pool:
        # One output at a time is captured; removing is what is to be done at once.
        gone = [maintenance.prune(cache_copy, keep=1) for _ in range(4)]
        paths = [[item.folder for item in each] for each in gone]
        list(pool.map(lambda each: maintenance.remove(each, cache_copy), paths))
    assert prune(0) == 0
    children.assert_sound(cache_copy, count=2)


@pytest.mark.compile
def test_clear_of_a_read_only_cache_fails_and_damages_nothing(cache_copy):
    before = children.read_only(cache_copy)
    for command in (["clear"], ["prune", "--keep", "0"]):
        done = children.program("cache", *command, before=before)
        assert done.returncode == 1, done.stdout
        assert "cannot be removed: Read-only file system" in done.stderr
        assert "What is left is undamaged" in done.stderr
        assert "Traceback" not in done.stderr
    for command in (["list"], ["verify"], ["prune"], ["path"]):
        assert children.program("cache", *command, before=before).returncode == 0
    children.assert_sound(cache_copy, count=2)


def test_clear_and_prune_change_no_layer(whole_layer, cache_copy, monkeypatch):
    monkeypatch.setenv("WARP_SORT_CACHE_LAYERS", str(whole_layer))
    before = sorted(whole_layer.rglob("*"))
    invoke("prune", "--keep", 0)
    invoke("clear")
    assert sorted(whole_layer.rglob("*")) == before
    assert list(cache_copy.iterdir()) == []


def test_doctor_counts_the_entries_of_layers(whole_layer, cache_copy):
    done = children.program("doctor", "--no-build", "--json", WARP_SORT_CACHE_LAYERS=whole_layer)
    found = json.loads(done.stdout)["cache"]
    assert found["layers"] == {str(whole_layer): 4}
    assert (found["path"], found["entries"], found["left"]) == (str(cache_copy), 2, [])


def test_entry_of_an_unknown_target_is_listed_with_a_question_mark(cache_copy):
    """A later version may publish such an entry."""
    edit(children.folder_of(cache_copy, kernels.RUNTIME), target="something")
    (first, second) = inventory.entries(cache_copy)
    assert (first.target, second.target) == ("cpu", "?")
    assert "another artifact's" in inventory.verify(second)


def test_verify_does_not_count_as_use(cache_copy):
    """Prune goes by the time of the last use."""
    library = children.folder_of(cache_copy, KERNEL) / "library.so"
    then = int(time.time()) - 9 * 86400
    os.utime(library, (then, then))
    invoke("verify")
    assert library.stat().st_atime == then
    library.read_bytes()
    if library.stat().st_atime == then:
        pytest.skip("this file system does not note when a file is read")


@pytest.mark.parametrize("gone", ["the entry", "its artifact's folder", "the cache"])
@pytest.mark.parametrize("call", ["rename", "lstat", "scandir", "listdir", "mkdtemp", "open"])
def test_maintenance_while_another_process_removes_raises_nothing(
    cache_copy, monkeypatch, call, gone
):
    """At any moment of the call."""
    entry = children.folder_of(cache_copy, KERNEL)
    (cache_copy / "v1" / "entries" / "nothing").mkdir()
    folder = {"the entry": entry, "its artifact's folder": entry.parent}.get(gone, cache_copy)
    where = {"lstat": Path, "mkdtemp": tempfile}.get(call, os)
    real = getattr(where, call)

    def removing(*arguments, **named):
        monkeypatch.setattr(where, call, real)
        shutil.rmtree(folder)
        return real(*arguments, **named)

    for work in (
        lambda: maintenance.remove([entry], cache_copy),
        lambda: maintenance.tidy(cache_copy),
        lambda: maintenance.litter(cache_copy),
        lambda: maintenance.prune(cache_copy, keep=0),
        lambda: maintenance.clear(cache_copy),
    ):
        saved = children.copy(cache_copy, cache_copy.with_name("saved"))
        monkeypatch.setattr(where, call, removing)
        work()
        monkeypatch.setattr(where, call, real)
        shutil.rmtree(cache_copy, ignore_errors=True)
        saved.rename(cache_copy)


def test_tidy_while_another_process_tidies_raises_nothing(cache_copy, monkeypatch):
    folder = cache_copy / "v1" / "entries" / "nothing"
    folder.mkdir()
    found = maintenance._folders_in(folder.parent)
    folder.rmdir()
    folders = maintenance._folders_in
    monkeypatch.setattr(
        maintenance, "_folders_in", lambda p: found if p == folder.parent else folders(p)
    )
    maintenance.tidy(cache_copy)
    children.assert_sound(cache_copy, count=2)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ([], ["a1", "a2", "a9", "b9"]),
        (["--max-size", "1G"], ["a1", "a2", "a9", "b9"]),
        (["--older", "7d"], ["a1", "a2"]),
        (["--keep", "2"], ["a1", "a2", "b9"]),
        (["--keep", "1"], ["a1", "b9"]),
        (["--keep", "1", "--older", "3d"], ["a1"]),
        (["--keep", "0"], []),
    ],
)
def test_prune_removes_old_logs(cache_copy, options, left):
    logs = cache_copy / "v1" / "logs"
    logs.mkdir()
    for artifact, days in (("a", 1), ("a", 2), ("a", 9), ("b", 9)):
        then = time.time() - days * 86400 - 3600
        moment = time.strftime("%Y%m%d-%H%M%S", time.localtime(then))
        log = logs / f"cpu_all_none_{artifact}-{moment}-x_{artifact}{days}.log"
        log.touch()
        os.utime(log, (then, then))

    def there():
        return sorted(log.stem.rpartition("_")[2] for log in logs.glob("*"))

    assert invoke("prune", "--dry-run", *options).count(".log\n") == 4 - len(left)
    assert len(there()) == 4
    assert invoke("prune", *options).count(".log\n") == 4 - len(left)
    assert there() == left
    assert logs.is_dir() == bool(left)


def test_prune_help_names_the_units():
    said = " ".join(invoke("prune", "--help").split())
    assert "s, m (minutes), h, d or w" in said
    assert "B, k, M or G (of 1000; kB, MB and GB are the same), or KiB, MiB or GiB" in said


def test_prune_help_names_the_logs():
    assert "Logs of failed builds" in invoke("prune", "--help")
