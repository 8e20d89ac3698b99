"""Matrix products of a dense layer over K lanes, forward and backward.

On a CPU large products go to oneDNN and small ones to torch's BLAS: on AMD processors MKL runs float32 at half speed,
and oneDNN's call costs more (`docs/performance.md`). The choice depends on the shape alone, so that equal runs give
equal bits.
"""

import torch

LARGE = 4_000_000
"""Multiplications of one product from which oneDNN is faster."""

Low = torch.dtype | None
"""The type that products are computed in, if not float32."""

_onednn = torch.ops.mkldnn._linear_pointwise.default if torch.backends.mkldnn.is_available() else None


def forward(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, low: Low) -> torch.Tensor:
    """x [K, B, in], weight [K, out, in], bias [K, out] → [K, B, out]."""
    if low is not None:
        y = (x.to(low) @ weight.to(low).mT).float()
        return y if bias is None else y + bias.unsqueeze(1)
    if _is_large(x, weight.shape[1]):
        each = [None] * len(weight) if bias is None else list(bias)
        return _stacked([_linear(a, w, b) for a, w, b in zip(x, weight, each, strict=True)])
    return torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight.mT)


def to_weight(g: torch.Tensor, x: torch.Tensor, out: torch.Tensor, low: Low) -> None:
    """Writes gᵀx, the gradient of the weight, [K, out, in] from g [K, B, out] and x [K, B, in]."""
    if low is not None:
        out.copy_(g.to(low).mT @ x.to(low))
    elif _is_large(x, g.shape[2]):
        for a, b, written in zip(g, x, out, strict=True):
            written.copy_(_linear(a.t(), b.t(), None))
    elif len(out) == 1:
        torch.bmm(g.mT, x, out=out)
    else:  # lanes lie far apart in the block, which the product does not like to write to
        out.copy_(torch.bmm(g.mT, x))


def to_input(g: torch.Tensor, weight: torch.Tensor, low: Low) -> torch.Tensor:
    """g·W, the gradient of the input, [K, B, in] from g [K, B, out] and weight [K, out, in]."""
    if low is not None:
        return (g.to(low) @ weight.to(low)).float()
    if _is_large(g, weight.shape[2]):
        return _stacked([_linear(a, w.t(), None) for a, w in zip(g, weight, strict=True)])
    return torch.bmm(g, weight)


def _is_large(x: torch.Tensor, width: int) -> bool:
    return x.shape[1] * x.shape[2] * width >= LARGE and _onednn is not None and x.device.type == "cpu"


def _linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    assert _onednn is not None
    product: torch.Tensor = _onednn(x, weight, bias, "none", [], "")
    return product


def _stacked(lanes: list[torch.Tensor]) -> torch.Tensor:
    return lanes[0].unsqueeze(0) if len(lanes) == 1 else torch.stack(lanes)
