"""The checks of one rank of `test_torch_distributed.py`.

python distributed_ranks.py RANK RANKS STORE

With ``WARP_SORT_TESTS_DEVICE=cuda``, parts are on GPUs. Ranks talk by NCCL if each has a GPU of its
own, else by gloo.
"""

import datetime
import os
import sys

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import (
    DeviceMesh,
    DTensor,
    Partial,
    Replicate,
    Shard,
    distribute_tensor,
    init_device_mesh,
)

import warp_bitonic_sort.torch as ours
from warp_bitonic_sort.torch import distributed

RANK, RANKS, STORE = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
KIND = os.environ.get("WARP_SORT_TESTS_DEVICE", "cpu")
if KIND == "cuda":
    torch.cuda.set_device(RANK % torch.cuda.device_count())
BACKEND = "nccl" if KIND == "cuda" and torch.cuda.device_count() >= RANKS else "gloo"
DTYPES = [
    torch.float32,
    torch.bfloat16,
    torch.float64,
    torch.int64,
    torch.int8,
    torch.uint8,
    torch.uint16,
    torch.uint64,
    torch.bool,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
]
# How long the parts are: even, uneven, shorter than k, and empty.
LENGTHS = {
    1: [(50,)],
    2: [(40, 40), (70, 13), (3, 90), (0, 60)],
    3: [(30, 30, 30), (3, 50, 4), (60, 0, 20)],
    4: [(9, 0, 31, 20)],
}


def bits(x):
    return x.contiguous().view(torch.uint8)


def same(found, wanted):
    return torch.equal(found.cpu(), wanted.cpu())


