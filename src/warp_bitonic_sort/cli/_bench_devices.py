"""The CPU or the GPU that ``bench`` measures: its arrays, its clock and its libraries.

Invariant: all libraries of a device get the same elements, and on a CPU the same threads. A library
that cannot is left out, with the reason.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .. import set_num_threads
from . import _bench_machine, _bench_peers, _bench_timing
from ._bench_peers import Case, Way
from ._bench_timing import Call, Timer


class Device(NamedTuple):
    """A device.

    Parameters
    ----------
    kind : str
        ``cpu`` or ``gpu``.
    name : str
        Of the processor or the GPU.
    elements : int
        How many elements a case has unless the user says how many rows.
    timer : callable
        Its clock.
    put : callable
        ``put(x)``: the elements of an array of NumPy as an array that this package gets.
    fetch : callable
        ``fetch(x)``: the elements of any array of a peer as an array of NumPy.
    ways : callable
        ``ways(case, x, payload)``: the peers' ways for arrays of `put`.
    copy : callable
        Copies a fixed array, which is the reference for the machine's speed.
    versions : mapping of str to str
        Of what the description of the machine does not have.
    left_out : mapping of str to str
        Libraries, and why they are not asked.
    """

    kind: str
    name: str
    elements: int
    timer: Timer
    put: Callable[[Any], Any]
    fetch: Callable[[Any], Any]
    ways: Callable[[Case, Any, Any], list[Way]]
    copy: Call
    versions: Mapping[str, str]
    left_out: Mapping[str, str]


def installed(name: str) -> Any | None:
    """Return a module, or None if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def cpu(threads: int) -> Device:
    """Return the CPU, with so many threads for all libraries."""
    import numpy as np

    torch = installed("torch")
    left_out = {}
    if torch is None:
        left_out["PyTorch"] = "it is not installed"
    else:
        torch.set_num_threads(threads)
    if threads > 1:
        left_out["NumPy"] = f"it has no {threads} threads for this; --threads 1 compares with it"
    set_num_threads(threads)

    def ways(case: Case, x: Any, payload: Any) -> list[Way]:
        found = []
        if threads == 1:
            found += _bench_peers.of_arrays(np, "NumPy", "np", case, x, payload)
        if torch is not None:
            tensors = [_tensor(torch, each) for each in (x, payload)]
            found += _bench_peers.of_torch(torch, case, *tensors)
        return found

    reference = np.zeros(1 << 20, np.float32)
    return Device(
        "cpu",
        _bench_machine.processor(),
        1 << 18,
        _bench_timing.time_on_host,
        lambda x: x,
        fetch,
        ways,
        reference.copy,
        {},
        left_out,
    )


def gpu() -> Device | None:
    """Return the GPU that PyTorch or CuPy sees, or None."""
    torch, cupy = installed("torch"), installed("cupy")
    if cupy is not None and not _sees_gpu(cupy):
        cupy = None
    if torch is not None and torch.cuda.is_available():
        return _gpu_of_torch(torch, cupy)
    return None if cupy is None else _gpu_of_cupy(cupy)


def _sees_gpu(cupy: Any) -> bool:
    try:
        return bool(cupy.cuda.runtime.getDeviceCount())
    except RuntimeError:  # no driver
        return False


def _gpu_of_torch(torch: Any, cupy: Any | None) -> Device:
    left_out = {}
    if cupy is None:
        left_out["CuPy"] = "it is not installed, or sees no GPU"
    if installed("triton") is None:
        left_out["Triton"] = "it is not installed"

    def ways(case: Case, x: Any, payload: Any) -> list[Way]:
        found = [
            *_bench_peers.of_torch(torch, case, x, payload),
            *_bench_peers.of_triton(torch, case, x),
        ]
        if cupy is not None and case.dtype != "bfloat16":
            arrays = [cupy.from_dlpack(each) for each in (x, payload)]
            found += _bench_peers.of_arrays(cupy, "CuPy", "cupy", case, *arrays)
        return found

    reference = torch.zeros(1 << 26, dtype=torch.uint8).cuda()
    return Device(
        "gpu",
        torch.cuda.get_device_name(),
        1 << 24,
        _bench_timing.time_by_torch,
        lambda x: _tensor(torch, x).cuda(),
        fetch,
        ways,
        reference.clone,
        {"CUDA of torch": torch.version.cuda or f"ROCm {torch.version.hip}"},
        left_out,
    )


def _gpu_of_cupy(cupy: Any) -> Device:
    def ways(case: Case, x: Any, payload: Any) -> list[Way]:
        return _bench_peers.of_arrays(cupy, "CuPy", "cupy", case, x, payload)

    reference = cupy.zeros(1 << 26, cupy.uint8)
    return Device(
        "gpu",
        cupy.cuda.runtime.getDeviceProperties(0)["name"].decode(),
        1 << 24,
        _bench_timing.time_by_cupy,
        cupy.asarray,
        fetch,
        ways,
        reference.copy,
        {},
        dict.fromkeys(("PyTorch", "Triton"), "PyTorch is not installed, or sees no GPU"),
    )


def _tensor(torch: Any, x: Any) -> Any:
    """Return the elements of an array of NumPy, which may be of bfloat16, as a tensor."""
    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x.view("int16")).view(torch.bfloat16)
    return torch.from_numpy(x)


def fetch(x: Any) -> Any:
    """Return the elements of an array of any library as an array of NumPy; bfloat16 as float32."""
    import numpy as np

    if hasattr(x, "cpu"):  # a tensor
        x = x.cpu()
        return (x.float() if str(x.dtype) == "torch.bfloat16" else x).numpy()
    if hasattr(x, "get"):  # an array of CuPy
        return x.get()
    x = np.asarray(x)
    return x.astype("float32") if x.dtype.name == "bfloat16" else x
