"""Times the functions with the signatures of PyTorch, JAX and NumPy beside theirs.

    python benchmarks/facades.py
    python benchmarks/facades.py --library torch --device cuda

First single calls: small arrays (4 x 8, where the overhead counts) and 200,000 rows of 25, eager
and compiled. Then steps of programs, each with one import changed: a router of a mixture of experts
with its gradient, a sampler, and a pooling by medians. Results are compared before they are timed.

`times as fast` is the peer's median time over ours, from calls that alternate. Below 1, the peer is
faster. Libraries that are not installed are left out. `--device cuda` runs the cases of PyTorch and
JAX on a GPU, where calls of PyTorch are queued one after the other. On a CPU, all use one thread.
"""

from __future__ import annotations

import argparse
import os
import timeit
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")

import _common

_SMALL, _LARGE = (4, 8), (200_000, 25)


class Case(NamedTuple):
    """A call of ours and the same call of the peer.

    Parameters
    ----------
    name : str
        What is called.
    array : str
        The array's shape, or what the program works on.
    pair : sequence of callable
        Our call and the peer's, which return what is compared.
    calls : int, default 1
        How many calls are timed together.
    """

    name: str
    array: str
    pair: Sequence[Callable[[], Any]]
    calls: int = 1


def _shown(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _torch_cases(device: str) -> Iterator[Case]:
    torch = _common.peer_torch()
    import warp_bitonic_sort.torch as ours

    torch.set_num_threads(1)
    torch.manual_seed(0)
    functions: dict[str, Callable[[Any, Any], Any]] = {
        "sort": lambda t, x: t.sort(x).values,
        "argsort": lambda t, x: t.argsort(x, stable=True),
        "topk k=2": lambda t, x: t.topk(x, 2).values,
        "kthvalue k=2": lambda t, x: t.kthvalue(x, 2).values,
        "median": lambda t, x: t.median(x, -1).values,
        "quantile": lambda t, x: t.quantile(x, 0.3, -1),
    }

    def gradient(t: Any, x: Any) -> Any:
        return torch.autograd.grad(t.sort(x).values[..., 0].sum(), x)[0]

    queued = 50 if device == "cuda" else 1
    for shape, calls in ((_SMALL, 2000), (_LARGE, queued)):
        x, array = torch.rand(shape, device=device), _shown(shape)
        for name, f in functions.items():
            yield Case(name, array, [partial(f, t, x) for t in (ours, torch)], calls)
        for name in ("sort", "topk k=2"):
            fast = [
                torch.compile(partial(functions[name], t), fullgraph=True) for t in (ours, torch)
            ]
            yield Case(f"{name}, compiled", array, [partial(f, x) for f in fast], calls)
        wanted = x.clone().requires_grad_()
        both = [partial(gradient, t, wanted) for t in (ours, torch)]
        yield Case("sort and its gradient", array, both, calls)
    yield from _torch_programs(torch, ours, device, queued)


def _torch_programs(torch: Any, ours: Any, device: str, queued: int) -> Iterator[Case]:
    tokens = torch.randn(8192, 256, device=device)
    weights = torch.randn(256, 64, device=device, requires_grad=True)
    logits = torch.randn(64, 50257, device=device)
    images = torch.rand(16, 8, 128, 128, device=device)
    generator = torch.Generator(device)

    def route(t: Any) -> Any:
        chosen, experts = t.topk(tokens @ weights, 8)
        loss = (torch.softmax(chosen, -1) * (experts + 1)).sum()
        return torch.autograd.grad(loss, weights)[0]

    def sample(t: Any) -> Any:
        values, words = t.topk(logits, 50)
        shares = torch.softmax(values, -1)
        kept = shares * (shares.cumsum(-1) - shares < 0.9)
        choice = torch.multinomial(kept, 1, generator=generator.manual_seed(0))
        return words.gather(-1, choice)

    def pool(t: Any) -> Any:
        windows = images.unfold(2, 3, 3).unfold(3, 3, 3).flatten(-2)
        return t.median(windows, -1).values

    for name, array, program in (
        ("router, forward and backward", "8192 tokens, 8 of 64 experts", route),
        ("sampler, 50 of the vocabulary", "64 x 50257", sample),
        ("pooling by medians of 3 x 3", _shown(images.shape), pool),
    ):
        yield Case(name, array, [partial(program, t) for t in (ours, torch)], queued)


def _numpy_cases() -> Iterator[Case]:
    import numpy as np

    import warp_bitonic_sort.numpy as ours

    functions: dict[str, Callable[[Any, Any], Any]] = {
        "sort": lambda n, x: n.sort(x),
        "argsort": lambda n, x: n.argsort(x, stable=True),
        "median": lambda n, x: n.median(x, axis=-1),
        "quantile": lambda n, x: n.quantile(x, 0.3, axis=-1),
        "nanmedian": lambda n, x: n.nanmedian(x, axis=-1),
    }
    for shape, calls in ((_SMALL, 2000), (_LARGE, 1)):
        x = np.random.default_rng(0).random(shape, np.float32)
        for name, f in functions.items():
            yield Case(name, _shown(shape), [partial(f, n, x) for n in (ours, np)], calls)


def _jax_cases(device: str) -> Iterator[Case]:
    import jax
    import jax.numpy as jnp
    import numpy as np

    import warp_bitonic_sort.jax as ours

    functions: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
        "sort": (ours.sort, jnp.sort),
        "argsort": (ours.argsort, jnp.argsort),
        "top_k k=2": (lambda x: ours.top_k(x, 2)[0], lambda x: jax.lax.top_k(x, 2)[0]),
        "median": (partial(ours.median, axis=-1), partial(jnp.median, axis=-1)),
    }

    def waited(f: Callable[[Any], Any], x: Any) -> Any:
        return f(x).block_until_ready()

    where = jax.devices("gpu" if device == "cuda" else "cpu")[0]
    for shape, calls in ((_SMALL, 500), (_LARGE, 1)):
        x = jax.device_put(np.random.default_rng(0).random(shape, np.float32), where)
        for name, both in functions.items():
            for kind, calls_of in (("", both), (", jit", [*map(jax.jit, both)])):
                eager = [partial(waited, f, x) for f in calls_of]
                yield Case(name + kind, _shown(shape), eager, calls)


