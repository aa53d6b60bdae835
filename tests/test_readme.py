"""The code of the README and the pages runs with the package as it is installed.

``.ci/stages/readme`` installs a wheel for them. Each page runs from top to bottom.
"""

import re
from pathlib import Path

import pytest

import warp_bitonic_sort
from support.pages import PAGES, ROOT, blocks_of, can_run, walk

if ROOT in Path(warp_bitonic_sort.__file__).parents:
    pytest.skip("an installed wheel is tested: bash .ci/run readme", allow_module_level=True)

BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def test_blocks_are_found_and_most_of_them_run():
    assert ROOT / "README.md" in PAGES
    assert len(PAGES) > 15
    left_out = [block for block in BLOCKS if not (can_run(block) or block["installs"])]
    assert 10 * len(left_out) < len(BLOCKS), left_out
    code = "".join(block["code"] for block in BLOCKS if can_run(block))
    for library in ("dask", "jax", "polars", "ray", "torch", "xarray"):
        assert re.search(rf"^(import|from) {library}\b", code, re.MULTILINE), library


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_page_run_in_order_and_print_what_it_shows(page, tmp_path):
    walk(page, tmp_path)
