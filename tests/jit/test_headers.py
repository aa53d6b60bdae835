"""Which headers a manifest lists, and how large files are digested."""

from __future__ import annotations

import json

import pytest

from support import children
from warp_bitonic_sort.jit.store.files import digest, file_digest, read_file
from warp_bitonic_sort.kernels import RUNTIME


def test_manifest_lists_the_packages_headers_alone(warm_cache):
    """Versions stand for others: the compiler's for the system's, tvm-ffi's for its own."""
    for artifact in (RUNTIME, children.KERNEL):
        folder = children.folder_of(warm_cache, artifact)
        manifest = json.loads((folder / "manifest.json").read_text())
        paths = list(manifest["dependencies"])
        assert paths
        assert all(path.startswith(("{package_include}/", "{csrc}/")) for path in paths)


@pytest.mark.parametrize("size", [(1 << 16) - 1, 1 << 16, (1 << 16) + 1, 1 << 18])
def test_all_of_a_large_file_is_digested(tmp_path, size):
    file = tmp_path / "large.h"
    for data in (bytes(size), bytes(size - 1) + b"1"):
        file.write_bytes(data)
        assert file_digest(file) == digest(data)
        assert read_file(file) == data
