"""Products in fewer bits: which type, and how fp16's small gradients are kept from vanishing."""

from dataclasses import dataclass

import torch

from jobs.spec.job import JobSpec

FIRST_SCALE, GROWTH, GROW_AFTER = 2.0**16, 2.0, 2000
"""As `torch.amp.GradScaler`: doubled after so many steps without overflow, halved at each."""


def low(spec: JobSpec) -> torch.dtype | None:
    """The type that products are computed in, if not float32."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(spec.precision)


def notes(spec: JobSpec, device: str) -> list[str]:
    """What somebody should know of the choice, once the device is known."""
    slow = spec.precision == "fp16" and device == "cpu"
    return ["Processors are slow with fp16: bf16 or fp32 are faster here."] if slow else []


@dataclass
class LossScale:
    """A factor on the loss, so that gradients in fp16 do not round to 0 (Micikevicius et al. 2018); lanes share it."""

    active: bool
    factor: float = FIRST_SCALE
    since: int = 0
    """Steps since it last changed."""

    def up(self, gradient: torch.Tensor) -> torch.Tensor:
        """What goes back through the network."""
        return gradient * self.factor if self.active else gradient

    def down(self, gradients: torch.Tensor) -> bool:
        """Takes the factor out of [K, P] again; False if the gradients of all lanes overflowed, and the step must be
        left out. Where others did not, a lane that overflowed has gradients of 0."""
        if not self.active:
            return True
        finite = gradients.isfinite().all(1)
        overflowed = not bool(finite.all())
        gradients.div_(self.factor)
        if overflowed:
            gradients[~finite] = 0
            self.factor, self.since = max(1.0, self.factor / GROWTH), 0
            return bool(finite.any())
        self.since += 1
        if self.since == GROW_AFTER:
            self.factor, self.since = self.factor * GROWTH, 0
        return True
