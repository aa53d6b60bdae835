"""Runs NVRTC or hipRTC, which are libraries, by a command line, like nvcc or clang.

Invariant: stands alone. It is run as a file by an interpreter that imports nothing of the user's,
``python -I -S program.py nvrtc LIBRARY FLAGS``, takes the flags that the CUDA recipe has for nvcc
(for ``hiprtc``, those that the HIP recipe has for clang), and leaves the same files: a code object
and a list of the headers that it may be made of, each whole or not at all.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
from pathlib import Path

_USAGE = "nvrtc|hiprtc LIBRARY --version, or the flags of nvcc or of clang"
_BUNDLE = b"__CLANG_OFFLOAD_BUNDLE__"
_COMPRESSED = b"CCOB"
_HEADERS = {".h", ".hpp", ".hh", ".hxx", ".inc", ".inl", ".cuh"}


class _FailureError(Exception):
    """What ends the program: a text for standard error."""


# -- the command line ------------------------------------------------------------------------------


class _Request:
    """What a command line asks for.

    Attributes
    ----------
    options : list of str
        What the library is told.
    folders : list of str
        Where headers are looked for.
    source, product, depfile : str
        The files; the last may be empty.
    """

    def __init__(self) -> None:
        self.options: list[str] = []
        self.folders: list[str] = []
        self.source = self.product = self.depfile = ""

    def include(self, folder: str) -> None:
        self.folders.append(folder)
        self.options.append(f"-I{folder}")


def _following(words: list[str], flag: str) -> str:
    if not words:
        raise _FailureError(f"error: {flag}: expected a word after it, got the end of the command")
    return words.pop(0)


def _common(request: _Request, word: str, words: list[str]) -> bool:
    """Take a word that nvcc and clang understand alike, if it is one."""
    if word == "-o":
        request.product = _following(words, word)
    elif word.startswith("-I"):
        request.include(word[2:] or _following(words, word))
    elif word.startswith(("-D", "-std=")):
        request.options.append(word)
    elif not word.startswith("-") and not request.source:
        request.source = word
    else:
        return False
    return True


def _for_nvrtc(words: list[str]) -> _Request:
    """Read nvcc's command line."""
    request = _Request()
    while words:
        word = words.pop(0)
        if word == "-MF":
            request.depfile = _following(words, word)
        elif word.startswith("-arch="):
            request.options.append(f"--gpu-architecture={word[6:]}")
        # NVRTC always optimizes, and makes device code alone.
        elif word not in ("-cubin", "-O3", "-MMD") and not _common(request, word, words):
            raise _FailureError(f"error: {word!r} is none of the flags of nvcc that are known here")
    return request


def _for_hiprtc(words: list[str]) -> _Request:
    """Read clang's command line."""
    # For the driver, which reads files and runs a linker; hipRTC has its own headers and libraries.
    of_driver = ("-c", "--offload-device-only", "-nogpuinc", "-nogpulib", "--no-gpu-bundle-output")
    request = _Request()
    while words:
        word = words.pop(0)
        if word == "-x":
            _following(words, word)
        elif word == "-Xclang":
            if _following(words, word) == "-dependency-file":
                _following(words, word)  # another -Xclang
                request.depfile = _following(words, word)
        elif word.startswith(("-O", "-f", "-m", "--offload-arch=")):
            if not word.startswith("-fuse-cuid"):
                request.options.append(word)
        elif word not in of_driver and not _common(request, word, words):
            raise _FailureError(
                f"error: {word!r} is none of the flags of clang that are known here"
            )
    return request


# -- the library -----------------------------------------------------------------------------------


