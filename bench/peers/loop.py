"""The loop of PyTorch's tutorials: a module, a DataLoader, `torch.optim.Adam`."""

import time

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from bench.peers import modules
from bench.peers.case import Case, Turn, examples, serve

Batches = DataLoader[tuple[torch.Tensor, ...]]


def prepare(case: Case) -> Turn:
    torch.set_num_threads(case.threads)
    train, held = examples(case)
    batches = modules.loader(train, case.batch, shuffle=True)
    checks = modules.loader(held, case.batch, shuffle=False) if held else None
    net = modules.network(case)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def turn(epochs: int) -> list[float]:
        ends = []
        for _ in range(epochs):
            _epoch(net, optimizer, batches)
            if checks:
                _measure(net, checks)
            ends.append(time.perf_counter())
        return ends

    return turn


def _epoch(net: nn.Module, optimizer: torch.optim.Optimizer, batches: Batches) -> tuple[float, float]:
    """Loss and accuracy, kept as tensors until the end."""
    net.train()
    lost, right = torch.zeros(()), torch.zeros(())
    for x, y in batches:
        optimizer.zero_grad()
        z = net(x)
        loss = F.cross_entropy(z, y)
        loss.backward()
        optimizer.step()
        lost += loss.detach() * len(y)
        right += (z.argmax(1) == y).sum()
    return lost.item(), right.item()


@torch.no_grad()
def _measure(net: nn.Module, batches: Batches) -> tuple[float, float]:
    net.eval()
    lost, right = torch.zeros(()), torch.zeros(())
    for x, y in batches:
        z = net(x)
        lost += F.cross_entropy(z, y, reduction="sum")
        right += (z.argmax(1) == y).sum()
    return lost.item(), right.item()


if __name__ == "__main__":
    serve(f"torch {torch.__version__}, DataLoader", prepare)
