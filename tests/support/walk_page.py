"""Runs the blocks of a page in order, in one namespace, and compares what they print.

A program of its own, which gets the blocks from support/pages.py: ``python walk_page.py < blocks``.
It ends with status 0, or names the line of the block that fails.

Invariant: a block is compiled at its own lines of the page, so that tracebacks and tools that read
a function's source find it there.
"""

import contextlib
import doctest
import io
import json
import re
import subprocess
import sys
import traceback
from pathlib import Path

_OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def _run_python(block, names):
    """Return what a block prints, and whether it raises."""
    printed = io.StringIO()
    text = "\n" * block["line"] + block["code"]
    try:
        with contextlib.redirect_stdout(printed):  # libraries warn of the machine on stderr
            exec(compile(text, block["page"], "exec"), names)  # noqa: S102
    except Exception as error:
        if not block["raises"]:
            traceback.print_exc()
        printed.write("".join(traceback.format_exception_only(error)))
        return printed.getvalue(), True
    return printed.getvalue(), False


def _run_command(*command):
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout, done.returncode != 0


def _run_cpp(block):
    """Return what a C++ program prints; without main() it is only compiled."""
    source = _written(block, "block.cc")
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", block["include"]]
    has_main = "int main(" in block["code"]
    kind = ["-o", "./program"] if has_main else ["-fsyntax-only"]
    printed, failed = _run_command(block["tool"], *flags, str(source), *kind)
    return (printed, failed) if failed or not has_main else _run_command("./program")


def _run_cuda(block):
    source = _written(block, "block.cu")
    command = [block["tool"], "-cubin", "-arch=sm_90", "-std=c++17", block["include"], str(source)]
    return _run_command(*command, "-o", "block.cubin")


def _written(block, name):
    """Write a block to the file that its first line names, or to another one."""
    first = block["code"].partition("\n")[0].removeprefix("// ")
    path = Path(first if first.isidentifier() or first.endswith((".cc", ".cu")) else name)
    path.write_text(block["code"])
    return path


def _run(block, names):
    if block["own_process"]:
        return _run_command(sys.executable, "-c", block["code"])
    if block["language"] == "python":
        return _run_python(block, names)
    if block["language"] == "cpp":
        return _run_cpp(block)
    if block["language"] == "cuda":
        return _run_cuda(block)
    return _run_command("bash", "-euo", "pipefail", "-c", block["code"])


def _agree(block, printed):
    expected = block["prints"]
    if block["raises"]:
        expected = f"...{expected.strip()}..."  # without notices and tracebacks
    if block["numbers_differ"]:
        expected, printed = (re.sub(r"\d[\d.,]*", "0", text) for text in (expected, printed))
    return doctest.OutputChecker().check_output(expected, printed, _OPTIONS)


def main():
    names = {"__name__": "__main__"}
    for block in json.load(sys.stdin):
        printed, failed = _run(block, names)
        where = f"{block['page']}:{block['line']}"
        if failed != block["raises"]:
            sys.exit(f"{where}: the block {'fails' if failed else 'does not fail'}:\n{printed}")
        if block["prints"] is not None and not _agree(block, printed):
            sys.exit(f"{where}: the page says:\n{block['prints']}\nthe block prints:\n{printed}")


if __name__ == "__main__":
    main()
