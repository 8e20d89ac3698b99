"""What is minimised, row by row."""

from collections.abc import Callable
from typing import assert_never

import torch
from torch.nn import functional as F

from jobs.spec.loss import AutoLoss, Bce, CrossEntropy, Huber, Loss, Mae, Mse

RowLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(z [N, outputs], y [N] classes or [N, targets]) → [N]."""


def build(spec: Loss) -> RowLoss:
    """The loss of each row; mean over outputs where there are several."""
    match spec:
        case CrossEntropy():
            return lambda z, y: F.cross_entropy(z, y, reduction="none", label_smoothing=spec.label_smoothing)
        case Bce():
            return lambda z, y: F.binary_cross_entropy_with_logits(z.squeeze(1), y.to(z.dtype), reduction="none")
        case Mse():
            return lambda z, y: (z - y).square().mean(1)
        case Mae():
            return lambda z, y: (z - y).abs().mean(1)
        case Huber():
            return lambda z, y: F.huber_loss(z, y, reduction="none", delta=spec.delta).mean(1)
        case AutoLoss():
            raise AssertionError("a resolved spec leaves no loss to guess")
        case _:
            assert_never(spec)


def class_weights(y: torch.Tensor, classes: int) -> torch.Tensor:
    """n/(k·n_c) per class over the training rows (scikit-learn's `balanced`); [classes]."""
    counts = torch.bincount(y, minlength=classes).clamp(min=1)
    return len(y) / (classes * counts.float())