def rows(dtype, length, seed):
    """Rows with ties and, of floats, NaNs, infinities, zeros of either sign and extremes."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-3, 4, (5, length), generator=generator)
    if not dtype.is_floating_point:
        limits = torch.iinfo(torch.uint8 if dtype is torch.bool else dtype)
        x = x if limits.min < 0 else x.abs()
        x = x.to(dtype)
        x[1:3] = limits.min
        return x
    x = x.to(dtype)
    special = torch.tensor([torch.nan, torch.inf, -torch.inf, -0.0, -torch.nan]).to(dtype)
    draw = torch.randint(0, 12, (5, length), generator=generator)
    words = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    for number, value in enumerate(special):
        x.view(words)[draw == number] = value.view(words)
    # Rows of the value that pads parts: padding must not be returned.
    x[1] = torch.finfo(dtype).min if dtype is torch.float8_e4m3fn else -torch.inf
    x[2] = torch.nan
    return x


def expected(x, k, largest):
    """The first k of a stable sort of the whole rows, in a dtype that PyTorch sorts."""
    x = x.cpu()
    wide = x.to(torch.float32) if x.dtype.is_floating_point and x.element_size() < 4 else x
    if x.dtype in (torch.uint16, torch.uint64):
        wide = x.to(torch.int64)
        wide = wide ^ torch.iinfo(torch.int64).min if x.dtype is torch.uint64 else wide
    indices = wide.sort(stable=True, descending=largest).indices[:, :k]
    words = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return x.view(words).gather(1, indices).view(x.dtype), indices


def check_parts():
    for number, dtype in enumerate(DTYPES):
        for lengths in LENGTHS[RANKS]:
            x = rows(dtype, sum(lengths), number)
            local = x.split(lengths, 1)[RANK].to(KIND)
            for k in (0, 7, sum(lengths)):
                for largest in (True, False):
                    values, indices = expected(x, k, largest)
                    found = distributed.topk(local, k, largest=largest)
                    case = (dtype, lengths, k, largest)
                    assert type(found) is torch.return_types.topk
                    assert same(found.indices, indices), case
                    assert same(bits(found.values), bits(values)), case


def check_offsets_columns_and_one_receiver():
    # The parts lie in the row in the other order of the ranks.
    x = rows(torch.float32, 30 * RANKS, 1).to(KIND)
    place = RANKS - 1 - RANK
    local = x[:, 30 * place : 30 * place + 30].t()
    values, indices = expected(x, 40, True)
    found = distributed.topk(local, 40, dim=0, index_offset=30 * place)
    assert same(found.indices, indices.t())
    assert same(bits(found.values), bits(values.t()))
    found = distributed.topk(local, 40, dim=0, index_offset=30 * place, dst=1)
    assert (found is None) == (RANK != 1)
    if RANK == 1:
        assert same(found.indices, indices.t())
    # Of a part of the processes, whose numbers within the group are others.
    members = [RANKS - 2, RANKS - 1]
    group = dist.new_group(members)
    if RANK in members:
        parts = [x[:, 30 * rank : 30 * rank + 30] for rank in members]
        part = parts[members.index(RANK)]
        kept = expected(torch.cat(parts, 1), 40, True)[1]
        assert same(distributed.topk(part, 40, group=group).indices, kept)
        found = distributed.topk(part, 40, group=group, dst=members[1])
        assert (found is None) == (members[1] != RANK)
        assert found is None or same(found.indices, kept)
    # One part says where it begins, the others follow those before.
    part = x[:, 30 * RANK : 30 * RANK + 30]
    found = distributed.topk(part, 40, index_offset=0 if RANK == 0 else None)
    assert same(found.indices, expected(x, 40, True)[1])


def check_traffic():
    sent = []
    all_gather = dist.all_gather

    def counted(parts, part, group=None):
        sent.append(part.nbytes)
        return all_gather(parts, part, group=group)

    dist.all_gather = counted
    x = torch.rand(64, 1000, device=KIND)
    distributed.topk(x, 8)
    mesh = init_device_mesh(KIND, (RANKS,))
    ours.topk(DTensor.from_local(x, mesh, [Shard(1)]), 8)
    dist.all_gather = all_gather
    # A header; then four bytes of a value and eight of an index for each.
    assert sent == [16 + 64 * 8 * 12] * 2


def check_dtensors():
    mesh = init_device_mesh(KIND, (RANKS,))
    for length in (400, 7, 1):  # even or uneven parts, and parts without elements
        x = rows(torch.float32, length, 3).to(KIND)
        k = min(5, length)
        values, indices = expected(x, k, False)
        for placement in (Shard(1), Shard(0), Replicate()):
            found = ours.topk(distribute_tensor(x, mesh, [placement]), k, largest=False)
            assert isinstance(found.values, DTensor)
            assert found.values.shape == values.shape
            if placement == Shard(1):
                assert found.values.placements == (Replicate(),)
            assert same(bits(found.values.full_tensor()), bits(values))
            assert same(found.indices.full_tensor(), indices)
    x = rows(torch.float32, 400, 4).to(KIND)
    values, indices = expected(x, 5, True)
    whole = ours.median(distribute_tensor(x, mesh, [Shard(1)]), 1).values.full_tensor()
    torch.testing.assert_close(whole, torch.median(x, 1).values, equal_nan=True)
    differentiable = distribute_tensor(x, mesh, [Shard(1)]).requires_grad_()
    ours.topk(differentiable, 5).values.full_tensor().sum().backward()
    assert same(differentiable.grad.full_tensor().nonzero()[:, 1],
                       indices.sort().values.reshape(-1))  # fmt: skip
    if RANKS % 2:
        return
    both = init_device_mesh(KIND, (2, RANKS // 2))
    for placements in (
        (Shard(0), Shard(1)),
        (Shard(1), Shard(0)),
        (Shard(1), Replicate()),
        (Replicate(), Shard(1)),
        (Shard(1), Shard(1)),
    ):
        found = ours.topk(distribute_tensor(x, both, placements), 5)
        assert same(found.indices.full_tensor(), indices), placements
        assert same(bits(found.values.full_tensor()), bits(values)), placements
    partial = DTensor.from_local(x[:, :200] / RANKS, both, [Partial(), Shard(1)])
    assert ours.topk(partial, 5).indices.shape == (5, 5)
    with torch.no_grad():  # on its way to the other processes
        moved = partial.redistribute(placements=[Replicate(), Shard(1)], async_op=True)
        assert ours.topk(moved, 5).indices.shape == (5, 5)
    # A process that is not in a mesh has an empty part.
    few = DeviceMesh(KIND, [0, 1])
    found = ours.topk(distribute_tensor(x, few, [Shard(1)]), 5)
    assert RANK > 1 or same(found.indices.full_tensor(), indices)


def check_errors():
    x = torch.rand(3, 5, device=KIND)
    for options, error, message in (
        ({"k": -1}, ValueError, "k: expected 0 or more"),
        ({"k": 1.5}, TypeError, "k: expected an integer"),
        ({"k": 2, "dim": 2}, ValueError, "dim: expected -2 to 1"),
        ({"k": 2, "largest": "yes"}, TypeError, "largest: expected"),
        ({"k": 2, "index_offset": -1}, ValueError, "index_offset: expected 0 or more"),
        ({"k": 2, "local": x.requires_grad_()}, TypeError, "local: the gradient"),
        ({"k": 2, "local": x.tolist()}, TypeError, "local: expected a torch.Tensor"),
        ({"k": 2, "local": x.detach()[0, 0]}, ValueError, "local: expected rows"),
        ({"k": 2, "dst": RANKS}, ValueError, "dst: expected a rank of the group"),
        ({"k": 2, "dst": 0.5}, TypeError, "dst: expected an integer"),
        (
            {"k": 2, "group": init_device_mesh(KIND, (RANKS,))},
            TypeError,
            "group: expected a torch",
        ),
        ({"k": 5 * RANKS + 1}, ValueError, f"k: expected 0 to {5 * RANKS}"),
    ):
        with pytest.raises(error, match=message):
            distributed.topk(**{"local": x.detach(), **options})


def check_numbers_of_numpy():
    x = rows(torch.float32, 20 * RANKS, 7).to(KIND)
    part = x[:, 20 * RANK : 20 * RANK + 20]
    found = distributed.topk(part, np.int64(3), dim=np.int64(-1), largest=np.True_)
    assert same(found.indices, expected(x, 3, True)[1])


def check_lost_rank():
    """The last rank ends without a word: the others raise, and do not wait forever."""
    if BACKEND == "nccl":  # its watchdog ends the process
        return
    if RANK == RANKS - 1:
        os._exit(0)
    with pytest.raises(RuntimeError):
        distributed.topk(torch.rand(3, 50, device=KIND), 2)


def main():
    dist.init_process_group(BACKEND, init_method=f"file://{STORE}", rank=RANK, world_size=RANKS,
                            timeout=datetime.timedelta(seconds=60))  # fmt: skip
    checks = [check_parts]
    if RANKS > 1:
        checks += [check_offsets_columns_and_one_receiver, check_numbers_of_numpy, check_errors]
    if RANKS > 1 and not (KIND == "cuda" and BACKEND == "gloo"):  # gloo crashes on such DTensors
        checks += [check_traffic, check_dtensors]
    for check in checks:
        check()
    sys.stdout.write(f"rank {RANK} done\n")
    sys.stdout.flush()
    check_lost_rank()
    sys.stdout.write(f"rank {RANK} noticed\n")
    sys.stdout.flush()
    os._exit(0)  # the group is broken


main()
