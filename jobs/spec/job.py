"""The whole spec of a job: the HTTP body, the stored column and the trainer's input are this one model."""

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field

from jobs.spec.augment import Augmentation
from jobs.spec.batch import BatchSize
from jobs.spec.data import (
    AutoScaler,
    AutoSplit,
    Categories,
    Dataset,
    Features,
    Missing,
    Scaler,
    Split,
    Task,
)
from jobs.spec.ensemble import Ensemble
from jobs.spec.init import AutoInit, Init
from jobs.spec.loss import AutoLoss, Loss
from jobs.spec.model import Mlp, Model
from jobs.spec.optimizer import Adam, Clip, Optimizer, Regularization
from jobs.spec.schedule import Constant, Schedule
from jobs.spec.stopping import Checkpoint, EarlyStopping
from jobs.spec.values import TAGS, Auto, Column, Count, Flag, Metadata, Natural, Part, Positive, Priority, Text

VERSION = 1
"""Of the spec's language. A worker leaves jobs of a newer version to others."""
MOST_BYTES = 1 << 20
"""Of a spec as JSON: it is kept in the database, as sent and as resolved, and is a part of every answer."""


Precision = Literal["fp32", "bf16", "fp16"]


class JobSpec(Part):
    """A training job, declared. Everything but the dataset has a default; every `auto` is resolved and explained."""

    dataset: Dataset
    """What to learn from."""
    name: Text | None = None
    """For people."""
    target: Column | Annotated[list[Column], Field(min_length=1, max_length=100)] | None = None
    """The column to predict, several for multi-output regression. Null where the dataset names it itself
    (builtin sets, arrays and images)."""
    task: Auto | Task = "auto"
    """auto: strings, booleans and few distinct integers → classification, else regression."""
    features: Features = Field(default_factory=Features)
    """Which columns the model sees."""
    split: Split = Field(default_factory=AutoSplit)
    """Which rows train, validate and test."""
    missing: Missing = Field(default_factory=Missing)
    """How gaps are filled."""
    categories: Categories = Field(default_factory=Categories)
    """How categories become numbers."""
    scaler: Scaler = Field(default_factory=AutoScaler)
    """How numeric features are scaled (images: per channel). One-hot columns are left as they are."""
    augment: Annotated[list[Augmentation], Field(max_length=20)] = []
    """How training rows are changed each time they are seen, in this order; neighbours that move, turn or stretch an
    image are done at once."""
    model: Model = Field(default_factory=Mlp)
    """The network."""
    init: Init = Field(default_factory=AutoInit)
    """The start of every weight and bias whose layer does not say otherwise."""
    loss: Loss = Field(default_factory=AutoLoss)
    """What is minimised."""
    class_weight: Literal["none", "balanced"] = "none"
    """`balanced` weighs class c by n/(k·n_c) over the training rows, as scikit-learn does."""
    optimizer: Optimizer = Field(default_factory=Adam)
    """How the weights move."""
    regularization: Regularization = Field(default_factory=Regularization)
    """Penalties."""
    clip: Clip | None = None
    """Of the gradient, after the penalties are added."""
    batch_size: BatchSize = "auto"
    """Rows per step. auto: under 2,000 training rows the full batch, else the largest power of two in 64…512 that
    makes at least 64 steps per epoch and fits on the device."""
    shuffle: Flag = True
    """Order of rows drawn anew each epoch; false keeps the order of the data."""
    epochs: Annotated[Count, Field(le=100_000)] = 50
    """Passes over the training rows, at most."""
    schedule: Schedule = Field(default_factory=Constant)
    """The learning rate over time."""
    early_stopping: EarlyStopping | Auto | None = "auto"
    """auto: on val_loss with the defaults, where there are validation rows. Null trains all epochs."""
    checkpoint: Checkpoint = Field(default_factory=Checkpoint)
    """What is kept on the way."""
    ensemble: Ensemble | None = None
    """Train several models as one run and let them decide together; null trains one."""
    seed: Natural = 0
    """Of the split, the initial weights, the order of rows and dropout."""
    device: Auto | Literal["cpu", "cuda"] = "auto"
    """auto: a GPU where the worker has one; decided at the start of the run."""
    precision: Auto | Precision = "auto"
    """Of the products: `bf16` and `fp16` keep weights and losses in fp32 (mixed precision; fp16 scales the loss and
    is meant for a GPU). auto: fp32."""
    determinism: Literal["strict", "fast"] = "strict"
    """`strict`: same spec, data, seed, device and build give the same bits. `fast` lets a GPU choose its kernels by
    speed (TF32 too); on a CPU there is no difference."""
    max_time: Positive | None = None
    """Seconds of training, over all attempts, after which the run ends as `timed_out`; within an epoch with the best
    one before it."""
    log_every: Auto | Count = "auto"
    """Steps between two recorded batch losses; auto keeps a run below 5,000 of them."""
    priority: Priority = 0
    """Higher runs first."""
    metadata: Metadata = {}
    """Yours: up to 16 pairs, to filter by."""


def size(spec: JobSpec) -> int:
    """Bytes as JSON."""
    return len(spec.model_dump_json().encode())


def digest(spec: JobSpec) -> str:
    """SHA-256 over the canonical JSON of all that differs from the defaults: a field that a later version adds does
    not change it."""
    return hashlib.sha256(json.dumps(_said(spec), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def fingerprint(spec: JobSpec) -> str:
    """The digest of what determines the result: name, metadata and priority left out."""
    return digest(spec.model_copy(update={"name": None, "metadata": {}, "priority": 0}))


def _said(value: object) -> object:
    """A part without what it would be anyway; which part it is stays."""
    match value:
        case Part():
            fields = [(name, field, getattr(value, name)) for name, field in type(value).model_fields.items()]
            return {
                name: _said(content)
                for name, field, content in fields
                if name in TAGS or content != field.get_default(call_default_factory=True)
            }
        case list() | tuple() if value and isinstance(value[0], Part):
            return [_said(part) for part in value]
        case _:
            return value
