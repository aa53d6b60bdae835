"""A router of a mixture of experts: each token goes to k experts, with weights that sum to one.

Run it with ``python examples/router.py`` where PyTorch is installed.
"""

from typing import NamedTuple

import torch

from warp_bitonic_sort.torch import topk


class Routes(NamedTuple):
    """Where tokens go.

    Parameters
    ----------
    experts : Tensor
        The experts of each token, the one of the largest logit first, of shape (tokens, k).
    weights : Tensor
        The weight of each expert's answer, of the same shape.
    """

    experts: torch.Tensor
    weights: torch.Tensor


def route(logits: torch.Tensor, k: int) -> Routes:
    """Choose the experts of each token.

    Parameters
    ----------
    logits : Tensor
        How well each expert suits each token, of shape (tokens, experts). An expert with a logit of
        -inf gets no weight.
    k : int
        How many experts each token goes to.
    """
    # Of equal logits the lowest expert is chosen: the same on every device, in every run.
    chosen, experts = topk(logits, k)
    # The softmax of k logits is cheaper than one of all, and its weights sum to one. The chosen
    # logits have a gradient, which trains the router.
    return Routes(experts, torch.softmax(chosen, dim=-1))


def mix(tokens: torch.Tensor, routes: Routes, experts: torch.nn.ModuleList) -> torch.Tensor:
    """Return the weighted sum of the answers of each token's experts.

    Parameters
    ----------
    tokens : Tensor
        The tokens, of shape (tokens, features).
    routes : Routes
        Where they go.
    experts : ModuleList
        The experts, which map features to features.
    """
    result = torch.zeros_like(tokens)
    for number, expert in enumerate(experts):
        token, choice = torch.nonzero(routes.experts == number, as_tuple=True)
        answers = expert(tokens[token]) * routes.weights[token, choice, None]
        result.index_add_(0, token, answers)
    return result


def main() -> None:
    """Route random tokens, and print how many each expert gets."""
    torch.manual_seed(0)
    tokens, count, k = torch.randn(4096, 16), 64, 8
    router = torch.nn.Linear(16, count)
    experts = torch.nn.ModuleList(torch.nn.Linear(16, 16) for _ in range(count))
    routes = route(router(tokens), k)
    mix(tokens, routes, experts).square().mean().backward()
    loads = routes.experts.flatten().bincount(minlength=count)
    print(f"{len(tokens)} tokens to {k} of {count} experts each")
    print(f"tokens of an expert: {loads.min()} to {loads.max()}, {loads.sum()} in all")
    print(f"gradient of the router: {router.weight.grad.norm():.4f}")


if __name__ == "__main__":
    main()
