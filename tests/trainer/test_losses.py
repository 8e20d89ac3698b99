"""Losses and their gradients against torch and scikit-learn."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from jobs.spec.loss import Bce, CrossEntropy, Huber, Loss, Mae, Mse
from trainer import losses
from trainer.objective import Objective, Target

LANES, ROWS, OUTPUTS = 3, 40, 4
SCALES = [1.0, 1e-6, 1e4]


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def labels(classes: int, *shape: int) -> torch.Tensor:
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(1))


REGRESSION: list[tuple[Loss, Any]] = [
    (Mse(), F.mse_loss),
    (Mae(), F.l1_loss),
    (Huber(), F.huber_loss),
    (Huber(delta=0.3), lambda z, y: F.huber_loss(z, y, delta=0.3)),
]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("outputs", [1, OUTPUTS])
@pytest.mark.parametrize(("spec", "reference"), REGRESSION)
def test_a_regression_loss_and_its_gradient_equal_torch(spec: Loss, reference: Any, outputs: int, scale: float) -> None:
    y = scale * randn(LANES, ROWS, outputs, seed=1)
    z = (scale * randn(LANES, ROWS, outputs)).requires_grad_()
    theirs = torch.stack([reference(lane, t) for lane, t in zip(z, y, strict=True)])
    theirs.sum().backward()
    means, gradient = Objective(spec, None)(z.detach(), [Target(y)])
    torch.testing.assert_close(means, theirs.detach())
    torch.testing.assert_close(gradient, z.grad)


@pytest.mark.parametrize(("loss", "reference"), [(Mse(), sk.mean_squared_error), (Mae(), sk.mean_absolute_error)])
def test_several_outputs_count_alike_as_in_scikit_learn(loss: Loss, reference: Any) -> None:
    z, y = randn(ROWS, OUTPUTS), randn(ROWS, OUTPUTS, seed=1)
    expected = reference(y.numpy(), z.numpy(), multioutput="uniform_average")
    assert losses.build(loss)(z, y).mean().item() == pytest.approx(expected)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_cross_entropy_and_its_gradient_equal_torch(smoothing: float, weighted: bool) -> None:
    y = labels(OUTPUTS, LANES, ROWS)
    weights = torch.tensor([0.2, 1.0, 3.0, 0.0]) if weighted else None
    z = randn(LANES, ROWS, OUTPUTS).requires_grad_()
    theirs = torch.stack([smoothed(lane, t, weights, smoothing) for lane, t in zip(z, y, strict=True)])
    theirs.sum().backward()
    means, gradient = Objective(CrossEntropy(label_smoothing=smoothing), weights)(z.detach(), [Target(y)])
    torch.testing.assert_close(means, theirs.detach())
    torch.testing.assert_close(gradient, z.grad)


def smoothed(z: torch.Tensor, y: torch.Tensor, weights: torch.Tensor | None, smoothing: float) -> torch.Tensor:
    """torch weighs each class of a smoothed label by its own weight, we weigh the row by its true class's: both are
    torch's own unless weights and smoothing meet."""
    if weights is None or not smoothing:
        return F.cross_entropy(z, y, weights, label_smoothing=smoothing)
    rows = F.cross_entropy(z, y, reduction="none", label_smoothing=smoothing)
    return (rows * weights[y]).sum() / weights[y].sum()


def test_cross_entropy_equals_scikit_learn() -> None:
    z, y = randn(ROWS, OUTPUTS), labels(OUTPUTS, ROWS)
    expected = sk.log_loss(y.numpy(), z.double().softmax(1).numpy(), labels=range(OUTPUTS))
    assert losses.build(CrossEntropy())(z, y).mean().item() == pytest.approx(expected)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 4.0])], ids=["plain", "weighted"])
def test_bce_equals_torch_and_a_cross_entropy_of_two_logits(weights: torch.Tensor | None) -> None:
    y, z = labels(2, LANES, ROWS), randn(LANES, ROWS, 1)
    means, gradient = Objective(Bce(), weights)(z, [Target(y)])
    two = torch.cat([torch.zeros_like(z), z], 2)
    of_two, gradients = Objective(CrossEntropy(), weights)(two, [Target(y)])
    torch.testing.assert_close(means, of_two)
    torch.testing.assert_close(gradient, gradients[:, :, 1:])
    if weights is None:
        theirs = [F.binary_cross_entropy_with_logits(a[:, 0], b.float()) for a, b in zip(z, y, strict=True)]
        torch.testing.assert_close(means, torch.stack(theirs))


@pytest.mark.parametrize(("loss", "outputs"), [(CrossEntropy(), 2), (Bce(), 1)])
def test_confident_logits_neither_overflow_nor_lose_their_gradient(loss: Loss, outputs: int) -> None:
    z = torch.zeros(1, 2, outputs)
    z[:, :, -1] = 1e4
    y = torch.tensor([1, 0])
    assert losses.build(loss)(z[0], y).tolist() == [0.0, 1e4]
    means, gradient = Objective(loss, None)(z, [Target(y.unsqueeze(0))])
    assert (means.tolist(), gradient[0, :, -1].tolist()) == ([5e3], [0.0, 0.5])


def test_one_broken_lane_leaves_the_others_alone() -> None:
    z, y = randn(2, ROWS, OUTPUTS), labels(OUTPUTS, 2, ROWS)
    z[0, 0, 0] = torch.nan
    means, gradient = Objective(CrossEntropy(), None)(z, [Target(y)])
    assert means.isnan().tolist() == [True, False]
    assert gradient[1].isfinite().all()


def test_balanced_class_weights_equal_scikit_learn() -> None:
    y = torch.tensor([0] * 50 + [1] * 30 + [2] * 3)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y.numpy())
    assert losses.class_weights(y, 3).tolist() == pytest.approx(expected)


def test_a_class_without_rows_has_a_finite_weight() -> None:
    assert losses.class_weights(torch.tensor([0, 0, 2]), 3).tolist() == pytest.approx([0.5, 1.0, 1.0])


def test_balanced_weights_make_each_class_count_alike() -> None:
    y = torch.tensor([0] * 9 + [1])
    z = randn(1, 10, 2)
    means, _ = Objective(CrossEntropy(), losses.class_weights(y, 2))(z, [Target(y.unsqueeze(0))])
    each = losses.build(CrossEntropy())(z[0], y)
    assert means.item() == pytest.approx(((each[:9].mean() + each[9]) / 2).item())
