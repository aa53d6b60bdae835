"""Code objects in a cache: only those for the right machine are loaded."""

import json
import struct

import pytest

import warp_bitonic_sort
from support import children, cubin, hsaco
from support.children import ANSWER, KERNEL
from support.descriptions import cuda_kernel, hip_kernel
from warp_bitonic_sort import kernels
from warp_bitonic_sort.jit.store.files import digest
from warp_bitonic_sort.jit.store.key import build_text
from warp_bitonic_sort.jit.store.store import Store
from warp_bitonic_sort.targets import arch_of, recipe_of
from warp_bitonic_sort.targets.common import sources


def _for_another_machine(library):
    """Say of a library that it is for another machine, and of its entry that it should be."""
    data = bytearray(library.read_bytes())
    other = 183 if arch_of(bytes(data)) == "x86-64" else 62
    struct.pack_into("<H", data, 18, other)
    _vouch_for(library, bytes(data))


def _vouch_for(product, data):
    product.unlink()
    product.write_bytes(data)
    manifest = product.with_name("manifest.json")
    said = {**json.loads(manifest.read_text()), "library": digest(data)}
    manifest.write_text(json.dumps(said))


@pytest.mark.parametrize("artifact", [kernels.RUNTIME, KERNEL], ids=["runtime", "kernel"])
@pytest.mark.parametrize("as_layer", [False, True])
@pytest.mark.compile
def test_library_for_another_machine_is_not_loaded(cache_copy, tmp_path, artifact, as_layer):
    root = children.copy(cache_copy, tmp_path / "layer") if as_layer else cache_copy
    _for_another_machine(children.folder_of(root, artifact) / "library.so")
    compiler, compiled = children.counting(tmp_path)
    how = {"CXX": compiler}
    if as_layer:
        how |= {"WARP_SORT_CACHE_LAYERS": root, "WARP_SORT_CACHE_DIR": tmp_path / "empty"}
    done = children.run(**how)
    assert (done.stdout.strip(), done.stderr) == (ANSWER, "")
    assert compiled() == [artifact.name]


HIP = hip_kernel("ieee", 32, 4, 0, 0, "rows", "gfx942")
HSACO = hsaco.hsaco(cubin.constant(), "gfx942")


@pytest.mark.parametrize("is_layer", [False, True])
@pytest.mark.parametrize(
    ("artifact", "right", "wrong"),
    [
        (
            cuda_kernel("ieee", 32, 4, 0, 0, "rows", "sm_90"),
            cubin.cubin(cubin.constant(), 90),
            cubin.cubin(cubin.constant(), 80),
        ),
        (HIP, HSACO, hsaco.hsaco(cubin.constant(), "gfx90a")),
    ],
    ids=["cuda", "hip"],
)
def test_code_object_for_another_gpu_is_ignored(tmp_path, artifact, right, wrong, is_layer):
    entry = children.publish_product(Store(tmp_path), artifact, right)
    store = Store(tmp_path, is_layer=is_layer)
    text = build_text(artifact)
    assert store.find(artifact, text, "c++ 1") == entry
    for data in (wrong, wrong[:64], right[:63], b"", b"not ELF" + right[7:]):
        _vouch_for(entry.library, data)
        assert store.find(artifact, text, "c++ 1") is None
    _vouch_for(entry.library, right)
    assert store.find(artifact, text, None).folder == entry.folder


@pytest.mark.parametrize("is_other_there", [False, True])
def test_dependency_through_a_link_is_the_file_that_was_read(tmp_path, is_other_there):
    """What ``link/..`` is depends on where the link leads: it is no other name of the folder."""
    header, other = tmp_path / "b" / "inc" / "foo.h", tmp_path / "inc" / "foo.h"
    for folder in (tmp_path / "b" / "c", header.parent, other.parent):
        folder.mkdir(parents=True)
    (tmp_path / "link").symlink_to("b/c")
    header.write_text("#define A 1\n")
    if is_other_there:
        other.write_text("#define A 2\n")
    store, text = Store(tmp_path / "cache"), build_text(HIP)
    entry = children.publish_product(store, HIP, HSACO, f"{tmp_path}/link/../inc/foo.h")
    assert store.find(HIP, text, "c++ 1") == entry
    other.write_text("#define A 3\n")
    assert store.find(HIP, text, "c++ 1") == entry
    header.write_text("#define A 4\n")
    assert store.find(HIP, text, "c++ 1") is None


def test_dependency_with_dots_in_its_path_has_its_folders_token(tmp_path):
    """Its folder stands in it as a token, so that a moved installation hits."""
    folder = sources.INCLUDE_DIR / "warp_bitonic_sort"
    odd = f"{folder}/../warp_bitonic_sort/./core/../kernel.hpp"
    entry = children.publish_product(Store(tmp_path), HIP, HSACO, odd)
    manifest = json.loads((entry.folder / "manifest.json").read_text())
    tokens = odd.replace("/./", "/").replace(str(sources.INCLUDE_DIR), "{package_include}")
    assert tokens in manifest["dependencies"]


@pytest.mark.parametrize(
    ("arch", "mach", "is_taken"),
    [
        ("gfx942", 0x4C, True),
        ("gfx942", 0x60, False),
        ("gfx942", 0x00, False),
        ("gfx11-generic", 0x60, False),
        # An architecture newer than the table: the driver decides.
        ("gfx1999", 0x60, True),
        ("gfx1999", 0x4C, False),
    ],
)
def test_is_for_with_an_unknown_amd_number_accepts_unknown_archs_only(arch, mach, is_taken):
    image = bytearray(hsaco.hsaco(cubin.constant(), "gfx942"))
    struct.pack_into("<I", image, 48, mach)
    assert recipe_of(HIP.target).is_for(bytes(image), arch) is is_taken


def test_publish_of_code_for_another_machine_raises(tmp_path):
    artifact = cuda_kernel("ieee", 32, 4, 0, 0, "rows", "sm_90")
    wrong = cubin.cubin(cubin.constant(), 80)
    with pytest.raises(warp_bitonic_sort.BuildError, match=r"is for sm_80, not for sm_90.*c\+\+ 1"):
        children.publish_product(Store(tmp_path), artifact, wrong)
    assert children.entries(tmp_path) == []
