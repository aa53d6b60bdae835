"""What all of this process shares: forks, its end, the number of threads, and messages.

Invariant: nothing here knows a kernel, a store or an array.
"""
