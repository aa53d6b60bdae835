"""The checks of one rank of `test_torch_dtensor.py`: python dtensor_ranks.py RANK RANKS STORE."""

import sys

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor, init_device_mesh

import warp_bitonic_sort.torch as ours

RANK, RANKS, STORE = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


def rows(count, length=6):
    generator = torch.Generator().manual_seed(count)
    return torch.randperm(count * length, generator=generator).reshape(count, length).double() / 7


CALLS = {
    "sort": lambda t, x: t.sort(x).values,
    "sort dim 0": lambda t, x: t.sort(x, 0, True).values,
    "indices": lambda t, x: t.sort(x).indices,
    "argsort": lambda t, x: t.argsort(x, -1),
    "topk": lambda t, x: t.topk(x, 2).values,
    "topk dim 0": lambda t, x: t.topk(x, 1, 0).indices,
}


def check_placement(mesh, name, x, placement):
    call = CALLS[name]
    local = distribute_tensor(x, mesh, [placement])
    found = call(ours, local)
    assert isinstance(found, DTensor)
    sorted_dim = 0 if "dim 0" in name else 1
    # A dimension that is shorter than the number of ranks is not kept sharded, by PyTorch.
    stays = isinstance(placement, Shard) and placement.dim != sorted_dim
    stays = stays and x.shape[placement.dim] >= RANKS
    assert found.placements == ((placement,) if stays else (Replicate(),)), (name, placement)
    assert torch.equal(found.full_tensor(), call(torch, x)), (name, placement)


def check_gradient(mesh, name, x, placement, run):
    weights = torch.arange(1.0, x.shape[1] + 1).double()

    def gradient(t, x, whole):
        values = run(lambda x: CALLS[name](t, x))(x)
        loss = (values**2).sum()
        loss.backward()
        return whole(x.grad)

    local = distribute_tensor(x, mesh, [placement]).requires_grad_()
    found = gradient(ours, local, lambda g: g.full_tensor())
    expected = gradient(torch, x.clone().requires_grad_(), lambda g: g)
    assert expected.abs().sum() > 0, weights
    torch.testing.assert_close(found, expected)


def main():
    dist.init_process_group("gloo", init_method=f"file://{STORE}", rank=RANK, world_size=RANKS)
    mesh = init_device_mesh("cpu", (RANKS,))
    # The first call is one of which no gradient is possible.
    numbers = distribute_tensor(rows(4).int(), mesh, [Shard(0)])
    assert ours.argsort(numbers).placements == (Shard(0),)
    for count in (4, 5, 1):  # even, uneven and with an empty shard
        x = rows(count)
        for name in CALLS:
            for placement in (Shard(0), Shard(1), Replicate()):
                check_placement(mesh, name, x, placement)
        for name in ("sort", "topk"):
            for placement in (Shard(0), Shard(1)):
                check_gradient(mesh, name, x, placement, lambda f: f)
    compiled = torch.compile(lambda x: ours.sort(x).values, fullgraph=True, backend="aot_eager")
    x = rows(5)
    local = distribute_tensor(x, mesh, [Shard(0)])
    assert torch.equal(compiled(local).full_tensor(), torch.sort(x).values)
    check_gradient(mesh, "sort", x, Shard(0),
                   lambda f: torch.compile(f, fullgraph=True, backend="aot_eager"))  # fmt: skip
    dist.destroy_process_group()
    sys.stdout.write(f"rank {RANK} done\n")


main()
