"""What is done to gradients before a step, and to weights after it. Lanes never touch each other."""

from typing import assert_never

import torch

from jobs.spec.optimizer import Clip, ClipGlobalNorm, ClipParameterNorm, ClipValue, Regularization
from trainer.model.parameters import Parameters


def penalise(weights: torch.Tensor, gradients: torch.Tensor, penalties: Regularization) -> None:
    """Adds the gradients of λ₁Σ|w| and λ₂Σw²."""
    if penalties.l2:
        gradients.add_(weights, alpha=2 * penalties.l2)
    if penalties.l1:
        gradients.add_(weights.sign(), alpha=penalties.l1)


def clip(parameters: Parameters, how: Clip) -> None:
    """Bounds the gradients, each lane by itself; factors as in `torch.nn.utils.clip_grad_norm_`."""
    match how:
        case ClipValue():
            parameters.gradients.clamp_(-how.limit, how.limit)
        case ClipGlobalNorm():
            _scale(parameters.gradients, how.max_norm)
        case ClipParameterNorm():
            for gradient in parameters.gradient.values():
                _scale(gradient, how.max_norm)
        case _:
            assert_never(how)


def _scale(gradient: torch.Tensor, most: float) -> None:
    norms = gradient.flatten(1).norm(dim=1)
    gradient.mul_((most / (norms + 1e-6)).clamp(max=1).view(-1, *[1] * (gradient.dim() - 1)))


def bound(parameters: Parameters, most: float) -> None:
    """Scales the incoming weights of each unit or channel down to the L2 norm `most`, with Keras's eps of 1e-7."""
    for name in parameters.layout.names("matrix", "kernel"):
        weight = parameters.weights[name]
        norms = weight.flatten(2).norm(dim=2)
        factors = norms.clamp(max=most) / (norms + 1e-7)
        weight.mul_(factors.view(*factors.shape, *[1] * (weight.dim() - 2)))
