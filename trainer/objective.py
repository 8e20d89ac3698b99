"""What a step minimises, and its gradient with respect to the network's outputs."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from jobs.spec.loss import CrossEntropy, Loss
from trainer import losses


class Target(NamedTuple):
    """What a batch is compared with; after a mixup there are two, whose weights add up to 1."""

    y: torch.Tensor
    """[K, B] classes or [K, B, T] scaled values."""
    weight: torch.Tensor | None = None
    """[K, B]; none counts as 1."""


Targets = Sequence[tuple[torch.Tensor, torch.Tensor | None]]


class Objective:
    """Mean loss of each lane."""

    def __init__(self, loss: Loss, balance: torch.Tensor | None) -> None:
        self.loss = loss
        self.rows = losses.build(loss)
        self.balance = balance
        """[classes] weight of each, or none."""

    def __call__(self, z: torch.Tensor, targets: Targets) -> tuple[torch.Tensor, torch.Tensor]:
        """z [K, B, outputs] → (mean losses [K], their sum's gradient [K, B, outputs])."""
        return self.weighed(z, self.weigh(targets))

    def weigh(self, targets: Targets) -> Targets:
        """Classes' weights put into those of the rows: a part of the batch need not know the others then.

        The loss is Σwl/Σw over the batch, w of the row's class, also of the smoothed part (as Keras does).
        """
        return targets if self.balance is None else [self._balanced(y, weight) for y, weight in targets]

    def _balanced(self, y: torch.Tensor, weight: torch.Tensor | None) -> Target:
        assert self.balance is not None
        classes = self.balance[y]
        classes = classes / classes.mean(1, keepdim=True)
        return Target(y, classes if weight is None else classes * weight)

    def weighed(self, z: torch.Tensor, targets: Targets) -> tuple[torch.Tensor, torch.Tensor]:
        """As a call, of targets that are weighed already."""
        if isinstance(self.loss, CrossEntropy) and len(targets) == 1 and targets[0][1] is None:
            return _cross_entropy(z, targets[0][0], self.loss.label_smoothing)
        z = z.detach().requires_grad_()
        with torch.enable_grad():
            means = torch.stack([self._mean(z, y, weight) for y, weight in targets]).sum(0)
            (gradient,) = torch.autograd.grad(means.sum(), z)
        return means.detach(), gradient

    def _mean(self, z: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        each = self.rows(z.flatten(0, 1), y.flatten(0, 1)).view(z.shape[:2])
        return (each if weight is None else each * weight).mean(1)


def _cross_entropy(z: torch.Tensor, y: torch.Tensor, smoothing: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Written out, since it is most steps' loss: with q the smoothed label, -Σ q log softmax(z) and softmax(z) - q.

    Classes come before rows while it is computed: over the last, short dimension softmax takes ten times as long.
    """
    logs, label = torch.log_softmax(z.mT.contiguous(), 1), y.unsqueeze(1)
    means = -logs.gather(1, label).squeeze(1).mean(1)
    if smoothing:
        means = (1 - smoothing) * means - smoothing * logs.mean(1).mean(1)
    gradient = logs.exp_()
    gradient.scatter_add_(1, label, torch.full_like(label, smoothing - 1, dtype=z.dtype))
    if smoothing:
        gradient.sub_(smoothing / z.shape[2])
    return means, gradient.div_(z.shape[1]).mT
