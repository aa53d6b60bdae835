"""Compiled kernels on disk: found by content, published whole, never modified."""
