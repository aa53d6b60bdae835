"""From a kernel's description to an open kernel: compiled once, cached by content, never at import.

Invariant: imports run downwards only: loader -> layers -> cache -> toolchain -> spec. A build's
modules (builder, and those it imports) are imported when the first kernel is built.
"""
