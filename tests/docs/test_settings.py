"""Lists that documents and files for tools repeat are those of the code."""

import ast
import re

import pytest

import warp_bitonic_sort
from support.documents import ROOT
from warp_bitonic_sort.cli._diagnosis import VARIABLES

ENVIRONMENT = (ROOT / "docs/reference/environment.md").read_text()
PACKAGE = ROOT / "src/warp_bitonic_sort"
# The page of each public module, and the file that exports its names.
PAGES = {page.stem: page for page in (ROOT / "docs/reference/python").glob("[!i]*.md")}
EXPORTS = {
    path.parent.name if path.name == "__init__.py" else path.stem: path
    for path in [*PACKAGE.glob("*.py"), *PACKAGE.glob("*/__init__.py")]
    if re.search(r"^__all__ =", path.read_text(), re.MULTILINE)
}
PROJECT = (ROOT / "pyproject.toml").read_text()
(IMPORT_LINTER,) = re.findall(r'"(import-linter==[\d.]+)"', PROJECT)

# What reads a variable: Python, the functions of settings.py that return folders, and C++.
READ = re.compile(r'(?:environ\.get|environ\[|_folders?|getenv)\(?"([A-Z_]+)"')
# Packages that are no part of the interface.
INTERNAL = {"arrays", "targets"}
# tempfile reads TMPDIR; TERM describes a terminal and is no setting.
READ_ELSEWHERE, NO_SETTINGS = {"TMPDIR"}, {"TERM"}


def variables_of_code():
    files = [path for path in (ROOT / "src").rglob("*") if path.suffix in (".py", ".hpp", ".cc")]
    read = {name for path in files for name in READ.findall(path.read_text())}
    assert {"CXX", "ROCM_PATH", "WARP_SORT_CACHE_LAYERS"} <= read  # the pattern finds each kind
    return (read - NO_SETTINGS) | READ_ELSEWHERE


def test_environment_table_lists_what_the_code_reads():
    table = re.findall(r"^\| `(\w+)", ENVIRONMENT, re.MULTILINE)
    assert sorted(table) == sorted(variables_of_code())


def test_variables_of_doctor_are_what_the_code_reads():
    assert sorted(VARIABLES) == sorted(variables_of_code())


def test_hooks_of_pre_commit_install_what_the_lint_extra_has():
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    lists = re.findall(r"id: ([\w-]+)\n(?:.*\n)*?.*additional_dependencies: \[(.*)\]", text)
    hooks = {hook: set(re.findall(r'[^\s",]+', packages)) for hook, packages in lists}
    (lint,) = re.findall(r"^lint = \[(.*?)\]$", PROJECT, re.MULTILINE | re.DOTALL)
    extra = set(re.findall(r'"([^"]+)"', lint))
    assert set(hooks) == {"ruff-format", "ruff-check", "clang-format", "mypy"}
    assert set().union(*hooks.values()) <= extra
    # mypy also imports what the checked files import.
    others = hooks["ruff-check"] | hooks["clang-format"] | {IMPORT_LINTER}
    assert hooks["mypy"] == extra - others


def exported_names(path):
    """Read ``__all__`` without importing the module, whose library may be missing."""
    (names,) = re.findall(r"^__all__ = (\[.*?\])$", path.read_text(), re.MULTILINE | re.DOTALL)
    return ast.literal_eval(names)


@pytest.mark.parametrize("module", PAGES)
def test_reference_lists_every_exported_name(module):
    listed = set(re.findall(r"\w+", PAGES[module].read_text()))
    assert set(exported_names(EXPORTS[module])) <= listed


def test_reference_has_a_page_for_every_public_module():
    assert set(PAGES) == set(EXPORTS) - INTERNAL


def test_stages_of_ci_are_scripts():
    (line,) = re.findall(r"^stages=\((.*)\)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)[:1]
    assert sorted(line.split()) == sorted(path.name for path in (ROOT / ".ci/stages").iterdir())


def test_files_for_other_tools_name_the_version_of_the_changelog():
    pattern = re.compile(r"^(?: *version: |## \[)(\d[\w.]*)", re.MULTILINE)
    files = ("CHANGELOG.md", "CITATION.cff", "packaging/conda/recipe.yaml")
    versions = {pattern.findall((ROOT / file).read_text())[0] for file in files}
    if "dev" not in warp_bitonic_sort.__version__:
        versions.add(warp_bitonic_sort.__version__)
    assert len(versions) == 1, versions
