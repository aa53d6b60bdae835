"""Runs the libraries NVRTC and hipRTC by the command lines of nvcc and clang.

Invariant: stands alone. It is run as a file, ``python -I -S program.py nvrtc LIBRARY FLAGS``, and
imports only the standard library. It accepts the flags of the CUDA recipe for nvcc (for ``hiprtc``,
those of the HIP recipe for clang). It writes the same files, each atomically: a code object, and a
list of the headers that it may depend on.
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
    """Ends the program; the message goes to standard error."""


# -- the command line ------------------------------------------------------------------------------


class _Request:
    """A parsed command line.

    Attributes
    ----------
    options : list of str
        The library's options.
    folders : list of str
        The folders of headers.
    source, product, depfile : str
        The files; ``depfile`` may be empty.
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
    """Add a word that nvcc and clang have in common to the request; tell whether it is one."""
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
    """Parse nvcc's command line."""
    request = _Request()
    while words:
        word = words.pop(0)
        if word == "-MF":
            request.depfile = _following(words, word)
        elif word.startswith("-arch="):
            request.options.append(f"--gpu-architecture={word[6:]}")
        # NVRTC always optimizes, and compiles device code only.
        elif word not in ("-cubin", "-O3", "-MMD") and not _common(request, word, words):
            raise _FailureError(f"error: {word!r} is not one of the supported flags of nvcc")
    return request


def _for_hiprtc(words: list[str]) -> _Request:
    """Parse clang's command line."""
    # Flags of clang's driver. hipRTC has no driver, and contains its headers and libraries.
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
            raise _FailureError(f"error: {word!r} is not one of the supported flags of clang")
    return request


# -- the library -----------------------------------------------------------------------------------


class _Library:
    """NVRTC or hipRTC, whose functions differ only in the prefix of their names."""

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
        """Load a library that this one loads by name, and that may be only in the same folder."""
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

    def fixed_options(self) -> list[str]:
        """Return the options of every compilation.

        From 12.9 on, NVRTC has a cache in the user's home, for which it starts the driver. That
        takes longer than many kernels, whose products are cached anyway.
        """
        has_cache = self._prefix == "nvrtc" and self._numbers >= (12, 9)
        return ["--no-cache"] if has_cache else []

    def _call(self, name: str, *arguments: object) -> int:
        name = self._prefix + name
        try:
            function = self._library[name]
        except AttributeError:
            raise _FailureError(
                f"error: {self._path} is not {self.title}: it lacks {name}"
            ) from None
        status: int = function(*arguments)
        return status

    def _check(self, name: str, *arguments: object) -> None:
        status = self._call(name, *arguments)
        if status != 0:
            raise _FailureError(f"error: {self._prefix}{name} failed: {self._error_string(status)}")

    def _error_string(self, status: int) -> str:
        function = self._library[f"{self._prefix}GetErrorString"]
        function.restype = ctypes.c_char_p
        return str(function(status).decode())

    def compile(self, source: bytes, name: str, options: list[str]) -> bytes:
        """Compile a source into a code object; write the library's log to standard error."""
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
        log = self._read("ProgramLog", program).decode(errors="replace").strip("\0\n ")
        if log:
            sys.stderr.write(f"{log}\n")
        if status != 0:
            # The log reports errors in the source.
            raise _FailureError("" if "error" in log else f"error: {self._error_string(status)}")
        return self._read("CUBIN" if self._prefix == "nvrtc" else "Code", program)

    def _read(self, what: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._check(f"Get{what}Size", program, ctypes.byref(size))
        # One more byte: some libraries do not count the zero at the end of a log.
        data = ctypes.create_string_buffer(size.value + 1)
        self._check(f"Get{what}", program, data)
        return data.raw[: size.value]


def _version_text(library: _Library, path: str) -> str:
    """Return a text that identifies the library and this file; builds share version numbers."""

    def digest(file: str) -> str:
        return hashlib.blake2b(Path(file).read_bytes(), digest_size=10).hexdigest()

    name = Path(path).resolve().name
    return (
        f"{library.title} {library.version} ({name}, {digest(path)})\nby rtc, {digest(__file__)}\n"
    )


def _unbundled(image: bytes) -> bytes:
    """Return the one code object of an image of hipRTC, which may be a bundle."""
    if image.startswith(_COMPRESSED):
        raise _FailureError("error: hipRTC wrote a compressed bundle, which is not supported")
    if not image.startswith(_BUNDLE):
        return image

    def number(at: int) -> int:
        return int.from_bytes(image[at : at + 8], "little")

    objects = []
    at = len(_BUNDLE) + 8
    for _ in range(number(len(_BUNDLE))):
        start, size, length = number(at), number(at + 8), number(at + 16)
        # The host's entry comes first, and is empty.
        if size > 0 and not image[at + 24 : at + 24 + length].startswith(b"host"):
            objects.append(image[start : start + size])
        at += 24 + length
    if len(objects) != 1:
        raise _FailureError(
            f"error: expected one code object in hipRTC's bundle, got {len(objects)}"
        )
    return objects[0]


# -- files -----------------------------------------------------------------------------------------


def _headers(folders: list[str]) -> list[str]:
    """Return all headers in folders and below.

    A kernel reads some of them. A change of another one only compiles the kernel again.
    """
    files = (file for folder in folders for file in Path(folder).rglob("*"))
    return sorted({str(file) for file in files if file.suffix in _HEADERS and file.is_file()})


def _escaped(path: str) -> str:
    """Escape a path for make."""
    for character in "\\ #":
        path = path.replace(character, f"\\{character}")
    return path.replace("$", "$$")


def _write(file: str, data: bytes) -> None:
    """Write a file atomically."""
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
    image = library.compile(text, request.source, request.options + library.fixed_options())
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
    # Skip the libraries' destructors: all files are written.
    os._exit(status)
