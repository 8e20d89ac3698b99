"""When to stop and which epoch is best: Keras's `EarlyStopping` and `ModelCheckpoint`, one per lane."""

import math
from dataclasses import dataclass

from jobs.spec.stopping import EarlyStopping, Mode


def improves(value: float, reference: float | None, mode: Mode, min_delta: float = 0.0) -> bool:
    """Strictly better by more than `min_delta`; a non-finite value never is, anything finite beats nothing."""
    if not math.isfinite(value):
        return False
    if reference is None:
        return True
    return value + min_delta < reference if mode == "min" else value - min_delta > reference


@dataclass
class Best:
    """The best value of a monitor so far."""

    value: float | None = None
    epoch: int = 0
    """Counted from 1."""
    step: int = 0

    def observe(self, value: float, mode: Mode, epoch: int, step: int, min_delta: float = 0.0) -> bool:
        """True if this epoch is the new best."""
        if not improves(value, self.value, mode, min_delta):
            return False
        self.value, self.epoch, self.step = value, epoch, step
        return True


@dataclass
class Patience:
    """Keras's rule, epochs counted from 0, with three mends: a non-finite value never becomes the best, an epoch
    that beats the best but not the baseline is counted as waiting, and the best starts at nothing."""

    wait: int = 0
    best: float | None = None

    def observe(self, spec: EarlyStopping, value: float, epoch: int) -> tuple[bool, bool]:
        """(is this the best epoch, should the run stop) at the end of an epoch."""
        assert spec.mode != "auto", "a resolved spec leaves no mode to guess"
        if epoch < spec.start_from_epoch:
            return False, False
        self.wait += 1
        better = improves(value, self.best, spec.mode, spec.min_delta)
        if better:
            self.best = value
            if spec.baseline is None or improves(value, spec.baseline, spec.mode, spec.min_delta):
                self.wait = 0
                return True, False
        return better, self.wait >= spec.patience and epoch > 0
