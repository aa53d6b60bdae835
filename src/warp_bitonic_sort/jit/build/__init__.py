"""Compiles what no cache has.

Invariant: `loader` alone imports this package, when the first artifact is missing.
"""
