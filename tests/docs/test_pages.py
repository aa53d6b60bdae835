"""What runs the code of the pages (tests/test_readme.py) finds faults in it."""

import re

import pytest

from support.pages import LANGUAGES, PAGES, blocks_of, walk


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_of_page_is_found(page):
    fences = re.findall(rf"^```(?:{'|'.join(LANGUAGES)})$", page.read_text(), re.MULTILINE)
    assert [f"```{each['language']}" for each in blocks_of(page)] == fences


def test_page_that_shows_other_output_fails(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\n\n```python\nprint(x + 1)\n```\n\n```text\n3\n```\n")
    with pytest.raises(AssertionError, match=r"(?s)page.md:5: the page says:.*3.*prints:.*2"):
        walk(page, tmp_path)


def test_page_whose_block_fails_fails(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- own process -->\n\n```python\nraise SystemExit(1)\n```\n")
    with pytest.raises(AssertionError, match="page.md:3: the block fails"):
        walk(page, tmp_path)
