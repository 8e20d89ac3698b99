"""The layers: what each computes, and how a gradient goes back through it.

A layer takes x [K, B, …] and gives y and the way back. Those where speed matters have theirs written out; torch derives
the others. Weights are looked up when a layer is called, and the way back writes their gradients in place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch.nn import functional as F

from jobs.spec import shapes
from jobs.spec.model import Activation, BatchNorm, Conv, LayerNorm, Pool
from trainer.model import activations, products
from trainer.model.parameters import Tensors

Back = Callable[[torch.Tensor, bool], torch.Tensor]
"""(gradient of the output, is the input's wanted?) → gradient of the input, or anything if it is not wanted."""


@dataclass(frozen=True)
class Part:
    """Some rows of a batch that goes through the network part by part."""

    rows: slice
    of: int
    """Rows of the whole batch."""
    masks: dict[object, torch.Tensor]
    """What each dropout of the network has drawn, for the whole batch; its parts share this."""

    @property
    def share(self) -> float:
        """Of the batch."""
        return float(self.rows.stop - self.rows.start) / self.of

    def momentum(self, whole: float) -> float:
        """How far this part moves a running mean, so that all parts together move it as far as one whole batch would:
        to (1 - m)·old + m·mean, the mean of the parts' statistics by rows."""
        before = 1 - whole + whole * self.rows.start / self.of
        moved = whole * self.share
        return moved / (before + moved) if moved else 0.0


@dataclass
class Pass:
    """What one pass through the network needs to know besides its input."""

    training: bool
    generators: list[torch.Generator]
    """For dropout, one per lane."""
    low: products.Low = None
    """The type that products are computed in, if not float32."""
    trace: list[tuple[str, torch.Tensor]] | None = None
    """Takes up each layer's output, by the layer's name, where somebody wants to look."""
    part: Part | None = None
    """Which rows of a batch these are, if not all."""


Layer = Callable[[torch.Tensor, Pass], tuple[torch.Tensor, Back]]


@dataclass(frozen=True)
class Learned:
    """The numbers of one layer: `weights` and `gradient` by `weight` and `bias`, `buffers` by their names."""

    weights: Tensors
    gradient: Tensors
    buffers: Tensors


def flatten(x: torch.Tensor, how: Pass) -> tuple[torch.Tensor, Back]:
    return x.flatten(2), lambda g, wanted: g.reshape(x.shape)


def dense(learned: Learned) -> Layer:
    weight, bias = learned.weights["weight"], learned.weights.get("bias")

    def apply(x: torch.Tensor, how: Pass) -> tuple[torch.Tensor, Back]:
        def back(g: torch.Tensor, wanted: bool) -> torch.Tensor:
            products.to_weight(g, x, learned.gradient["weight"], how.low)
            if bias is not None:
                torch.sum(g, 1, out=learned.gradient["bias"])
            return products.to_input(g, weight, how.low) if wanted else g

        return products.forward(x, weight, bias, how.low), back

    return apply


def embedding(learned: Sequence[tuple[int, Learned]]) -> Layer:
    """Inputs that hold a category's position are replaced by that row of their table, behind the other inputs.

    `learned` has the input and the table [K, rows, dimension] of each.
    """
    embedded = [index for index, _ in learned]

    def apply(x: torch.Tensor, how: Pass) -> tuple[torch.Tensor, Back]:
        lanes = torch.arange(len(x), device=x.device).unsqueeze(1)
        others = [index for index in range(x.shape[2]) if index not in embedded]
        rows = [x[:, :, index].long() for index in embedded]
        found = [table.weights["weight"][lanes, row] for row, (_, table) in zip(rows, learned, strict=True)]

        def back(g: torch.Tensor, wanted: bool) -> torch.Tensor:
            sizes = [len(others), *(each.shape[2] for each in found)]
            for row, (_, table), part in zip(rows, learned, g.split(sizes, 2)[1:], strict=True):
                table.gradient["weight"].zero_().index_put_((lanes, row), part, accumulate=True)
            return g  # the embedding comes first: nobody wants its input's gradient

        return torch.cat([x[:, :, others], *found], 2), back

    return apply


def activation(spec: Activation) -> Layer:
    function, derivative = activations.build(spec)

    def apply(x: torch.Tensor, how: Pass) -> tuple[torch.Tensor, Back]:
        y = function(x)
        return y, lambda g, wanted: derivative(g, x, y)

    return apply


def dropout(rate: float) -> Layer:
    def apply(x: torch.Tensor, how: Pass) -> tuple[torch.Tensor, Back]:
        if not how.training or rate == 0:
            return x, _same
        mask = _drawn(x, x.shape[1], x.dtype, rate, how) if how.part is None else of_part(x, how, how.part)
        mask.div_(1 - rate)
        return x * mask, lambda g, wanted: g * mask

    def of_part(x: torch.Tensor, how: Pass, part: Part) -> torch.Tensor:
        """Cut out of what is drawn for the whole batch at once: the numbers are those that it would get."""
        if apply not in part.masks:
            part.masks[apply] = _drawn(x, part.of, torch.bool, rate, how)
        return part.masks[apply][:, part.rows].to(x.dtype)

    return apply


def _drawn(x: torch.Tensor, rows: int, dtype: torch.dtype, rate: float, how: Pass) -> torch.Tensor:
    """[K, rows, …] for rows like x [K, B, …]: 1 for what stays, else 0."""
    mask = x.new_empty(len(x), rows, *x.shape[2:], dtype=dtype)
    for lane, generator in zip(mask, how.generators, strict=True):
        lane.bernoulli_(1 - rate, generator=generator)
    return mask


def _same(g: torch.Tensor, wanted: bool) -> torch.Tensor:
    return g


def residual(inner: Sequence[Layer]) -> Layer:
    def apply(x: torch.Tensor, how: Pass) -> tuple[torch.Tensor, Back]:
        y, backs = x, []
        for layer in inner:
            y, back = layer(y, how)
            backs.append(back)

        def back_all(g: torch.Tensor, wanted: bool) -> torch.Tensor:
            through = g
            for back in reversed(backs):
                through = back(through, True)
            return g + through

        return x + y, back_all

    return apply


def conv(spec: Conv, learned: Learned) -> Layer:
    before = (spec.kernel - 1) // 2 if spec.padding == "same" else 0
    after = spec.kernel - 1 - before if spec.padding == "same" else 0

    def function(x: torch.Tensor, how: Pass, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        folded, padding = _fold(x), before
        if before != after:  # an even window cannot be padded alike on both sides
            folded, padding = F.pad(folded, (before, after, before, after)), 0
        kernel, flat = weight.flatten(0, 1), None if bias is None else bias.flatten()
        if how.low is not None:
            folded, kernel, flat = folded.to(how.low), kernel.to(how.low), None if flat is None else flat.to(how.low)
        out = F.conv2d(folded, kernel, flat, stride=spec.stride, padding=padding, groups=len(weight))
        return _unfold(out.float(), len(weight))

    return _derived(learned, function)


def pool(spec: Pool) -> Layer:
    if spec.function == "max":
        return _max_pool(spec.size)

    def function(x: torch.Tensor, how: Pass) -> torch.Tensor:
        images = x.flatten(0, 1)
        match spec.function:
            case "average":
                pooled = F.avg_pool2d(images, spec.size)
            case _:
                pooled = images.mean((2, 3), keepdim=True)
        return pooled.reshape(*x.shape[:2], *pooled.shape[1:])

    return _derived(Learned({}, {}, {}), function)


def _max_pool(size: int) -> Layer:
    """By rows, then by columns, each as a maximum of strided views: on a processor a third of `F.max_pool2d`'s time."""

    def apply(x: torch.Tensor, how: Pass) -> tuple[torch.Tensor, Back]:
        rows = [x[..., start : x.shape[3] // size * size : size, :] for start in range(size)]
        tall = reduce(torch.maximum, rows)
        columns = [tall[..., start : x.shape[4] // size * size : size] for start in range(size)]
        y = reduce(torch.maximum, columns)

        def back(g: torch.Tensor, wanted: bool) -> torch.Tensor:
            through = torch.zeros_like(tall)
            _to_largest(g, y, columns, [through[..., start::size] for start in range(size)])
            whole = torch.zeros_like(x)
            _to_largest(through, tall, rows, [whole[..., start::size, :] for start in range(size)])
            return whole

        return y, back

    return apply


def _to_largest(
    g: torch.Tensor, largest: torch.Tensor, parts: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]
) -> None:
    """Hands each value of g to the first of the parts that is the largest there; to the last if none before is."""
    free = None
    for part, gradient in zip(parts[:-1], gradients, strict=False):
        hit = part == largest if free is None else (part == largest).logical_and_(free)
        torch.mul(g, hit, out=gradient[..., : g.shape[3], : g.shape[4]])
        free = hit.logical_not_() if free is None else free.logical_and_(hit.logical_not_())
    last = gradients[-1][..., : g.shape[3], : g.shape[4]]
    if free is None:
        last.copy_(g)
    else:
        torch.mul(g, free, out=last)


def batch_norm(spec: BatchNorm, learned: Learned) -> Layer:
    mean, var = learned.buffers["running_mean"], learned.buffers["running_var"]

    def function(x: torch.Tensor, how: Pass, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        # lanes are channels of one batch norm, which writes its running statistics in place
        running = mean.view(-1), var.view(-1)
        momentum = spec.momentum if how.part is None else how.part.momentum(spec.momentum)
        out = F.batch_norm(_fold(x), *running, weight.flatten(), bias.flatten(), how.training, momentum, spec.eps)
        return _unfold(out, len(mean))

    return _derived(learned, function)


def layer_norm(spec: LayerNorm, shape: shapes.Shape, learned: Learned) -> Layer:
    def function(x: torch.Tensor, how: Pass, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, shape, eps=spec.eps) * weight.unsqueeze(1) + bias.unsqueeze(1)

    return _derived(learned, function)


def _derived(learned: Learned, function: Callable[..., torch.Tensor]) -> Layer:
    """A layer whose way back torch derives. `function` takes (x, pass, weight, bias), as far as there are any."""
    names = list(learned.weights)

    def apply(x: torch.Tensor, how: Pass) -> tuple[torch.Tensor, Back]:
        if not how.training:
            return function(x, how, *learned.weights.values()), _same
        inputs = [x, *learned.weights.values()]
        leaves = [tensor.detach().requires_grad_() for tensor in inputs]
        with torch.enable_grad():
            y = function(leaves[0], how, *leaves[1:])

        def back(g: torch.Tensor, wanted: bool) -> torch.Tensor:
            asked = leaves if wanted else leaves[1:]
            found = list(torch.autograd.grad(y, asked, g)) if asked else []
            first = found.pop(0) if wanted else g
            for name, gradient in zip(names, found, strict=True):
                learned.gradient[name].copy_(gradient)
            return first

        return y.detach(), back

    return apply


def _fold(x: torch.Tensor) -> torch.Tensor:
    """[K, B, C, …] → [B, K·C, …]: lanes as groups of channels."""
    return x.transpose(0, 1).flatten(1, 2)


def _unfold(x: torch.Tensor, lanes: int) -> torch.Tensor:
    return x.reshape(len(x), lanes, -1, *x.shape[2:]).transpose(0, 1)
