"""From a specification to an open kernel: compiled once, cached by content, never at import.

Arrows run downwards only: loader -> builder -> cache -> toolchain -> spec. What only a build needs
stands beside these, and is imported when there is one.
"""
