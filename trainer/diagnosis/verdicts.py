"""Was the learning rate right? Read off the losses that a run has logged.

The rules and their thresholds were chosen on the tuning half of `bench/verdicts.py` and are published with the
confusion matrix of the other half in docs/diagnostics.md.
"""

import itertools
import math
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Literal

from trainer.reports import Point

Rate = Literal["too_low", "good", "too_high", "diverging", "unclear"]

TINY = 1e-9

FEWEST, STRETCHES = 8, 16
"""Values of the curve under which nothing is said, and those that a run of few epochs is cut into."""
WORSE = 1.1
"""Ends this many times above its start and above guessing: diverging."""
SPIKE, DAMAGE = 3.5, 100.0
"""Highest batch loss over the first one: what a calm run never has, and what a run seldom recovers from."""
STUCK = 0.95
"""Ends above this share of the loss of guessing: nothing but the classes' shares, or the mean, was learnt."""
LAMED, TREMBLING = 0.45, 0.05
"""The same after a leap, and the standard deviation of the second half: from there the network did not recover."""
FITTED = 0.1
"""Ends under this share of the loss of guessing: whatever happened on the way does not matter."""
RISING, RESTLESS = 0.4, 0.15
"""Share of upward moves in the second half of a curve: without direction (0.5 is pure noise), and no longer smooth."""
SWING, WAVER = 0.1, 0.01
"""Standard deviation of a curve's second half, as a share of its fall: shaken, and not quite at rest."""
DIRECTED = 1.5
"""Standard deviations by which a loss fell over the second half, if it has a direction."""
UNFINISHED, RESTLESS_UNFINISHED = 0.17, 0.27
"""Share of what was learnt that the last three quarters of the steps brought: more, by a rate that is high enough, is
rare, of a smooth curve and of a restless one."""
AGREES = 0.3
"""Relative difference of two estimates of the first loss under which the better one is taken."""
WORSENED = 0.02
"""Rise of the validation loss since its best epoch, after which nobody wants the training loss to fall faster."""


@dataclass(frozen=True)
class Curve:
    """What the rules look at; losses of training rows."""

    start: float
    """Before any step."""
    end: float
    """Mean over the last tenth of the run."""
    guess: float
    """The loss of the best constant prediction."""
    spike: float
    """Highest batch loss over `start`."""
    rising: float
    """Upward moves in the second half over all moves, in loss."""
    swing: float
    """Standard deviation in the second half around its trend, beyond that of the batches, over the curve's fall."""
    drift: float
    """Fall over the second half in such standard deviations."""
    late: float
    """What the last three quarters of the steps brought, as a share of what was learnt beyond guessing."""
    second_half: float
    """The same from half of the steps on."""
    worsened: float
    """Relative rise of the validation loss since its best epoch; 0 without validation rows."""


@dataclass(frozen=True)
class Verdict:
    """A judgement of a rate, and the next one to try: of 1, 3, 10, … the nearest in the right direction."""

    rate: Rate
    lr: float
    next_lr: float
    why: str
    curve: Curve | None


def learning_rate(points: list[Point], guess: float | None = None, initial: float | None = None) -> Verdict:
    """Judges the largest rate of a run, by the part of it that had at least half of that rate.

    `guess` is the loss of the best constant prediction, `initial` that of the untrained network; without them the
    first batch's loss takes their place.
    """
    rates = {point.step: point.value for point in points if point.name == "lr" and point.value is not None}
    lr = max(rates.values(), default=0.0)
    if any(point.nonfinite for point in points if point.name in ("loss", "train_loss")):
        return _verdict("diverging", lr, "The loss is not finite any more.", None)
    batches, epochs = _values(points, "loss"), _values(points, "train_loss")
    last = max((step for step, rate in rates.items() if rate >= lr / 2), default=0)
    values, noise = _means(batches, epochs, last)
    if len(values) < FEWEST:
        return _verdict("unclear", lr, f"{len(values)} values are too few to judge by.", None)
    ends, _ = _means(batches, epochs, batches[-1][0])
    start = _start(batches[0][1] if initial is None else initial, values)
    curve = measure([loss for _, loss in batches], values, noise, start, start if guess is None else guess)
    curve = replace(curve, end=median(ends[-_tenth(ends) :]), worsened=_worsened(points))
    rate, why = judge(curve)
    return _verdict(rate, lr, why, curve)


def _values(points: list[Point], name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in points if point.name == name and point.value is not None]


