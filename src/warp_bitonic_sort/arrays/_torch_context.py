"""Tells whether PyTorch runs the operations of a call, or records, simulates or transforms them.

Invariant: our kernels are not operators of PyTorch. A context that records or replaces operators
would see the allocation of a result and not the sort; there `refuse` raises. A context that only
observes (`FlopCounterMode`) is allowed.
"""

from __future__ import annotations

import torch

from ._advice import TRACED

# Private names that PyTorch 2.5 to 2.13 have. Only make_fx(pre_dispatch=True) sets the dispatch
# key. It sets a function mode, too, which is ten times as fast to test.
_is_traced = torch._C._is_tracing
_count_modes = torch._C._len_torch_dispatch_stack
_has_function_mode = torch._C._is_torch_function_mode_enabled
_is_included = torch._C._dispatch_tls_is_dispatch_key_included
_PRE_DISPATCH = torch._C.DispatchKey.PreDispatch
_transform = torch._C._functorch.peek_interpreter_stack
_is_excluded = torch._C._dispatch_tls_is_dispatch_key_excluded
_AUTOGRAD = torch._C.DispatchKey.AutogradFunctionality

_MODES = {
    torch._C._TorchDispatchModeKey.PROXY: "make_fx or torch.export",
    torch._C._TorchDispatchModeKey.FUNCTIONAL: "torch.export or AOTAutograd",
    torch._C._TorchDispatchModeKey.FAKE: "FakeTensorMode",
}


def is_recorded() -> bool:
    """Tell whether a tracer or a dispatch mode is active."""
    return bool(
        _is_traced() or _count_modes() or (_has_function_mode() and _is_included(_PRE_DISPATCH))
    )


def is_transformed() -> bool:
    """Tell whether the call is inside a torch.func transform."""
    return _transform() is not None


def is_below_autograd() -> bool:
    """Tell whether PyTorch has dealt with gradients, as inside of an operator."""
    return bool(_is_excluded(_AUTOGRAD))


def refuse(argument: str) -> None:
    """Raise TypeError if the call is transformed, or recorded by a context that misses a sort."""
    if is_transformed():
        raise TypeError(
            f"{argument}: this call is inside a torch.func transform (vmap, grad, "
            f"functionalize), for which it has no rule; use the functions of "
            f"warp_bitonic_sort.torch there."
        )
    context = None
    if _is_traced():
        context = "torch.jit.trace"
    elif _is_included(_PRE_DISPATCH):
        context = _MODES[torch._C._TorchDispatchModeKey.PROXY]
    else:
        for key, name in _MODES.items():
            if torch._C._get_dispatch_mode(key) is not None:
                context = name
                break
    if context is not None:
        raise TypeError(
            f"{argument}: this call is inside {context}, which does not see its kernel; {TRACED}."
        )
