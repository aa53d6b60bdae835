"""Keeps compiled kernels on disk.

Invariant: an entry is found by its content, published as a whole, and never modified.
"""
