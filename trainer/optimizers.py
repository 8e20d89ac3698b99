"""How weights move: one function per optimizer, over all numbers of a network at once.

Each is the formula of torch.optim's class of that name, without its weight decay (which `Updater` applies decoupled).
torch's fused kernels are used where there is one. Lanes never touch each other.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, assert_never

import torch

from jobs.spec.job import JobSpec
from jobs.spec.optimizer import (
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Muon,
    Nadam,
    Optimizer,
    Radam,
    RmsProp,
    Sgd,
)
from trainer import gradients
from trainer.model.parameters import Layout, Parameters, Tensors

Update = Callable[[torch.Tensor, torch.Tensor, Tensors, float, int], None]
"""(weights, gradients, state, learning rate, number of this step from 1) moves weights and state in place. All tensors
have one shape: [K, P], or [1, P] for one lane."""

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of Muon's quintic iteration (Jordan et al. 2024)."""


class Lanes(NamedTuple):
    """What an update moves of some lanes; views."""

    weights: torch.Tensor
    gradients: torch.Tensor
    penalised: torch.Tensor
    """The weights that decay."""
    state: Tensors


class Updater:
    """One optimizer step: penalties into the gradients, clipping, decoupled decay, the optimizer, the norm's bound."""

    def __init__(self, spec: JobSpec, parameters: Parameters) -> None:
        self.penalties, self.clip = spec.regularization, spec.clip
        self.parameters = parameters
        own = spec.optimizer.weight_decay if isinstance(spec.optimizer, AdamW | Muon) else 0.0
        self.decay = own + self.penalties.weight_decay
        penalised = parameters.values.shape[1] if self.penalties.include_biases else parameters.decayed
        self.penalised = parameters.values[:, :penalised]
        self.penalised_gradients = parameters.gradients[:, :penalised]
        self.update, self.state = build(spec.optimizer, parameters)
        self.together = [self._lanes(slice(None))]
        self.apart = [self._lanes(slice(lane, lane + 1)) for lane in range(len(parameters.values))]

    def step(self, lrs: list[float], count: int) -> None:
        """Moves the weights along their gradients, at one learning rate per lane. `count` is 1 at the first step."""
        gradients.penalise(self.penalised, self.penalised_gradients, self.penalties)
        if self.clip:
            gradients.clip(self.parameters, self.clip)
        alike = min(lrs) == max(lrs)  # nearly always
        for lanes, lr in zip(self.together if alike else self.apart, lrs, strict=False):
            if self.decay:
                lanes.penalised.mul_(1 - lr * self.decay)
            self.update(lanes.weights, lanes.gradients, lanes.state, lr, count)
        if self.penalties.max_norm is not None:
            gradients.bound(self.parameters, self.penalties.max_norm)

    def _lanes(self, chosen: slice) -> "Lanes":
        state = {name: tensor[chosen] for name, tensor in self.state.items()}
        values, slopes = self.parameters.values[chosen], self.parameters.gradients[chosen]
        return Lanes(values, slopes, self.penalised[chosen], state)


def build(spec: Optimizer, parameters: Parameters) -> tuple[Update, Tensors]:
    """The update, and its state before the first step: tensors of the parameters' shape."""

    def zeros(*names: str) -> Tensors:
        return {name: torch.zeros_like(parameters.values) for name in names}

    match spec:
        case Sgd():
            return _sgd(spec), zeros("velocity") if spec.momentum else {}
        case Adagrad():
            return _adagrad(spec), {"squares": torch.full_like(parameters.values, spec.initial_accumulator)}
        case Adadelta():
            return _adadelta(spec), zeros("squares", "moves")
        case RmsProp():
            velocity, mean = ["velocity"] * bool(spec.momentum), ["mean"] * spec.centered
            return _rmsprop(spec), zeros("squares", *velocity, *mean)
        case Adam() | AdamW():
            return _adam(spec, parameters, spec.amsgrad), zeros("mean", "squares", *["largest"] * spec.amsgrad)
        case Adamax():
            return _adamax(spec), zeros("mean", "largest")
        case Nadam():
            return _nadam(spec), zeros("mean", "squares")
        case Radam():
            return _radam(spec), zeros("mean", "squares")
        case Muon():
            return _muon(spec, parameters), zeros("mean", "squares")
        case _:
            assert_never(spec)


def _sgd(spec: Sgd) -> Update:
    def update(w: torch.Tensor, g: torch.Tensor, state: Tensors, lr: float, count: int) -> None:
        torch._fused_sgd_(
            [w],
            [g],
            [state["velocity"]] if state else [],
            weight_decay=0.0,
            momentum=spec.momentum,
            lr=lr,
            dampening=0.0,
            nesterov=spec.nesterov,
            maximize=False,
            is_first_step=False,  # its velocity of zeros becomes the gradient all the same
        )

    return update


def _adagrad(spec: Adagrad) -> Update:
    def update(w: torch.Tensor, g: torch.Tensor, state: Tensors, lr: float, count: int) -> None:
        squares = state["squares"].addcmul_(g, g)
        w.addcdiv_(g, squares.sqrt().add_(spec.eps), value=-lr)

    return update


def _adadelta(spec: Adadelta) -> Update:
    def update(w: torch.Tensor, g: torch.Tensor, state: Tensors, lr: float, count: int) -> None:
        squares = state["squares"].mul_(spec.rho).addcmul_(g, g, value=1 - spec.rho)
        move = (state["moves"] + spec.eps).sqrt_().div_((squares + spec.eps).sqrt_()).mul_(g)
        state["moves"].mul_(spec.rho).addcmul_(move, move, value=1 - spec.rho)
        w.add_(move, alpha=-lr)

    return update


