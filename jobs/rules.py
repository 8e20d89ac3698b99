"""Every `auto` decided, every contradiction found: pure rules over a spec and its dataset's profile."""

from dataclasses import dataclass

from jobs.errors import Fault, SpecInvalid
from jobs.rulebook import batch, computing, contradictions, data, network, training
from jobs.rulebook.facts import Facts
from jobs.rulebook.ledger import Ledger
from jobs.spec import shapes
from jobs.spec.explained import Decision, Notice
from jobs.spec.job import JobSpec
from jobs.spec.model import has_batch_norm
from jobs.spec.profile import DatasetProfile


@dataclass(frozen=True)
class Resolved:
    """A spec with nothing left to guess but the device, and how it came to be so."""

    spec: JobSpec
    decisions: list[Decision]
    notices: list[Notice]
    facts: Facts
    dataset_hash: str


def faults(spec: JobSpec) -> list[Fault]:
    """Contradictions that show without the dataset."""
    ledger = Ledger()
    contradictions.find(spec, ledger)
    return ledger.faults


def resolve(spec: JobSpec, profile: DatasetProfile, test: DatasetProfile | None) -> Resolved:
    """Decides everything that was left open. Resolving a resolved spec changes nothing.

    Raises:
        SpecInvalid: with every fault found.
    """
    ledger = Ledger()
    contradictions.find(spec, ledger)
    facts = data.facts(spec, profile, test, ledger)
    if facts is None:
        raise SpecInvalid(ledger.faults)
    chosen = _decide(spec, facts, ledger)
    if ledger.faults:
        raise SpecInvalid(ledger.faults)
    hashes = [known.sha256 for known in (profile, test) if known and known.sha256]
    return Resolved(chosen, ledger.decisions, ledger.notices, facts, "+".join(hashes))


def _decide(spec: JobSpec, facts: Facts, ledger: Ledger) -> JobSpec:
    preferred = "val_loss" if facts.validation_rows else "train_loss"
    layers = network.layers(spec, facts.shape, ledger)
    stop = training.stopping(spec, facts, preferred, ledger)
    size = batch.size(spec, facts, ledger)
    length = batch.steps(spec, facts, size, has_batch_norm(layers.layers))
    batch.check_one(shapes.walk(layers.layers, facts.shape), facts, size, ledger)
    computing.check_ensemble(spec, facts, ledger)
    names = [target.name for target in facts.targets]
    return spec.model_copy(
        update={
            "target": names[0] if len(names) == 1 else names,
            "task": facts.task,
            "split": facts.split,
            "categories": spec.categories.model_copy(update={"encoding": data.encoding(spec, facts, ledger)}),
            "scaler": data.scaler(spec, facts, network.first(layers.layers), ledger),
            "model": layers,
            "init": network.output_init(spec, layers.layers, ledger),
            "loss": training.loss(spec, facts, ledger),
            "batch_size": size,
            "schedule": training.schedule(spec, length, facts, preferred, ledger),
            "early_stopping": stop,
            "checkpoint": training.checkpoint(spec, stop, facts, preferred, ledger),
            "precision": computing.precision(spec, ledger),
            "log_every": training.log_every(spec, length, ledger),
        }
    )
