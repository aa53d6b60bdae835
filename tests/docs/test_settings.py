"""Lists that documents and files for tools repeat are those of the code."""

import re

from support.documents import ROOT

README = (ROOT / "README.md").read_text()
PROJECT = (ROOT / "pyproject.toml").read_text()


def test_environment_table_of_readme_lists_what_the_code_reads():
    source = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    variables = set(re.findall(r'"(WARP_SORT_[A-Z_]+)"', source))
    table = set(re.findall(r"^\| `(\w+)", README, re.MULTILINE))
    # Two are no settings of a process: a wheel's build and the tests read them.
    assert variables - {"WARP_SORT_WHEEL_LAYER", "WARP_SORT_TESTS"} <= table
    unread = {name for name in table if not re.search(rf"\b{name}\b", source)}
    assert not unread


def test_versions_of_pre_commit_are_those_of_the_lint_extra():
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    hooks = set(re.findall(r'[\w-]+(?:==|>=)[\w.]+(?=[",\]])', text))
    (lint,) = re.findall(r"^lint = \[(.*?)\]$", PROJECT, re.MULTILINE | re.DOTALL)
    extra = set(re.findall(r'"([^"]+)"', lint))
    assert hooks
    assert hooks <= extra


def test_stages_of_ci_are_scripts():
    (line,) = re.findall(r"^stages=\((.*)\)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)[:1]
    assert sorted(line.split()) == sorted(path.name for path in (ROOT / ".ci/stages").iterdir())
