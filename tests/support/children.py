"""Processes of their own that sort: as another user, with other variables, killed on the way."""

import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from support.descriptions import cpu_kernel
from warp_bitonic_sort import kernels
from warp_bitonic_sort.jit.store import inventory, publish
from warp_bitonic_sort.jit.store.files import digest
from warp_bitonic_sort.jit.store.key import build_text
from warp_bitonic_sort.targets import HOST, recipe_of
from warp_bitonic_sort.targets.common import sources
from warp_bitonic_sort.targets.common.host import find_compiler
from warp_bitonic_sort.targets.common.recipe import DEPFILE

SORT = "import numpy as np, warp_bitonic_sort as w; print(w.sort(np.float32([[3, 1, 2]])).tolist())"
ANSWER = "[[1.0, 2.0, 3.0]]"
# Of SORT, and of one that sorts four elements.
KERNEL = cpu_kernel("ieee", 32, 3, "rows", HOST.arch_for())
OTHER_SORT = SORT.replace("[3, 1, 2]", "[3, 1, 2, 0]")
OTHER_ANSWER = "[[0.0, 1.0, 2.0, 3.0]]"
# Sorts rows of each of the lengths on 32 threads at once, and prints how many were right.
SORT_ON_THREADS = """
    import threading, numpy as np, warp_bitonic_sort as w
    rows = [np.float32([[3, 1, 2, 4, 0][:n]]) for n in {lengths}]
    rows *= 32 // len(rows)
    start, right = threading.Barrier(32), []
    def work(x):
        start.wait()
        right.append(w.sort(x).tolist() == np.sort(x).tolist())
    threads = [threading.Thread(target=work, args=(x,)) for x in rows]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(right.count(True))
"""
NO_COMPILER = {"PATH": "/nonexistent", "CXX": None}
# Before code that is not to find the installed distribution of ninja.
NO_NINJA = """
import importlib.metadata as m, warp_bitonic_sort.jit.build.ninja; d = m.distribution
m.distribution = lambda name: d("no-such-distribution" if name == "ninja" else name)
"""
# Importing tvm_ffi imports torch, which takes ten times as long as all the rest. From 3.12 on,
# Python warns of every fork in a process with threads, which some children try on purpose.
_QUICK = (
    "import sys; sys.modules['torch'] = None; import warnings; "
    "warnings.filterwarnings('ignore', 'This process', DeprecationWarning)\n"
)

# Two users. Root can become both. An ordinary user is the first one and replaces geteuid to be the
# second: owners of files are then compared as for root, but permissions are not.
IS_ROOT = os.geteuid() == 0
ALICE, BOB = (65533, 65532) if IS_ROOT else (os.geteuid(), os.geteuid() + 1)


def environment(**changes):
    given = {**os.environ, **changes}
    return {name: str(value) for name, value in given.items() if value is not None}


def command(code, user=None):
    """The command that runs Python code, as a user."""
    text = _QUICK + textwrap.dedent(code)
    if user in (None, os.geteuid()):
        return [sys.executable, "-c", text]
    if IS_ROOT:
        return [*_become(user), sys.executable, "-c", text]
    return [sys.executable, "-c", f"import os; os.geteuid = lambda: {user}\n{text}"]


