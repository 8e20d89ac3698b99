"""Augmented batches against exact cases and scipy, and each lane against a run of its own."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from scipy import ndimage, stats

from jobs.spec.augment import Affine, Augmentation
from trainer import augmentation

EVERYTHING: list[dict[str, Any]] = [
    {"kind": "flip"},
    {"kind": "flip", "axis": "vertical", "probability": 0.3},
    {"kind": "rotate"},
    {"kind": "translate"},
    {"kind": "noise"},
    {"kind": "scale", "low": 0.5, "high": 2.0},
    {"kind": "stretch"},
    {"kind": "shear"},
    {"kind": "crop", "pixels": 2},
    {"kind": "mixup"},
]


def parsed(augment: list[dict[str, Any]]) -> list[Augmentation]:
    return TypeAdapter(list[Augmentation]).validate_python(augment)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def augmented(augment: list[dict[str, Any]], x: torch.Tensor, *seeds: int, numeric: int = 0) -> torch.Tensor:
    y = torch.zeros(x.shape[:2], dtype=torch.long)
    return augmentation.build(parsed(augment), numeric)(x, y, generators(*seeds))[0]


def images(lanes: int = 1, rows: int = 6, channels: int = 2, height: int = 9, width: int = 9) -> torch.Tensor:
    return torch.rand(lanes, rows, channels, height, width, generator=torch.Generator().manual_seed(0))


def inverse(move: Augmentation, u: float, v: float, width: int, height: int) -> torch.Tensor:
    assert isinstance(move, Affine)
    across, down = torch.tensor([[u], [v]], dtype=torch.float64)
    return augmentation.inverse(move, across, down, width, height)


def moved(x: torch.Tensor, u: float, v: float, *moves: dict[str, Any]) -> torch.Tensor:
    """All images by the same draws in -1…1, one move after the other in a single lookup."""
    height, width = x.shape[-2:]
    back = torch.eye(3, dtype=torch.float64)[None]
    for move in parsed(list(moves)):
        back = back @ inverse(move, u, v, width, height)
    return augmentation.sample(x, back.expand(len(x), 3, 3))


def test_nothing_to_do_changes_nothing() -> None:
    x, y = images(), torch.arange(6)[None]
    changed, targets = augmentation.build([], 0)(x, y, generators(0))
    assert changed is x
    assert targets == [(y, None)]


def test_the_same_generator_state_gives_the_same_batch_and_another_gives_another() -> None:
    first, again, other = (augmented(EVERYTHING, images(), seed) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_lane_is_augmented_as_it_would_be_alone() -> None:
    x, y = images(lanes=3), torch.arange(18).reshape(3, 6)
    apply = augmentation.build(parsed(EVERYTHING), 0)
    together, targets = apply(x, y, generators(1, 2, 3))
    for lane in range(3):
        alone, own = apply(x[lane : lane + 1], y[lane : lane + 1], generators(lane + 1))
        assert torch.equal(together[lane], alone[0])
        for (all_y, all_share), (own_y, own_share) in zip(targets, own, strict=True):
            assert torch.equal(all_y[lane], own_y[0])
            assert all_share is not None
            assert own_share is not None
            assert torch.equal(all_share[lane], own_share[0])


@pytest.mark.parametrize(("axis", "dimension"), [("horizontal", 4), ("vertical", 3)])
def test_a_flip_is_exact_and_as_frequent_as_asked(axis: str, dimension: int) -> None:
    x = images(rows=2_000, channels=1, height=4, width=5)
    assert torch.equal(augmented([{"kind": "flip", "axis": axis, "probability": 1.0}], x, 0), x.flip(dimension))
    some = augmented([{"kind": "flip", "axis": axis, "probability": 0.3}], x, 0)
    is_flipped = (some == x.flip(dimension)).all(-1).all(-1).all(-1)
    assert torch.equal(torch.where(is_flipped[..., None, None, None], x.flip(dimension), x), some)
    assert 0.25 < is_flipped.float().mean() < 0.35


def test_a_crop_is_every_move_by_whole_pixels() -> None:
    x = images(rows=500, channels=2, height=5, width=6)
    cut = augmented([{"kind": "crop", "pixels": 1}], x, 0)
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1))
    seen = set()
    for row in range(500):
        places = [(i, j) for i in range(3) for j in range(3)]
        found = [p for p in places if torch.equal(padded[0, row, :, p[0] : p[0] + 5, p[1] : p[1] + 6], cut[0, row])]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 9


def test_moves_by_nothing_change_nothing() -> None:
    x = images()[0]
    for move in ({"kind": "rotate"}, {"kind": "translate"}, {"kind": "shear"}, {"kind": "scale"}, {"kind": "stretch"}):
        torch.testing.assert_close(moved(x, 0.0, 0.0, move), x)


def test_a_quarter_turn_is_rot90() -> None:
    x = images()[0]
    turned = moved(x, 0.5, 0.0, {"kind": "rotate", "degrees": 180.0})
    torch.testing.assert_close(turned, x.rot90(-1, dims=(2, 3)), atol=1e-5, rtol=0)


def test_a_move_by_one_pixel_is_a_shift_with_zeros() -> None:
    x = images(height=10, width=5)[0]
    shifted = moved(x, 1.0, 0.5, {"kind": "translate", "share": 0.2})  # one pixel right, one down
    torch.testing.assert_close(shifted[..., 1:, 1:], x[..., :-1, :-1], atol=1e-5, rtol=0)
    torch.testing.assert_close(shifted[..., 0, :], torch.zeros(6, 2, 5), atol=1e-5, rtol=0)


def test_a_move_and_the_move_back_is_none() -> None:
    x = images(height=7, width=12)[0]
    for move in parsed([{"kind": "translate", "share": 0.25}, {"kind": "rotate"}, {"kind": "shear"}]):
        there_and_back = inverse(move, 0.7, 0.2, 12, 7) @ inverse(move, -0.7, -0.2, 12, 7)
        torch.testing.assert_close(augmentation.sample(x, there_and_back.expand(6, 3, 3)), x)


HALF, ROOT = 1 / 2, np.sqrt(3) / 2
MOVES: list[tuple[dict[str, Any], list[list[float]]]] = [  # (y, x) from the middle → where they go, by u 0.6 and v -0.4
    ({"kind": "rotate", "degrees": 50.0}, [[ROOT, HALF], [-HALF, ROOT]]),
    ({"kind": "scale", "low": 0.5, "high": 1.5}, [[1.3, 0], [0, 1.3]]),
    ({"kind": "stretch", "low": 0.5, "high": 1.5}, [[0.8, 0], [0, 1.3]]),
    ({"kind": "shear", "degrees": 20.0}, [[1, 0], [np.tan(np.radians(12)), 1]]),
]


@pytest.mark.parametrize(("move", "forward"), MOVES)
@pytest.mark.parametrize("shape", [(11, 11), (8, 13)])
def test_each_move_is_scipys_affine_transform(
    move: dict[str, Any], forward: list[list[float]], shape: tuple[int, int]
) -> None:
    x = images(channels=1, height=shape[0], width=shape[1])[0]
    np.testing.assert_allclose(moved(x, 0.6, -0.4, move)[:, 0], [_by_scipy(one, forward) for one in x[:, 0]], atol=1e-5)


def test_several_moves_are_one_lookup_in_the_order_of_the_list() -> None:
    (rotate, turn), _, (stretch, widen), _ = MOVES
    x = images(channels=1, height=8, width=13)[0]
    for moves, forward in (
        ([rotate, stretch], np.array(widen) @ turn),
        ([stretch, rotate], np.array(turn) @ widen),
    ):
        expected = [_by_scipy(one, forward.tolist()) for one in x[:, 0]]
        np.testing.assert_allclose(moved(x, 0.6, -0.4, *moves)[:, 0], expected, atol=1e-5)


def _by_scipy(image: torch.Tensor, forward: list[list[float]]) -> Any:
    """Padded by hand: at the border scipy interpolates towards zeros only in a grid that holds them."""
    padded, back = np.pad(image.numpy().astype(float), 20), np.linalg.inv(forward)
    middle = (np.array(padded.shape) - 1) / 2
    whole = ndimage.affine_transform(padded, back, offset=middle - back @ middle, order=1)
    return whole[20:-20, 20:-20]


def test_the_inside_of_a_white_image_stays_white() -> None:
    x = torch.ones(1, 50, 1, 21, 21)
    turned = augmented([{"kind": "rotate", "degrees": 180.0}, {"kind": "scale", "low": 1.0, "high": 2.0}], x, 0)
    torch.testing.assert_close(turned[..., 6:15, 6:15], torch.ones(1, 50, 1, 9, 9))


def test_draws_fill_their_ranges() -> None:
    x = torch.zeros(1, 3_000, 1, 101, 1)
    x[..., 50, 0] = 1.0
    at = augmented([{"kind": "translate", "share": 0.2}], x.repeat(1, 1, 1, 1, 3), 0)[..., 1]
    place = (at.sum(-1).clamp_min(1e-6).reciprocal() * (at * torch.arange(101.0)).sum(-1))[0, :, 0] - 50
    place = place[at.sum(-1)[0, :, 0] > 0.5]
    assert -20.21 < place.min() < -19
    assert 19 < place.max() < 20.21


def test_noise_is_normal_and_only_on_the_numbers_of_a_table() -> None:
    x = torch.ones(1, 20_000, 3)
    noise = augmented([{"kind": "noise", "std": 0.5}], x, 0, numeric=2) - x
    assert stats.kstest(noise[0, :, :2].flatten(), "norm", args=(0, 0.5)).pvalue > 1e-3
    assert (noise[..., 2] == 0).all()


@pytest.mark.parametrize("y", [torch.arange(8)[None], torch.rand(1, 8, 2)])
def test_mixup_mixes_rows_and_says_what_of_their_loss(y: torch.Tensor) -> None:
    x = torch.rand(1, 8, 5)
    apply = augmentation.build(parsed([{"kind": "mixup", "alpha": 1.0}]), 5)
    mixed, ((own, share), (other, rest)) = apply(x, y, generators(0))
    assert own is y
    assert share is not None
    assert rest is not None
    torch.testing.assert_close(share + rest, torch.ones(1, 8))
    for row in range(8):
        partner = next(i for i in range(8) if torch.equal(y[0, i], other[0, row]))
        torch.testing.assert_close(mixed[0, row], share[0, row] * x[0, row] + rest[0, row] * x[0, partner])


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.5, 1.0, 2.0, 50.0])
def test_the_shares_of_mixup_are_beta(alpha: float) -> None:
    share = augmentation.symmetric_beta(alpha, torch.rand(20_000, 2, generator=torch.Generator().manual_seed(1)))
    assert stats.kstest(share, stats.beta(alpha, alpha).cdf).pvalue > 1e-3
