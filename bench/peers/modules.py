"""The network as PyTorch's users write it, for the contestants that take an `nn.Module`."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from bench.peers.case import Case, Examples


def network(case: Case) -> nn.Sequential:
    """[B, *shape] → [B, classes]."""
    layers: list[nn.Module] = []
    before, height, width = case.shape if case.channels else (1, 1, case.shape[0])
    for channels in case.channels:
        layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        before, height, width = channels, height // 2, width // 2
    layers.append(nn.Flatten())
    inputs = before * height * width
    for units in case.hidden:
        layers += [nn.Linear(inputs, units), nn.ReLU()]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, case.classes))


def loader(part: Examples, size: int, shuffle: bool) -> DataLoader[tuple[torch.Tensor, ...]]:
    """Batches."""
    return DataLoader(TensorDataset(torch.from_numpy(part.x), torch.from_numpy(part.y)), size, shuffle=shuffle)
