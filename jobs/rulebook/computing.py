"""Rules about how it is computed: precision, members of an ensemble."""

from jobs.rulebook.facts import Facts
from jobs.rulebook.ledger import Ledger
from jobs.spec.job import JobSpec, Precision


def precision(spec: JobSpec, ledger: Ledger) -> Precision:
    """The type that products are computed in."""
    if spec.precision == "fp16" and spec.device == "cpu":
        text = "Processors are slow with fp16; take bf16 or fp32 there."
        ledger.warn("/precision", "fp16_on_cpu", text)
    if spec.precision != "auto":
        return spec.precision
    why = "Exact first: bf16 and fp16 are faster on a GPU, and round."
    return ledger.decide("/precision", "auto", "fp32", "precision.exact", why)


def check_ensemble(spec: JobSpec, facts: Facts, ledger: Ledger) -> None:
    """What an ensemble cannot do, or does for nothing."""
    ensemble = spec.ensemble
    if ensemble is None:
        return
    if ensemble.combine == "vote" and facts.task == "regression":
        ledger.fault("/ensemble/combine", "vote_without_classes", "Members vote on classes; take mean for numbers.")
    alike = spec.init.kind in ("zeros", "constant")
    if alike and (ensemble.vary == "init" or (ensemble.vary == "seed" and not spec.shuffle)):
        text = "All members start alike and see the same rows in one order; take a random init, or vary bootstrap."
        ledger.warn("/ensemble/vary", "members_alike", text)
