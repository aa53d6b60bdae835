"""Handles state of the whole process: forks, its end, the number of threads, messages.

Invariant: no module here depends on kernels, the store or arrays.
"""
