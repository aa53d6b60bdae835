"""From a specification to an open kernel: compiled once, cached by content, never at import.

Arrows run downwards only: loader -> layers -> cache -> toolchain -> spec. What only a build needs
(builder, and what that takes) stands beside these, and is imported when there is one.
"""
