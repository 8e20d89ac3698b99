"""How weights move: optimizers, penalties, clipping. Lanes never touch each other."""

from typing import assert_never

import torch

from jobs.spec.job import JobSpec
from jobs.spec.optimizer import (
    Adagrad,
    Adam,
    AdamW,
    Clip,
    ClipGlobalNorm,
    ClipParameterNorm,
    ClipValue,
    Optimizer,
    Regularization,
    RmsProp,
    Sgd,
)
from trainer.network import Network

Parameters = list[torch.Tensor]


def build(spec: Optimizer, decayed: Parameters, others: Parameters) -> torch.optim.Optimizer:
    """The reference optimizer of torch over stacked lanes; AdamW decays only the first list."""
    params = [*decayed, *others]
    match spec:
        case Sgd():
            return torch.optim.SGD(params, spec.lr, momentum=spec.momentum, nesterov=spec.nesterov, fused=True)
        case Adagrad():
            start = spec.initial_accumulator
            return torch.optim.Adagrad(params, spec.lr, eps=spec.eps, initial_accumulator_value=start, foreach=True)
        case RmsProp():
            return torch.optim.RMSprop(
                params, spec.lr, spec.alpha, spec.eps, momentum=spec.momentum, centered=spec.centered, foreach=True
            )
        case Adam():
            betas = (spec.beta1, spec.beta2)
            return torch.optim.Adam(params, spec.lr, betas, spec.eps, amsgrad=spec.amsgrad, fused=True)
        case AdamW():
            groups = [
                {"params": part, "weight_decay": decay}
                for part, decay in ((decayed, spec.weight_decay), (others, 0.0))
                if part
            ]
            betas = (spec.beta1, spec.beta2)
            return torch.optim.AdamW(groups, spec.lr, betas, spec.eps, amsgrad=spec.amsgrad, fused=True)
        case _:
            assert_never(spec)


class Updater:
    """One optimizer step: penalties into the gradients, clipping, decoupled decay, the optimizer."""

    def __init__(self, spec: JobSpec, network: Network) -> None:
        self.penalties = spec.regularization
        self.clip = spec.clip
        everything = self.penalties.include_biases
        named = network.weights.items()
        self.decayed = [weight for name, weight in named if everything or name in network.decayed]
        self.weights = [weight for _, weight in named]
        others = [weight for name, weight in named if not everything and name not in network.decayed]
        self.optimizer = build(spec.optimizer, self.decayed, others)

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Moves the weights along the gradients that lie in them, and clears those."""
        penalise(self.decayed, self.penalties)
        if self.clip:
            clip(self.weights, self.clip)
        if self.penalties.weight_decay:
            torch._foreach_mul_(self.decayed, 1 - lr * self.penalties.weight_decay)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def penalise(weights: Parameters, penalties: Regularization) -> None:
    """Adds the gradients of λ₁Σ|w| and λ₂Σw²."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    if penalties.l2:
        torch._foreach_add_(gradients, weights, alpha=2 * penalties.l2)
    if penalties.l1:
        torch._foreach_add_(gradients, torch._foreach_sign(weights), alpha=penalties.l1)


def clip(weights: Parameters, how: Clip) -> None:
    """Bounds the gradients, each lane by itself; factors as in `torch.nn.utils.clip_grad_norm_`."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    match how:
        case ClipValue():
            torch._foreach_clamp_min_(gradients, -how.limit)
            torch._foreach_clamp_max_(gradients, how.limit)
        case ClipGlobalNorm():
            norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
            for gradient in gradients:
                _scale(gradient, norms, how.max_norm)
        case ClipParameterNorm():
            for gradient in gradients:
                _scale(gradient, gradient.flatten(1).norm(dim=1), how.max_norm)
        case _:
            assert_never(how)


def _scale(gradient: torch.Tensor, norms: torch.Tensor, most: float) -> None:
    factors = (most / (norms + 1e-6)).clamp(max=1)
    gradient.mul_(factors.view(-1, *[1] * (gradient.dim() - 1)))
