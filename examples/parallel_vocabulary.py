"""The likeliest words of a vocabulary that is divided among processes.

Run it with ``torchrun --nproc-per-node 2 examples/parallel_vocabulary.py``. Each process holds the
logits of its part of the words, as a language model with a parallel last layer computes them.
"""

import torch
import torch.distributed as dist

from warp_bitonic_sort.torch import distributed


def main() -> None:
    """Choose words of every sequence, and compare them with those of the whole rows."""
    uses_gpus = torch.cuda.device_count() >= 2
    dist.init_process_group("nccl" if uses_gpus else "gloo")
    rank, processes = dist.get_rank(), dist.get_world_size()
    device = torch.device(f"cuda:{rank}" if uses_gpus else "cpu")
    generator = torch.Generator(device).manual_seed(rank)
    logits = torch.randn(16, 50257 // processes, device=device, generator=generator)

    # 12 bytes for each of 50 words, instead of 4 for each word of the part.
    values, words = distributed.topk(logits, 50)

    parts = [torch.empty_like(logits) for _ in range(processes)]
    dist.all_gather(parts, logits)
    whole = torch.cat(parts, -1)
    if not torch.equal(values, whole.topk(50).values):
        raise SystemExit("these are not the likeliest words")
    if rank == 0:
        print(f"the likeliest of {whole.shape[-1]} words: {words[0, :5].tolist()}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
