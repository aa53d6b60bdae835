"""Runs the run-time compilers NVRTC and hipRTC, which are libraries, as compilers.

Invariant: this process never loads them; `program` does, in a process of its own.
"""
