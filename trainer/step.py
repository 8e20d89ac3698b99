"""One update of all lanes."""

from dataclasses import dataclass

import torch

from trainer.model.layers import Pass
from trainer.model.network import Network
from trainer.model.precision import LossScale
from trainer.objective import Objective, Targets
from trainer.optimizers import Updater


@dataclass(frozen=True)
class Step:
    """What a step is made of; none of it changes but the numbers of the network and the optimizer."""

    network: Network
    objective: Objective
    updater: Updater

    def __call__(
        self, x: torch.Tensor, targets: Targets, how: Pass, scale: LossScale, lrs: list[float], count: int
    ) -> tuple[torch.Tensor, torch.Tensor, bool]:
        """Forward, backward and update, with batch x [K, B, …] and one learning rate per lane.

        Returns outputs z [K, B, outputs] and mean losses [K] from before the update, and whether it was made: in fp16
        a gradient may overflow. `count` is the update's number from 1.
        """
        z, backs = self.network.forward(x, how)
        means, gradient = self.objective(z, targets)
        self.network.backward(scale.up(gradient), backs)
        moved = scale.down(self.network.parameters.gradients)
        if moved:
            self.updater.step(lrs, count)
        return z, means, moved
