"""One update of all lanes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from trainer.model.layers import Part, Pass
from trainer.model.network import Network
from trainer.model.precision import LossScale
from trainer.objective import Objective, Target, Targets
from trainer.optimizers import Updater


@dataclass(frozen=True)
class Step:
    """What a step is made of; none of it changes but the numbers of the network and the optimizer."""

    network: Network
    objective: Objective
    updater: Updater
    parts: int = 1
    """That each batch is cut into, to take less memory; the update is that of the whole batch."""

    def __call__(
        self, x: torch.Tensor, targets: Targets, how: Pass, scale: LossScale, lrs: list[float], count: int
    ) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """Forward, backward and update, with batch x [K, B, …] and one learning rate per lane.

        Returns outputs z [K, B, outputs] and mean losses [K] from before the update, and whether it was made: in fp16
        a gradient may overflow. `count` is the update's number from 1.
        """
        if self.parts == 1:
            z, backs = self.network.forward(x, how)
            means, gradient = self.objective(z, targets)
            self.network.backward(scale.up(gradient), backs)
        else:
            z, means = self._in_parts(x, self.objective.weigh(targets), how, scale)
        moved = scale.down(self.network.parameters.gradients)
        if moved:
            self.updater.step(lrs, count)
        return z, means, moved

    def _in_parts(
        self, x: torch.Tensor, targets: Targets, how: Pass, scale: LossScale
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Forward and backward, one part after the other: outputs and mean losses of the batch, its gradients in place.

        Targets are weighed over the batch already.
        """
        gradients, found = self.network.parameters.gradients, list[tuple[torch.Tensor, torch.Tensor]]()
        total = torch.zeros_like(gradients)
        for part in self.cut(x.shape[1]):
            found.append(self._one_part(x[:, part.rows], targets, replace(how, part=part), part, scale))
            total += gradients
        gradients.copy_(total)
        outputs, losses = zip(*found, strict=True)
        return torch.cat(outputs, 1), torch.stack(losses).sum(0)

    def _one_part(
        self, x: torch.Tensor, targets: Targets, how: Pass, part: Part, scale: LossScale
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs of a part, its share of the mean losses, and in place of the gradients its share of them.

        The share is taken before the way back, since fp16 wants the sizes of a whole batch. Nothing else of the part is
        left when the next one begins: that is what it is for.
        """
        z, backs = self.network.forward(x, how)
        means, gradient = self.objective.weighed(z, [_rows(one, part) for one in targets])
        self.network.backward(scale.up(gradient * part.share), backs)
        return z, means * part.share

    def cut(self, rows: int) -> Iterator[Part]:
        """Parts that differ by a row at most; none is empty, or of one row before a batch norm, if that can be."""
        count = max(1, min(self.parts, rows // 2 if self.network.has_batch_norm else rows))
        masks = dict[object, torch.Tensor]()
        for start, end in pairwise(rows * place // count for place in range(count + 1)):
            yield Part(slice(start, end), rows, masks)


def _rows(target: tuple[torch.Tensor, torch.Tensor | None], part: Part) -> Target:
    y, weight = target
    return Target(y[:, part.rows], None if weight is None else weight[:, part.rows])