def _check(case: Case) -> None:
    """Raise if the two calls return different arrays; a gradient may differ in the last bits."""
    import numpy as np

    found, expected = (call() for call in case.pair)
    if hasattr(found, "detach"):
        found, expected = found.detach().cpu(), expected.detach().cpu()
    tolerance = 1e-3 if "router" in case.name else 0
    np.testing.assert_allclose(
        np.asarray(found), np.asarray(expected), rtol=tolerance, atol=tolerance
    )


def main() -> None:
    """Measure, print a table, and write JSON if an option names a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--library", nargs="+", choices=["torch", "numpy", "jax"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each case")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    cases: dict[str, Callable[[], Iterator[Case]]] = {
        "torch": partial(_torch_cases, options.device),
        "numpy": _numpy_cases,
        "jax": partial(_jax_cases, options.device),
    }

    def repeated(call: Callable[[], Any], calls: int) -> Callable[[], None]:
        def run() -> None:
            timeit.timeit(call, number=calls)
            if options.device == "cuda":
                _common.peer_torch().cuda.synchronize()

        return run

    result: dict[str, Any] = {"machine": _common.machine("jax"), "rows": []}
    if options.device == "cuda":
        result["machine"]["gpu"] = _common.peer_torch().cuda.get_device_name()
    for key, value in result["machine"].items():
        print(f"{key}: {value}")
    rows = []
    for library in options.library or cases:
        try:
            listed = [*cases[library]()]
        except ImportError as error:
            print(f"{library} is left out: {error}")
            continue
        for case in listed:
            _check(case)
            calls = (repeated(call, case.calls) for call in case.pair)
            peers = dict(zip(("ours", "theirs"), calls, strict=True))
            times = _common.interleaved(peers, options.seconds)
            ratio = times["theirs"] / times["ours"]
            taken = [f"{seconds / case.calls * 1e6:.1f}" for seconds in times.values()]
            note = "slower" if ratio < 1 else ""
            rows.append([library, case.name, case.array, *taken, f"{ratio:.2f}", note])
            row = {"library": library, "case": case.name, "array": case.array}
            result["rows"].append({**row, "calls": case.calls, "seconds": times})
    header = ["library", "call", "array", "us, ours", "us, theirs", "times as fast", "note"]
    print(f"\n{_common.table(header, rows)}")
    _common.report(result, options.json)


if __name__ == "__main__":
    main()
