"""Tutorials and guides work as they are read: from top to bottom.

tests/engines runs the pages that need a data engine.
"""

import pytest

from support.documents import name_of
from support.pages import PAGES, blocks_of, can_run, engines_of_page, walk

WALKED = [each for each in PAGES if not engines_of_page(each)]


@pytest.mark.parametrize("page", WALKED, ids=name_of)
def test_blocks_of_page_run_in_order_and_print_what_it_shows(page, tmp_path):
    walk(page, tmp_path)


def test_most_blocks_of_pages_run():
    blocks = [block for page in PAGES for block in blocks_of(page)]
    left_out = [block for block in blocks if not can_run(block)]
    assert blocks
    assert 4 * len(left_out) < len(blocks)


def test_page_that_shows_other_output_fails(tmp_path):
    """The walker compares: else every test above would pass."""
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\n\n```python\nprint(x + 1)\n```\n\n```text\n3\n```\n")
    with pytest.raises(AssertionError, match=r"(?s)page.md:5: the page says:.*3.*prints:.*2"):
        walk(page, tmp_path)
