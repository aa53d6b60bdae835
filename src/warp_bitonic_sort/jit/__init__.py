"""From a specification to an open kernel: compiled once, cached by content, never at import.

Arrows run downwards only: loader -> cache -> ninja -> toolchain -> spec.
"""
