"""A step of a decoder as a CUDA graph: the likeliest tokens of each sequence, by one launch.

Run it with ``python examples/cuda_graph.py`` where PyTorch and an NVIDIA GPU are.
"""

import torch

from warp_bitonic_sort import top_k


class Likeliest:
    """Finds the likeliest tokens of each sequence, for logits of one shape.

    Parameters
    ----------
    logits : Tensor
        Logits of the shape, dtype and device of all that will follow, of shape (sequences, tokens).
    k : int
        How many tokens of each sequence are found.
    """

    def __init__(self, logits: torch.Tensor, k: int) -> None:
        self._logits = logits.clone()
        # A first call compiles and loads the kernel, which a capture must not do.
        self._step(k)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._probabilities, self._tokens = self._step(k)

    def __call__(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return probabilities and tokens. The next call overwrites both."""
        self._logits.copy_(logits)
        self._graph.replay()
        return self._probabilities, self._tokens

    def _step(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        values, tokens = top_k(self._logits, k)
        return values.softmax(-1), tokens


def main() -> None:
    """Replay a graph for new logits, and compare with torch.topk."""
    if not torch.cuda.is_available():
        raise SystemExit("this example needs an NVIDIA GPU, and PyTorch built for CUDA")
    logits = torch.randn(64, 50257, device="cuda")
    likeliest = Likeliest(logits, k=8)
    for step in range(3):
        logits = torch.randn_like(logits)
        _, tokens = likeliest(logits)
        print(f"step {step}: {torch.equal(tokens, logits.topk(8).indices)}")


if __name__ == "__main__":
    main()
