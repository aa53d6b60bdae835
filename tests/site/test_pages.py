"""The site builds without a warning, its examples run, and its pages need nothing from outside."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

from support.documents import DOCUMENTS, ROOT, name_of
from support.site import sphinx

# Attributes that make a browser load something, and tags whose href does.
LOADED = ("src", "srcset", "poster", "data")
LOADING_TAGS = ("link", "use", "image")


class Page(HTMLParser):
    """What a page loads, where it links to, and the anchors that it has."""

    def __init__(self, path):
        super().__init__()
        self.path, self.loads, self.links, self.anchors = path, [], [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.anchors.add(value)
            elif name in LOADED or (name == "href" and tag in LOADING_TAGS):
                self.loads.append(value)
            elif name == "href":
                self.links.append(value)


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in site.rglob("*.html")}


def test_examples_of_docstrings_and_pages_give_what_they_show(tmp_path):
    done = sphinx("doctest", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = (tmp_path / "doctest/output.txt").read_text()
    assert int(re.search(r"^ +(\d+) tests$", summary, re.MULTILINE)[1]) > 100


def test_pages_load_nothing_from_another_host(site, pages):
    loads = {load for page in pages.values() for load in page.loads if urlsplit(load).netloc}
    in_styles = {
        url
        for path in site.rglob("*.css")
        for url in re.findall(
            r"""(?:url\(|@import )["']?((?:https?:)?//[^"')]+)""", path.read_text()
        )
    }
    assert not loads | in_styles


def test_what_pages_load_and_link_to_exists(site, pages):
    broken = []
    for page in pages.values():
        for link in page.loads + page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            anchors = pages[target].anchors if target in pages else set()
            # The explorer keeps its state behind the #.
            if not target.is_file() or (
                parts.fragment and target in pages and unquote(parts.fragment) not in anchors
            ):
                broken.append(f"{page.path.relative_to(site)}: {link}")
    assert not broken


def test_every_document_is_a_page(site):
    documents = [
        each.relative_to(ROOT / "docs") for each in DOCUMENTS if name_of(each).startswith("docs/")
    ]
    assert documents
    assert all((site / each.with_suffix(".html")).is_file() for each in documents)
