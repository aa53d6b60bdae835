"""Turns a kernel's description into an open kernel: compiled once, cached by content.

Invariant: `loader` is the entry point. It imports ``store``, and ``build`` only to compile;
``build`` imports ``store``. The build knows targets only by their recipes.
"""
