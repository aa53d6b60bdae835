"""What is loaded is what was checked, whatever other processes replace or remove meanwhile."""

import ctypes
import os
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

from support import children
from support.children import ANSWER, KERNEL, SORT
from support.descriptions import cuda_kernel
from warp_bitonic_sort import kernels
from warp_bitonic_sort.errors import CacheError, EvictedError, TrustError
from warp_bitonic_sort.jit import loader, runtime
from warp_bitonic_sort.jit.store import permissions, pinned
from warp_bitonic_sort.jit.store.files import open_regular, stamp
from warp_bitonic_sort.jit.store.key import build_text
from warp_bitonic_sort.jit.store.store import Entry, Store
from warp_bitonic_sort.targets import recipe_of
from warp_bitonic_sort.targets.common.host import find_compiler

_BOTH = pytest.mark.parametrize("artifact", [kernels.RUNTIME, KERNEL], ids=["runtime", "kernel"])


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """A library that prints EVIL when it is loaded."""
    folder = tmp_path_factory.mktemp("evil")
    source = folder / "evil.c"
    source.write_text(
        "#include <unistd.h>\n"
        '__attribute__((constructor)) static void evil() { (void)!write(1, "EVIL\\n", 5); }\n'
    )
    compiler = find_compiler().command
    library = folder / "evil.so"
    subprocess.run([*compiler, "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    return library


def entry_of(root, artifact):
    folder = children.folder_of(root, artifact)
    library = folder / recipe_of(artifact.target).product
    return Entry(folder, artifact.target, stamp(library.stat()))


# -- replaced -------------------------------------------------------------------------------------


@_BOTH
@pytest.mark.compile
def test_library_replaced_between_check_and_load_is_not_loaded(
    cache_copy, tmp_path, evil, artifact
):
    shutil.copy(evil, cache_copy / "evil.so")
    code = f"""
        import os
        from warp_bitonic_sort.jit.store.key import build_text
        from warp_bitonic_sort.jit.store.store import Store
        find, done = Store.find, []
        def replacing(self, artifact, *others):
            entry = find(self, artifact, *others)
            if entry is not None and artifact.name == {artifact.name!r} and not done:
                done.append(True)
                os.replace({str(cache_copy / "evil.so")!r}, entry.library)
            return entry
        Store.find = replacing
    """
    compiler, compiled = children.counting(tmp_path)
    done = children.run(textwrap.dedent(code) + SORT, CXX=compiler)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    assert compiled() == [artifact.name]
    children.assert_sound(cache_copy, count=2)


def test_library_replaced_during_the_load_is_not_loaded(cache_copy, evil):
    entry = entry_of(cache_copy, KERNEL)
    shutil.copy(evil, cache_copy / "evil.so")
    with pinned.pinned(entry) as name:
        (cache_copy / "evil.so").replace(entry.library)
        assert ctypes.CDLL(name).warp_bitonic_sort_kernel


def test_file_replaced_during_the_load_is_not_read(cache_copy):
    """A driver of GPUs reads a code object by the same name."""
    entry = entry_of(cache_copy, KERNEL)
    data = entry.library.read_bytes()
    with pinned.pinned(entry) as name:
        entry.library.unlink()
        entry.library.write_bytes(b"something else")
        for _ in range(2):
            assert Path(name).read_bytes() == data


def test_two_libraries_by_one_descriptor_number_are_two(cache_copy, tmp_path, monkeypatch):
    """glibc returns the library that it has loaded before by the same name.

    An application may close all descriptors, as one that becomes a daemon does.
    """
    monkeypatch.setattr(pinned, "_kept", [])  # other tests may have reached the limit
    first = entry_of(cache_copy, KERNEL)
    second = entry_of(children.copy(cache_copy, tmp_path / "other"), KERNEL)
    names, handles = [], []
    for entry in (first, second, first):
        with pinned.pinned(entry) as name:
            names.append(name)
            handles.append(ctypes.CDLL(name)._handle)
        os.close(pinned._kept.pop())
    assert len({Path(name).name for name in names}) == 1, "the number comes again"
    assert handles[0] == handles[2] != handles[1]


_DESCRIPTORS = """
import os
def names():
    found = (os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")
             if os.path.islink(f"/proc/self/fd/{number}"))
    return sorted(name.rpartition("/")[2] for name in found if "/v1/entries/" in name)
"""


def test_descriptors_of_loaded_libraries_stay_open(cache_copy):
    """One each: what opens a library by its name, as backtraces do, finds the library."""
    done = children.run(f"{_DESCRIPTORS}{SORT}\n{SORT}\nprint(names())")
    said = [ANSWER, ANSWER, "['library.so', 'library.so']", ""]
    assert done.stdout.split("\n") == said, done.stderr
    del cache_copy


def test_error_after_a_load_finds_libraries_by_their_names(cache_copy):
    """tvm_ffi maps what lies at the name of every library where it makes a backtrace.

    An empty file at one of the names would be a bus error.
    """
    code = f"""
        {SORT}
        import tempfile
        from warp_bitonic_sort.jit import loader
        files = [tempfile.TemporaryFile() for _ in range(100)]
        try:
            loader.runtime().open_cpu_kernel("/nonexistent", "float32")
        except RuntimeError as error:
            print(error)
    """
    done = children.run(code)
    assert "the kernel does not load: /nonexistent: cannot open" in done.stdout, done.stderr
    assert done.returncode == 0
    del cache_copy


def test_libraries_beyond_the_limit_are_loaded_from_private_copies(cache_copy, tmp_path):
    (tmp_path / "tmp").mkdir()
    limit = "from warp_bitonic_sort.jit.store import pinned; pinned._MAX_KEPT = 1\n"
    code = f"{limit}{_DESCRIPTORS}{SORT}\n"
    done = children.run(f"{code}print(names())", TMPDIR=tmp_path / "tmp", **children.NO_COMPILER)
    assert done.stdout.split("\n") == [ANSWER, "['library.so']", ""], done.stderr
    assert list((tmp_path / "tmp").iterdir()) == []
    del cache_copy


def test_failed_load_and_code_object_keep_no_descriptor(cache_copy):
    def count():
        return len(list(Path("/proc/self/fd").iterdir()))

    entry, before = entry_of(cache_copy, KERNEL), count()
    with pytest.raises(RuntimeError, match="no"), pinned.pinned(entry):
        raise RuntimeError("no")
    product = entry.library.rename(entry.folder / recipe_of("cuda").product)
    with pinned.pinned(Entry(entry.folder, "cuda", stamp(product.stat()))) as name:
        Path(name).read_bytes()
    assert count() == before


def test_without_proc_a_private_copy_is_loaded(cache_copy, tmp_path):
    (tmp_path / "tmp").mkdir()
    code = (
        "from warp_bitonic_sort.jit.store import pinned; pinned._DESCRIPTORS = '/nonexistent'\n"
        + SORT
    )
    done = children.run(code, TMPDIR=tmp_path / "tmp", **children.NO_COMPILER)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    assert list((tmp_path / "tmp").iterdir()) == []
    del cache_copy


def test_private_copy_that_cannot_be_written_names_the_folder_and_the_variable(
    cache_copy, tmp_path
):
    entry = entry_of(cache_copy, KERNEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pinned, "_DESCRIPTORS", "/nonexistent")
        patch.setattr(pinned, "temporary_parent", lambda: str(tmp_path / "none"))
        with (
            pytest.raises(CacheError, match=rf"private copy.*\({tmp_path}/none.*TMPDIR"),
            pinned.pinned(entry),
        ):
            pass


def test_load_without_memory_is_no_load_from_a_noexec_mount(cache_copy):
    entry = entry_of(cache_copy, KERNEL)
    text = "failed to map segment from shared object: Cannot allocate memory"
    with pytest.raises(RuntimeError, match=text) as raised, pinned.pinned(entry):
        raise RuntimeError(text)
    assert not isinstance(raised.value, CacheError)


def test_profilers_see_the_path_of_what_is_loaded(cache_copy):
    done = children.run(f"{SORT}; print(open('/proc/self/maps').read())")
    for artifact in (kernels.RUNTIME, KERNEL):
        assert str(children.folder_of(cache_copy, artifact) / "library.so") in done.stdout


def test_error_of_a_load_names_the_path(tmp_path):
    (tmp_path / "library.so").write_text("no library")
    entry = Entry(tmp_path, "cpu", stamp((tmp_path / "library.so").stat()))
    with pytest.raises(RuntimeError, match=f"{tmp_path}/library.so") as caught:
        loader.try_cpu_kernel(entry)
    assert "/proc/" not in str(caught.value)


# -- owner and mode -------------------------------------------------------------------------------


def test_opened_file_that_others_can_write_is_refused(tmp_path, monkeypatch):
    """The path was sound a moment before."""
    for name, mode in (("sound", 0o644), ("open", 0o666)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    permissions.check_writers(tmp_path / "sound", tmp_path)
    with open_regular(tmp_path / "sound") as descriptor:
        permissions.check_writers(tmp_path / "sound", tmp_path, descriptor=descriptor)
    with open_regular(tmp_path / "open") as descriptor:
        with pytest.raises(TrustError, match=f"{tmp_path}/sound can be written by everybody"):
            permissions.check_writers(tmp_path / "sound", tmp_path, descriptor=descriptor)
        monkeypatch.setenv("WARP_SORT_TRUSTED_DIRS", str(tmp_path))
        permissions.check_writers(tmp_path / "sound", tmp_path, descriptor=descriptor)


def test_library_that_others_could_write_by_the_second_look_is_refused(cache_copy):
    store, text = Store(cache_copy), build_text(KERNEL)
    entry = store.find(KERNEL, text, None)
    assert entry.folder == children.folder_of(cache_copy, KERNEL)
    entry.library.chmod(0o666)
    with pytest.raises(TrustError, match=f"{entry.library} can be written by everybody"):
        store.find(KERNEL, text, None)


# -- removed --------------------------------------------------------------------------------------

_REMOVING = """
import os, shutil
from pathlib import Path
from warp_bitonic_sort.jit.store.key import build_text
from warp_bitonic_sort.jit.store.store import Store
from warp_bitonic_sort.jit.build import ninja
from warp_bitonic_sort.jit.store import publish
from warp_bitonic_sort.jit.store.store import Store
root = Path(os.environ["WARP_SORT_CACHE_DIR"])
left = {times}
def removing(call, *folders, after=False):
    def wrapped(*arguments, **named):
        global left
        value = call(*arguments, **named) if after else None
        if left and not (after and value is None):
            left -= 1
            for folder in folders:
                shutil.rmtree(root / "v1" / folder)
        return value if after else call(*arguments, **named)
    return wrapped
"""


@pytest.mark.parametrize("folder", ["entries", f"entries/{KERNEL.name}", "entries/runtime"])
@pytest.mark.compile
def test_start_whose_entry_is_removed_before_it_is_loaded_builds(cache_copy, folder):
    code = f"Store.find = removing(Store.find, {folder!r}, after=True)\n"
    done = children.run(_REMOVING.format(times=1) + code + SORT)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    children.assert_sound(cache_copy, count=2)


@pytest.mark.parametrize(
    "code",
    [
        "publish.locks.acquire_all = removing(publish.locks.acquire_all, 'locks')",
        "publish.locks.try_acquire = removing(publish.locks.try_acquire, 'staging')",
        "ninja.run = removing(ninja.run, 'staging')",
        "publish.entry_key = removing(publish.entry_key, 'staging')",
        "publish.entry_key = removing(publish.entry_key, 'entries', 'staging', 'locks')",
        "Path.rename = removing(Path.rename, f'entries/{KERNEL}')",
        "publish.publish = removing(publish.publish, f'entries/{KERNEL}', after=True)",
        # The folder of a complete build, removed before it is published.
        "build = ninja.run\nninja.run = lambda *a: (build(*a), removing(bool, 'staging')())[0]",
    ],
)
def test_build_whose_folder_is_removed_is_made_again(half_cache, code):
    prelude = _REMOVING.format(times=1) + f"KERNEL = {KERNEL.name!r}\n"
    done = children.run(f"{prelude}{code}\n{SORT}")
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    # A runtime that is loaded is not built again.
    children.assert_sound(half_cache, count=1 if "'entries'" in code else 2)


def test_kernel_that_is_always_removed_is_an_error(tmp_path, monkeypatch):
    """And not a loop without an end."""
    tries = []
    gone = Entry(tmp_path / "gone", "cpu", "")
    monkeypatch.setattr(loader, "_opened", {})
    monkeypatch.setattr(loader, "_entry_of", lambda *_: tries.append(1) or gone)
    with pytest.raises(EvictedError) as caught:
        loader.open_kernel(KERNEL, "float32")
    assert f"{tmp_path}/gone/library.so cannot be loaded as it was found: No such" in str(
        caught.value
    )
    assert "WARP_SORT_CACHE_DIR" in str(caught.value)
    assert len(tries) == loader._MAX_TRIES


def test_cache_that_is_always_removed_is_left_for_a_temporary_one(half_cache):
    code = "ninja.run = removing(ninja.run, 'staging')\n"
    done = children.run(_REMOVING.format(times=loader._MAX_TRIES) + code + SORT)
    assert done.stdout.strip() == ANSWER, done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    assert f"the folder {half_cache}/v1/staging/" in done.stderr
    assert "was removed while kernels were compiled in it" in done.stderr
    assert "WARP_SORT_CACHE_DIR" in done.stderr


class _Gpu:
    """A runtime that opens code objects and keeps what they were."""

    def __init__(self):
        self.images = []

    def gpu_arch(self, _):
        return "sm_90"

    def open_gpu_kernel(self, name, *_):
        self.images.append(Path(name).read_bytes())
        return lambda *_: None


@pytest.mark.parametrize("what", ["removed", "replaced"])
def test_code_object_removed_or_replaced_before_it_is_loaded_is_looked_up_again(
    tmp_path, monkeypatch, what
):
    kernel = cuda_kernel("ieee", 32, 4, 0, 0, "rows", "sm_90")
    gpu, tries = _Gpu(), []
    product = tmp_path / recipe_of(kernel.target).product

    def found(*_):
        tries.append(1)
        product.write_bytes(b"right")
        entry = Entry(tmp_path, kernel.target, stamp(product.stat()))
        if len(tries) < 3:
            product.unlink()
            if what == "replaced":
                product.write_bytes(b"wrong")
        return entry

    monkeypatch.setattr(loader, "_opened", {})
    monkeypatch.setattr(runtime, "_loaded", gpu)
    monkeypatch.setattr(loader, "_entry_of", found)
    loader.open_kernel(kernel, "float32")
    assert gpu.images == [b"right"]
    assert len(tries) == 3
