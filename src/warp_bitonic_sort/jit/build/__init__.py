"""Compiles artifacts that no cache has.

Invariant: only `loader` imports this package, when the first artifact is missing.
"""
