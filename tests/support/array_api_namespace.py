"""An array library whose sorting functions are those of warp_bitonic_sort.array_api.

It is a namespace for the tests of the array API standard. The environment variable
``WRAPPED_NAMESPACE`` names the library.
"""

import importlib
import os

from warp_bitonic_sort.array_api import argsort, sort, top_k

__all__ = ["argsort", "sort", "top_k"]

_wrapped = importlib.import_module(os.environ["WRAPPED_NAMESPACE"])


def __getattr__(name):
    return getattr(_wrapped, name)


def __dir__():
    return dir(_wrapped)
