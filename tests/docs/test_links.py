"""What the documents refer to exists: other documents, headings, files and test names."""

import re

import pytest

from support.documents import DOCUMENTS, ROOT, anchors, links, name_of, prose, tracked
from support.pages import PAGES

FILES = ["/" + str(path.relative_to(ROOT)) for path in tracked()]
# The history of a project names files that are gone.
HISTORIES = ("CHANGELOG.md", "docs/notebook.md", "docs/understanding/decisions/")
_FILE_NAME = re.compile(r"`([\w./-]*\w\.(?:py|hpp|h|cc|cu|md|toml))`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_of_document_lead_to_files_and_headings(document):
    broken = []
    for link in links(document):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize(
    "document",
    [each for each in DOCUMENTS if not name_of(each).startswith(HISTORIES)],
    ids=name_of,
)
def test_files_that_document_names_exist(document):
    names = _FILE_NAME.findall(prose(document))
    # The code of such a page writes files, and runs.
    own = document.read_text() if document in PAGES else ""
    missing = {
        name
        for name in names
        if not any(path.endswith("/" + name) for path in FILES) and f"\n// {name}\n" not in own
    }
    assert not missing
