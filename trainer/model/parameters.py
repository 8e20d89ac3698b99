"""The numbers that K models learn, in one block, so that an optimizer's formula is one expression over all of them."""

import math
from dataclasses import dataclass, field
from typing import Literal

import torch

Tensors = dict[str, torch.Tensor]

ALIGNED = 16
"""Floats: each tensor begins at a multiple of 64 bytes."""

Section = Literal["matrix", "kernel", "other"]
"""`matrix`: weights of dense layers. `kernel`: every other weight proper. `other`: biases and norm parameters, which
penalties leave alone."""


@dataclass
class Layout:
    """Names, and where each lies in a row of the block."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    sections: dict[str, Section] = field(default_factory=dict)

    def add(self, name: str, section: Section, shape: tuple[int, ...]) -> None:
        self.shapes[name], self.sections[name] = shape, section

    def names(self, *sections: Section) -> list[str]:
        """Those of the sections, in the order of the block."""
        return [name for section in sections for name in self.shapes if self.sections[name] == section]

    def width(self, *sections: Section) -> int:
        """Columns that the sections take; they lie in the order matrix, kernel, other."""
        return sum(_aligned(math.prod(self.shapes[name])) for name in self.names(*sections))

    def views(self, block: torch.Tensor) -> Tensors:
        """[K, P] → a view [K, *shape] of each name."""
        views, start = {}, 0
        for name in self.names("matrix", "kernel", "other"):
            size = math.prod(self.shapes[name])
            views[name] = block[:, start : start + size].unflatten(1, self.shapes[name])
            start += _aligned(size)
        return {name: views[name] for name in self.shapes}


def _aligned(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


class Parameters:
    """Values and gradients of K models, [K, P] each, and views of them by name."""

    def __init__(self, layout: Layout, lanes: int, device: str) -> None:
        self.layout = layout
        width = layout.width("matrix", "kernel", "other")
        self.values = torch.zeros(lanes, width, device=device)
        self.gradients = torch.zeros(lanes, width, device=device)
        self.weights = layout.views(self.values)
        self.gradient = layout.views(self.gradients)
        self.matrices = layout.width("matrix")
        """The first so many columns are weights of dense layers,"""
        self.decayed = layout.width("matrix", "kernel")
        """the first so many are weights proper."""
