"""What the service decided for the caller, and what it would have the caller know."""

from typing import Literal

from pydantic import JsonValue

from jobs.spec.values import Count, NonNegative, Part, Positive


class Decision(Part):
    """One `auto` and what became of it."""

    path: str
    """JSON pointer into the spec."""
    requested: JsonValue
    """What was asked for."""
    value: JsonValue
    """What it became."""
    rule: str
    """The rule's stable name."""
    why: str
    """The facts that the rule saw, for people."""


class Notice(Part):
    """A warning: the job runs, but somebody should look."""

    code: str
    """Stable, for programs."""
    path: str
    """JSON pointer into the spec; empty for the whole."""
    message: str
    """What was noticed and what to do, for people."""


class Operation(Part):
    """One step of a JSON patch (RFC 6902)."""

    op: Literal["add", "replace"]
    path: str
    """JSON pointer into the spec; `-` stands for the end of a list."""
    value: JsonValue
    """What to put there."""


Code = Literal[
    "lr_too_low",
    "lr_good",
    "lr_too_high",
    "lr_diverging",
    "lr_unclear",
    "vanishing_gradient",
    "exploding_gradient",
    "dead_units",
    "saturated_units",
    "symmetric_units",
    "init_mismatch",
    "overfitting",
    "underfitting",
    "class_collapse",
    "leak_suspected",
    "unstable_batch_norm",
]


class Finding(Part):
    """What a run says about itself. docs/diagnostics.md tells what each code means and how sure it is."""

    code: Code
    """Stable, for programs."""
    severity: Literal["info", "warning", "error"]
    """`error`: nothing useful was learnt. `warning`: more is to be had. `info`: nothing to do."""
    message: str
    """For people."""
    evidence: dict[str, JsonValue]
    """The numbers that it rests on."""
    patch: list[Operation] = []
    """What to change: applied to the spec beside it, it gives one to post next. Empty where there is nothing to
    change in a spec."""


class LayerFlow(Part):
    """A layer at one moment, on a sample of training rows; a number is null where it means nothing or is not finite."""

    layer: str
    """Its place in the resolved model; `3.0` is the first layer within the residual block 3. Outputs are not measured
    there."""
    kind: str
    """As in the model: `dense`, `conv`, `activation`, …; the last `dense` is the output layer."""
    function: str | None
    """Of an activation."""
    mean: float | None
    """Of its outputs."""
    std: float | None
    """Of its outputs, over rows and units."""
    dead: float | None
    """Share of relu units that are 0 for every row."""
    saturated: float | None
    """Share of sigmoid or tanh outputs within 1 % of the function's range from its bounds."""
    gradient: float | None
    """Root mean square of the gradient of its weights."""
    update: float | None
    """L2 norm of the step that followed over that of the weights; about 1e-3 is usual."""
    alike: bool | None
    """All its units have the same weights."""


class Flow(Part):
    """How signals and gradients pass through the network at one moment."""

    epoch: int
    """Epochs finished; 0 is the freshly initialised network."""
    step: int
    """Optimizer steps taken."""
    lane: int
    """Which model of the run, from 0."""
    loss: float | None
    """Of the sample, with batch norm and dropout as in training."""
    eval_loss: float | None
    """Of the sample, with both as in use; null where neither is there."""
    classes: int | None
    """Different classes among the predictions for the sample; null for regression."""
    layers: list[LayerFlow]


class Diagnostics(Part):
    """What a run says about itself, worst first."""

    findings: list[Finding]
    flow: list[Flow]
    """Of the first model of the run; the result `diagnostics.json` has every model's."""


class Background(Part):
    """What is known of a job where it was accepted, and not where it is trained."""

    decisions: list[Decision] = []
    """How its spec was resolved."""
    warnings: list[Notice] = []
    """What was noticed then."""
    dataset_hash: str | None = None
    """SHA-256 of its data."""
    micro_batches: Count = 1
    """Parts that each batch is computed in, one after the other: more than one after an attempt that ran out of memory.
    The update is that of the whole batch."""
    seconds: NonNegative = 0.0
    """Active time of the attempts before, as far as it is known; they count towards the spec's `max_time`."""
    most_seconds: Positive | None = None
    """Active time that any job may take here."""

    def along(self, decisions: list[Decision]) -> "Background":
        """With what was decided where the run began, in place of what those rules decided in an earlier attempt."""
        rules = {decision.rule for decision in decisions}
        before = [decision for decision in self.decisions if decision.rule not in rules]
        return self.model_copy(update={"decisions": [*before, *decisions]})


UNKNOWN = Background()
