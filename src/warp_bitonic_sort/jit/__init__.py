"""From a kernel's description to an open kernel: compiled once, cached by content, never at import.

Invariant: `loader` is the way in. It imports ``store``, and ``build`` when something has to be
compiled; ``build`` imports ``store``. Targets are known by their recipes alone.
"""
