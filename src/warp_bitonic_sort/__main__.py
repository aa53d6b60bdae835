"""Runs the command line: ``python -m warp_bitonic_sort`` is ``warp-bitonic-sort``."""

from .cli import main

if __name__ == "__main__":
    main()