class _Library:
    """NVRTC or hipRTC: two libraries whose functions differ in their names."""

    def __init__(self, kind: str, path: str) -> None:
        self._prefix = kind
        self.title = "NVRTC" if kind == "nvrtc" else "hipRTC"
        self._path = path
        if kind == "hiprtc":
            self._load_builtins("libhiprtc-builtins.so")
        try:
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise _FailureError(f"error: {self.title} does not load: {error}") from None
        self.version = self._version()
        if kind == "nvrtc":
            self._load_builtins(f"libnvrtc-builtins.so.{self.version}")

    def _load_builtins(self, name: str) -> None:
        """Load what the library will look for by its bare name, and may lie beside it alone."""
        path = Path(self._path)
        for folder in (path.parent, path.resolve().parent):
            for file in sorted(folder.glob(f"{name}*")):
                try:
                    ctypes.CDLL(str(file))
                except OSError:
                    continue
                return

    def _version(self) -> str:
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check("Version", ctypes.byref(major), ctypes.byref(minor))
        self._numbers = (major.value, minor.value)
        return f"{major.value}.{minor.value}"

    def own_options(self) -> list[str]:
        """Return what this library is told whatever it compiles.

        NVRTC has a cache in the user's home from 12.9 on, for which it starts the driver: that
        takes longer than many a kernel, whose product is cached anyway.
        """
        has_cache = self._prefix == "nvrtc" and self._numbers >= (12, 9)
        return ["--no-cache"] if has_cache else []

    def _call(self, name: str, *arguments: object) -> int:
        name = self._prefix + name
        try:
            function = self._library[name]
        except AttributeError:
            raise _FailureError(
                f"error: {self._path} is no {self.title}: it lacks {name}"
            ) from None
        status: int = function(*arguments)
        return status

    def _check(self, name: str, *arguments: object) -> None:
        status = self._call(name, *arguments)
        if status != 0:
            raise _FailureError(f"error: {self._prefix}{name} failed: {self._words_for(status)}")

    def _words_for(self, status: int) -> str:
        function = self._library[f"{self._prefix}GetErrorString"]
        function.restype = ctypes.c_char_p
        return str(function(status).decode())

    def compile(self, source: bytes, name: str, options: list[str]) -> bytes:
        """Return the code object that a source makes; what is said meanwhile goes to stderr."""
        program = ctypes.c_void_p()
        self._check(
            "CreateProgram",
            ctypes.byref(program),
            source,
            os.fsencode(name),
            0,
            None,
            None,
        )
        words = (ctypes.c_char_p * len(options))(*map(os.fsencode, options))
        status = self._call("CompileProgram", program, len(options), words)
        said = self._read("ProgramLog", program).decode(errors="replace").strip("\0\n ")
        if said:
            sys.stderr.write(f"{said}\n")
        if status != 0:
            # Of an error in the source all is said.
            raise _FailureError("" if "error" in said else f"error: {self._words_for(status)}")
        return self._read("CUBIN" if self._prefix == "nvrtc" else "Code", program)

    def _read(self, what: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._check(f"Get{what}Size", program, ctypes.byref(size))
        # One byte more: not every library counts the zero that ends a log.
        data = ctypes.create_string_buffer(size.value + 1)
        self._check(f"Get{what}", program, data)
        return data.raw[: size.value]


def _version_text(library: _Library, path: str) -> str:
    """Return what tells a library and this file from others; builds share a version number."""

    def digest(file: str) -> str:
        return hashlib.blake2b(Path(file).read_bytes(), digest_size=10).hexdigest()

    name = Path(path).resolve().name
    return (
        f"{library.title} {library.version} ({name}, {digest(path)})\nby rtc, {digest(__file__)}\n"
    )


def _unbundled(image: bytes) -> bytes:
    """Return the one code object in what hipRTC made, which may be a bundle of them."""
    if image.startswith(_COMPRESSED):
        raise _FailureError("error: hipRTC made a compressed bundle, which is not supported")
    if not image.startswith(_BUNDLE):
        return image

    def number(at: int) -> int:
        return int.from_bytes(image[at : at + 8], "little")

    found = []
    at = len(_BUNDLE) + 8
    for _ in range(number(len(_BUNDLE))):
        start, size, length = number(at), number(at + 8), number(at + 16)
        # What is the host's comes first, and is empty.
        if size > 0 and not image[at + 24 : at + 24 + length].startswith(b"host"):
            found.append(image[start : start + size])
        at += 24 + length
    if len(found) != 1:
        raise _FailureError(f"error: hipRTC made a bundle of {len(found)} code objects, not of one")
    return found[0]


# -- files -----------------------------------------------------------------------------------------


def _headers(folders: list[str]) -> list[str]:
    """Return every header in some folders and below.

    A kernel reads some of these and no others. A change of one that it does not read compiles it
    anew, and does no other harm.
    """
    files = (file for folder in folders for file in Path(folder).rglob("*"))
    return sorted({str(file) for file in files if file.suffix in _HEADERS and file.is_file()})


def _escaped(path: str) -> str:
    """Escape a path for make."""
    for character in "\\ #":
        path = path.replace(character, f"\\{character}")
    return path.replace("$", "$$")


def _write(file: str, data: bytes) -> None:
    """Write a file so that a reader sees all of it or none."""
    part = Path(f"{file}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _run(arguments: list[str]) -> None:
    if len(arguments) < 3 or arguments[0] not in ("nvrtc", "hiprtc"):
        raise _FailureError(f"error: expected {_USAGE}; got {' '.join(arguments) or 'nothing'}")
    kind, path, *words = arguments
    if words == ["--version"]:
        sys.stdout.write(_version_text(_Library(kind, path), path))
        return
    request = _for_nvrtc(words) if kind == "nvrtc" else _for_hiprtc(words)
    if not request.source or not request.product:
        raise _FailureError("error: expected a source and -o with a product")
    text = Path(request.source).read_bytes()
    library = _Library(kind, path)
    image = library.compile(text, request.source, request.options + library.own_options())
    if request.depfile:
        listed = [request.source, *_headers(request.folders)]
        lines = " \\\n  ".join(map(_escaped, listed))
        _write(request.depfile, os.fsencode(f"{_escaped(request.product)}: {lines}\n"))
    _write(request.product, image if kind == "nvrtc" else _unbundled(image))


def main() -> int:
    """Run the command line; return the exit status."""
    try:
        _run(sys.argv[1:])
    except _FailureError as failure:
        if str(failure):
            sys.stderr.write(f"rtc: {failure}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"rtc: error: {error.filename}: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # All is written; what the libraries would still take apart is the system's to take.
    os._exit(status)
