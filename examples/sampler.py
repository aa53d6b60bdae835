"""A sampler of a language model: one of the likeliest tokens is drawn for each sequence.

Run it with ``python examples/sampler.py`` where PyTorch is installed.
"""

from typing import NamedTuple

import torch

from warp_bitonic_sort import top_k


class Candidates(NamedTuple):
    """The tokens that may follow each sequence.

    Parameters
    ----------
    tokens : Tensor
        The tokens, the likeliest one first, of shape (sequences, k).
    probabilities : Tensor
        The probability of each, of the same shape. Tokens that are left out have 0; each row sums
        to one.
    """

    tokens: torch.Tensor
    probabilities: torch.Tensor


def candidates(
    logits: torch.Tensor, k: int = 50, p: float = 0.9, temperature: float = 1.0
) -> Candidates:
    """Choose the k likeliest tokens, and of these the fewest that have a share of p.

    Parameters
    ----------
    logits : Tensor
        How well each token follows each sequence, of shape (sequences, vocabulary). A token with a
        logit of -inf is never drawn.
    k : int, default 50
        The most tokens of a sequence.
    p : float, default 0.9
        The share of the probability of k tokens, above 0 and at most 1.
    temperature : float, default 1.0
        Above 1, unlikely tokens are drawn more often; below 1, more rarely.
    """
    # The vocabulary is read once. Everything else works on k tokens, which are sorted already.
    values, tokens = top_k(logits, k)
    probabilities = torch.softmax(values.float() / temperature, dim=-1)
    before = probabilities.cumsum(-1) - probabilities
    probabilities = probabilities.masked_fill(before >= p, 0)
    return Candidates(tokens, probabilities / probabilities.sum(-1, keepdim=True))


def draw(chosen: Candidates, generator: torch.Generator | None = None) -> torch.Tensor:
    """Draw a token for each sequence; the result has shape (sequences,).

    Parameters
    ----------
    chosen : Candidates
        The tokens that may follow.
    generator : Generator, optional
        The source of random numbers, by default PyTorch's own.
    """
    choice = torch.multinomial(chosen.probabilities, 1, generator=generator)
    return chosen.tokens.gather(-1, choice).squeeze(-1)


def main() -> None:
    """Draw tokens from random logits, and print how few of a vocabulary may follow."""
    generator = torch.Generator().manual_seed(0)
    sequences, vocabulary, k, p = 32, 128_256, 50, 0.9
    # A model is surer of some tokens than of others. A grammar forbids a quarter of all tokens.
    sureness = torch.linspace(1, 20, sequences)[:, None]
    logits = sureness * torch.randn(sequences, vocabulary, generator=generator)
    is_forbidden = torch.rand(vocabulary, generator=generator) < 0.25
    chosen = candidates(logits.masked_fill(is_forbidden, -torch.inf), k, p)
    tokens = torch.stack([draw(chosen, generator) for _ in range(1000)])
    counts = (chosen.probabilities > 0).sum(-1)
    print(f"{sequences} sequences, a vocabulary of {vocabulary} tokens, k = {k}, p = {p}")
    shares = (tokens == chosen.tokens[:, 0]).float().mean(0)
    for name, at in [("least", 0), ("most", -1)]:
        likeliest = chosen.probabilities[at, 0]
        print(f"where the model is {name} sure, {counts[at]} tokens may follow; ", end="")
        print(f"the likeliest has {likeliest:.1%}, and {shares[at]:.1%} of 1000 draws")
    print(f"forbidden tokens that were drawn: {is_forbidden[tokens].sum()}")


if __name__ == "__main__":
    main()