def _rmsprop(spec: RmsProp) -> Update:
    def update(w: torch.Tensor, g: torch.Tensor, state: Tensors, lr: float, count: int) -> None:
        squares = state["squares"].mul_(spec.alpha).addcmul_(g, g, value=1 - spec.alpha)
        if spec.centered:
            mean = state["mean"].lerp_(g, 1 - spec.alpha)
            squares = squares.addcmul(mean, mean, value=-1)
        root = squares.sqrt().add_(spec.eps)
        if spec.momentum:
            w.add_(state["velocity"].mul_(spec.momentum).addcdiv_(g, root), alpha=-lr)
        else:
            w.addcdiv_(g, root, value=-lr)

    return update


def _adam(spec: Adam | AdamW | Muon, parameters: Parameters, amsgrad: bool = False) -> Update:
    steps = parameters.values.new_zeros(())

    def update(w: torch.Tensor, g: torch.Tensor, state: Tensors, lr: float, count: int) -> None:
        torch._fused_adam_(
            [w],
            [g],
            [state["mean"]],
            [state["squares"]],
            [state["largest"]] if amsgrad else [],
            [steps.fill_(count)],
            lr=lr,
            beta1=spec.beta1,
            beta2=spec.beta2,
            weight_decay=0.0,
            eps=spec.eps,
            amsgrad=amsgrad,
            maximize=False,
        )

    return update


def _adamax(spec: Adamax) -> Update:
    def update(w: torch.Tensor, g: torch.Tensor, state: Tensors, lr: float, count: int) -> None:
        mean = state["mean"].lerp_(g, 1 - spec.beta1)
        largest = state["largest"].mul_(spec.beta2)
        torch.maximum(largest, g.abs().add_(spec.eps), out=largest)
        w.addcdiv_(mean, largest, value=-lr / (1 - spec.beta1**count))

    return update


def _moments(spec: Nadam | Radam, g: torch.Tensor, state: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    mean = state["mean"].lerp_(g, 1 - spec.beta1)
    squares = state["squares"].mul_(spec.beta2).addcmul_(g, g, value=1 - spec.beta2)
    return mean, squares


def _nadam(spec: Nadam) -> Update:
    momenta = [1.0]
    """Products of μ₁ … μₜ; a function of t alone, so that no run has to save them."""

    def momentum(t: int) -> float:
        return spec.beta1 * (1 - 0.5 * math.pow(0.96, t * spec.momentum_decay))

    def update(w: torch.Tensor, g: torch.Tensor, state: Tensors, lr: float, count: int) -> None:
        while len(momenta) <= count + 1:
            momenta.append(momenta[-1] * momentum(len(momenta)))
        mean, squares = _moments(spec, g, state)
        root = (squares / (1 - spec.beta2**count)).sqrt_().add_(spec.eps)
        w.addcdiv_(g, root, value=-lr * (1 - momentum(count)) / (1 - momenta[count]))
        w.addcdiv_(mean, root, value=-lr * momentum(count + 1) / (1 - momenta[count + 1]))

    return update


def _radam(spec: Radam) -> Update:
    def update(w: torch.Tensor, g: torch.Tensor, state: Tensors, lr: float, count: int) -> None:
        mean, squares = _moments(spec, g, state)
        corrected = lr / (1 - spec.beta1**count)
        longest = 2 / (1 - spec.beta2) - 1  # of the moving average, ρ∞
        left = 1 - spec.beta2**count
        length = longest - 2 * count * spec.beta2**count / left
        if length <= 5:  # the variance is not tractable yet
            w.add_(mean, alpha=-corrected)
            return
        rectified = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        w.addcdiv_(mean, squares.sqrt().add_(spec.eps), value=-corrected * math.sqrt(rectified * left))

    return update


def _muon(spec: Muon, parameters: Parameters) -> Update:
    matrices, layout = parameters.layout.names("matrix"), parameters.layout
    adamw, start = _adam(spec, parameters), parameters.matrices

    def update(w: torch.Tensor, g: torch.Tensor, state: Tensors, lr: float, count: int) -> None:
        for lane in range(len(w)):  # adamw's kernel wants its numbers side by side, and these are the end of each lane
            rest = {name: tensor[lane, start:] for name, tensor in state.items()}
            adamw(w[lane, start:], g[lane, start:], rest, lr, count)
        _momentum(spec, layout, matrices, (w, g, state["mean"]), lr)

    return update


def _momentum(
    spec: Muon, layout: Layout, names: list[str], blocks: tuple[torch.Tensor, torch.Tensor, torch.Tensor], lr: float
) -> None:
    weights, slopes, means = (layout.views(block) for block in blocks)
    for name in names:
        mean = means[name].lerp_(slopes[name], 1 - spec.momentum)
        ahead = slopes[name].lerp(mean, spec.momentum) if spec.nesterov else mean
        size = 0.2 * math.sqrt(max(ahead.shape[1:]))  # a step of root mean square 0.2, as adamw's
        weights[name].add_(orthogonal(ahead, spec.steps).to(mean.dtype), alpha=-lr * size)


def orthogonal(x: torch.Tensor, steps: int) -> torch.Tensor:
    """The nearest orthogonal matrix of each [K, m, n], about: singular values near 1 (Newton-Schulz, bfloat16)."""
    a, b, c = NEWTON_SCHULZ
    tall = x.shape[1] > x.shape[2]
    y = (x.mT if tall else x).bfloat16()
    y = y / y.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = y @ y.mT
        y = torch.baddbmm(y, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), y, beta=a)
    return y.mT if tall else y