@functools.cache
def _become(user):
    """The command before one that root runs as a user."""
    plain = [
        str(shutil.which("setpriv")),
        "--reuid",
        str(user),
        "--regid",
        str(user),
        "--clear-groups",
    ]
    code = (
        f"import sys; assert sys.base_prefix == {sys.base_prefix!r}; sys.modules['torch'] = None;"
        "import numpy, tvm_ffi, warp_bitonic_sort.jit.loader"
    )
    probe = [*plain, sys.executable, "-c", code]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return plain
    # Python itself lies where root alone may look: let the user read everything, and write nothing.
    return [*plain, "--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]


def run(code=SORT, *, user=None, before=(), **changes):
    """Run Python code in a new process."""
    return subprocess.run(
        [*before, *command(code, user)],
        env=environment(**changes),
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        timeout=120,
    )


def start(code=SORT, **changes):
    """Start Python code in a new process, whose ends are pipes."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command(code), env=environment(**changes), text=True, **pipes)


def program(*arguments, user=None, **changes):
    """Run the command line in a new process."""
    code = f"from warp_bitonic_sort.cli import main; main({[str(each) for each in arguments]!r})"
    return run(code, user=user, **changes)


def entries(folder):
    return sorted(path.parent.name for path in Path(folder).glob("v1/entries/*/*"))


def folder_of(root, artifact):
    """The folder of the only entry of an artifact."""
    (folder,) = (root / "v1" / "entries" / artifact.name).iterdir()
    return folder


def leftovers(root):
    """What lies in a cache beside entries and what compilers answered."""
    return sorted(
        str(path.relative_to(root))
        for path in Path(root).rglob("*")
        if not path.match("v1/entries")
        and not path.match("v1/entries/*/*/[a-z]*.[a-z]*")
        and not path.match("v1/tools/[0-9a-f]*.json")
        and not (path.is_dir() and any(path.iterdir()))
    )


def assert_sound(root, *, count):
    """Every entry of a cache is what was published, and there are so many."""
    found = inventory.entries(root)
    assert len(found) == count
    assert {item.name: inventory.verify(item) for item in found} == {
        item.name: None for item in found
    }


def script(path, text):
    """Write a shell script before the compiler, which the script calls as "$CXX" "$@"."""
    real = " ".join(find_compiler().command)
    path.write_text(f"#!/bin/sh\n{text.replace('$CXX', real)}\n")
    path.chmod(0o755)
    return str(path)


def break_library(root, artifact):
    """Have an artifact's library in a folder need another library, one that no machine has."""
    runtime = (folder_of(root, kernels.RUNTIME) / "library.so").read_bytes()
    broken = runtime.replace(b"libstdc++.so.6\0", b"libstdc++.so.9\0")
    product = folder_of(root, artifact) / "library.so"
    product.write_bytes(broken)
    manifest = product.with_name("manifest.json")
    said = {**json.loads(manifest.read_text()), "library": digest(broken)}
    manifest.write_text(json.dumps(said))


def counting(folder):
    """A compiler that logs what it compiles, and a function that returns the names."""
    log = folder / "compiled"
    compiler = script(
        folder / "counting-c++",
        f'for a in "$@"; do case "$a" in *source.cc) echo "$a" >>{log};; esac; done\n'
        f'exec $CXX "$@"',
    )

    def compiled():
        words = log.read_text().split() if log.exists() else []
        return sorted(Path(word).parent.name for word in words)

    return compiler, compiled


def mounted(what, folder):
    """The command before one that is to see a mount on a folder; without rights the test skips.

    The mount ends with the process. An ordinary user's namespace shows files of other users, root
    included, as those of the user "nobody": such a child has to trust them.
    """
    # Found now: the child's own PATH may be empty.
    unshare, shell, mount = map(str, map(shutil.which, ("unshare", "sh", "mount")))
    text = f'{what.replace("mount ", f"{mount} ")} && exec "$@"'
    before = [unshare, "-m" if IS_ROOT else "-Urm", shell, "-c", text, str(folder)]
    done = subprocess.run([*before, "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no mounts here: {done.stderr.strip()}")
    return before


def full(folder, size):
    """The command before one that is to see a disk of a size on a folder."""
    return mounted(f'mount -t tmpfs -o size={size},mode=700 none "$0"', folder)


def noexec(folder, tree=None):
    """The command before one that can execute nothing in a folder, which holds a copy of a tree."""
    fill = f' && {shutil.which("cp")} -r "{tree}/." "$0"' if tree else ""
    return mounted(f'mount -t tmpfs -o noexec,mode=700 none "$0"{fill}', folder)


def read_only(folder):
    """The command before one that cannot write a folder, even as root."""
    return mounted('mount --bind "$0" "$0" && mount -o remount,ro,bind "$0"', folder)


def grow_old(root, hours=3):
    """Make everything in a cache look as if it had been left hours ago."""
    then = time.time() - hours * 3600
    for path in [root, *Path(root).rglob("*")]:
        os.utime(path, (then, then), follow_symlinks=False)


def own(folder, user):
    """Give a folder and all in it to a user, who can only be another one where root asks."""
    if IS_ROOT:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, user, user, follow_symlinks=False)


def copy(tree, target):
    shutil.copytree(tree, target)
    return target


def publish_product(store, artifact, product, *more):
    """Publish an artifact as if a compiler had made these bytes of it and the package's headers.

    And of more headers, whose names are written as they are.
    """
    with publish.staging(
        store, {f"{artifact.name}/{recipe_of(artifact.target).source}": "source"}
    ) as folder:
        staged = folder / artifact.name
        (staged / recipe_of(artifact.target).product).write_bytes(product)
        header = sources.INCLUDE_DIR / "warp_bitonic_sort" / "core" / "config.hpp"
        (staged / DEPFILE).write_text(f"product: {' '.join(map(str, [header, *more]))}\n")
        return publish.publish(store, artifact, build_text(artifact), "c++ 1", staged, {}, 0.1)


@contextlib.contextmanager
def holder_of(root, artifact):
    """A process that holds the lock of an artifact until its standard input ends."""
    code = f"""
        import sys
        from pathlib import Path
        from warp_bitonic_sort.jit.store import locks
        folder = Path({str(root / "v1" / "locks")!r})
        folder.mkdir(parents=True, exist_ok=True)
        sys.argv = ["the-holder", "--of=locks"]
        with locks.acquire_all(folder, [{artifact.name!r}]):
            print("ready", flush=True)
            sys.stdin.read()
    """
    with start(code) as process:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        try:
            yield process
        finally:
            process.kill()
