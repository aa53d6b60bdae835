"""Whether PyTorch runs the operations of a call, or records, simulates or transforms them.

Invariant: our kernels are no operators of PyTorch, so a context that records or replaces operators
sees the allocation of a result and not the sort. There `refuse` raises. A context that only watches
(`FlopCounterMode`) is let through.
"""

from __future__ import annotations

import torch

from ._advice import TRACED

__all__ = ["is_plain", "refuse"]

# Private names that every version since 2.1 has; each takes some 30 ns.
_is_traced = torch._C._is_tracing
_count_modes = torch._C._len_torch_dispatch_stack
_transform = torch._C._functorch.peek_interpreter_stack
_is_included = torch._C._dispatch_tls_is_dispatch_key_included
_PRE_DISPATCH = torch._C.DispatchKey.PreDispatch

_MODES = {
    torch._C._TorchDispatchModeKey.PROXY: "make_fx or torch.export",
    torch._C._TorchDispatchModeKey.FUNCTIONAL: "torch.export or AOTAutograd",
    torch._C._TorchDispatchModeKey.FAKE: "FakeTensorMode",
}


def is_plain() -> bool:
    """Tell whether nothing but autograd and autocast stands between a call and its result."""
    return not (
        _is_traced() or _count_modes() or _transform() is not None or _is_included(_PRE_DISPATCH)
    )


def refuse(argument: str) -> None:
    """Raise if the context, which `is_plain` found to be none, would not see a sort."""
    if _transform() is not None:
        raise TypeError(
            f"{argument}: sort is called inside a torch.func transform (vmap, grad, "
            f"functionalize), which it has no rule for yet; call sort outside, or use torch.sort "
            f"there."
        )
    where = None
    if _is_traced():
        where = "torch.jit.trace"
    elif _is_included(_PRE_DISPATCH):
        where = _MODES[torch._C._TorchDispatchModeKey.PROXY]
    else:
        for key, name in _MODES.items():
            if torch._C._get_dispatch_mode(key) is not None:
                where = name
                break
    if where is not None:
        raise TypeError(
            f"{argument}: sort is called inside {where}, which does not see its kernel; {TRACED}."
        )