def _means(batches: list[tuple[int, float]], epochs: list[tuple[int, float]], last: int) -> tuple[list[float], float]:
    """The curve up to step `last`, and the standard deviation that drawing batches puts on each of its values: means
    of epochs, which all saw the same rows, where there are enough of them, else of stretches of batches."""
    values = [value for step, value in epochs if step <= last]
    if len(values) >= FEWEST:
        return values, 0.0
    losses = [value for step, value in batches if step <= last]
    if len(losses) < FEWEST:
        return losses, 0.0
    size = max(1, len(losses) // STRETCHES)
    half = losses[len(losses) // 2 :]
    noise = math.sqrt(fmean((after - before) ** 2 for before, after in itertools.pairwise(half)) / 2 / size)
    starts = range(len(losses) % size, len(losses), size)
    return [fmean(losses[at : at + size]) for at in starts], noise if len(losses) > len(values) else 0.0


def _tenth(values: list[float]) -> int:
    return max(1, len(values) // 10)


def _start(initial: float, values: list[float]) -> float:
    """A sample's loss may be off by a fifth; a curve that begins about there, carried back by half a value, is not."""
    carried = values[0] + max(0.0, values[0] - values[1]) / 2
    return carried if abs(carried - initial) < AGREES * initial else initial


def _worsened(points: list[Point]) -> float:
    values = [value for _, value in _values(points, "val_loss")]
    if not values or min(values[-3:]) == min(values):
        return 0.0
    return fmean(values[-3:]) / max(min(values), TINY) - 1


def measure(batches: list[float], values: list[float], noise: float, start: float, guess: float) -> Curve:
    """`batches` are single losses from the first on, `values` a curve of their means with that much noise on each."""
    last = fmean(values[-_tenth(values) :])
    learnt = min(guess, start) - last
    half = values[len(values) // 2 :]
    moves = [after - before for before, after in itertools.pairwise(half)]
    shaken = math.sqrt(max(0.0, _residual(half) ** 2 - noise**2))
    quarter, middle = (median(values[at - 1 : at + 2]) for at in (len(values) // 4, len(values) // 2))
    return Curve(
        start=start,
        end=last,
        guess=guess,
        spike=max(batches) / max(start, TINY),
        rising=sum(move for move in moves if move > 0) / max(sum(map(abs, moves)), TINY) if shaken > noise else 0.0,
        swing=_share(shaken, max(guess, start) - last),
        drift=_share(middle - last, shaken),
        late=_share(quarter - last, learnt),
        second_half=_share(middle - last, learnt),
        worsened=0.0,
    )


def _share(part: float, whole: float) -> float:
    """At most ±99; of nothing or less the whole counts as tiny."""
    return max(-99.0, min(part / max(whole, TINY), 99.0))


def _residual(values: list[float]) -> float:
    """Standard deviation around the straight line of least squares."""
    middle, mean = (len(values) - 1) / 2, fmean(values)
    places = [i - middle for i in range(len(values))]
    slope = sum(x * (y - mean) for x, y in zip(places, values, strict=True)) / max(sum(x * x for x in places), TINY)
    return math.sqrt(fmean((y - mean - slope * x) ** 2 for x, y in zip(places, values, strict=True)))


def judge(curve: Curve) -> tuple[Rate, str]:
    """The rules, in the order in which they are asked."""
    level = curve.end / max(curve.guess, TINY)
    falls = curve.drift > DIRECTED and curve.spike < SPIKE
    if curve.end > WORSE * max(curve.start, curve.guess) and not falls:
        return "diverging", "It ends worse than it began and worse than guessing."
    if level > FITTED and (why := _shaken(curve, level)):
        return "too_high", why
    if curve.spike > SPIKE:
        return "good", "The loss leapt at first, but recovered."
    if level > STUCK and curve.late < UNFINISHED and curve.start > 1.02 * curve.guess:
        return "too_high", "The loss fell at once to that of guessing and stayed there."
    if level < STUCK and curve.worsened > WORSENED:
        return "good", "The training loss fell until the validation loss rose."
    if level > STUCK or curve.late > (RESTLESS_UNFINISHED if curve.rising > RESTLESS else UNFINISHED):
        return "too_low", f"The last three quarters of the steps brought {min(curve.late, 1):.0%} of what was learnt."
    return "good", "The loss fell, and levelled off."


def _shaken(curve: Curve, level: float) -> str | None:
    """Why the rate is too high for the network to come to rest, if it is."""
    if curve.spike > DAMAGE:
        return f"The loss leapt to {curve.spike:.3g} times its first value."
    if curve.spike > SPIKE and (level > LAMED or curve.swing > TREMBLING):
        return f"The loss leapt to {curve.spike:.3g} times its first value and did not recover."
    aimless = curve.swing > WAVER and not curve.second_half > 0
    if curve.rising > RISING and (aimless or (curve.swing > SWING and curve.drift < DIRECTED)):
        return "The loss goes up and down without direction."
    return None


def _verdict(rate: Rate, lr: float, why: str, curve: Curve | None) -> Verdict:
    match rate:
        case "too_low":
            factor = 10.0 if curve and curve.end > STUCK * curve.guess else 3.0
        case "too_high":
            factor = 0.1 if curve and curve.spike > DAMAGE else 1 / 3
        case "diverging":
            factor = 0.1
        case _:
            factor = 1.0
    return Verdict(rate, lr, on_grid(lr * factor) if factor != 1 else lr, why, curve)


def on_grid(lr: float) -> float:
    """The nearest of …, 0.1, 0.3, 1, 3, 10, … by ratio."""
    if lr <= 0:
        return lr
    exponent = math.floor(math.log10(lr))
    candidates = [float(f"{digit}e{power}") for power in (exponent, exponent + 1) for digit in (1, 3)]
    return min(candidates, key=lambda candidate: abs(math.log(candidate / lr)))
