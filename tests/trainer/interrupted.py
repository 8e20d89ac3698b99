"""Random valid specs, and runs that are interrupted again and again."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jobs import profiles, rules
from jobs.errors import SpecInvalid
from jobs.spec.data import Builtin, Rows
from jobs.spec.job import JobSpec
from trainer.reports import Finished, Point, Progress, Saved, Started
from trainer.run import run

Choice = dict[str, Any]

OPTIMIZERS: list[Choice] = [
    {"kind": "sgd", "lr": 0.02},
    {"kind": "sgd", "lr": 0.02, "momentum": 0.9, "nesterov": True},
    {"kind": "adagrad"},
    {"kind": "adadelta"},
    {"kind": "rmsprop"},
    {"kind": "rmsprop", "momentum": 0.5, "centered": True},
    {"kind": "adam", "lr": 0.01},
    {"kind": "adam", "amsgrad": True},
    {"kind": "adamw"},
    {"kind": "adamax"},
    {"kind": "nadam"},
    {"kind": "radam", "lr": 0.01},
    {"kind": "muon"},
]
SCHEDULES: list[Choice] = [
    {"kind": "constant"},
    {"kind": "step", "size": 2, "gamma": 0.5},
    {"kind": "multistep", "milestones": [3, 5], "unit": "step"},
    {"kind": "exponential", "gamma": 0.9},
    {"kind": "inverse_time", "rate": 0.5},
    {"kind": "linear", "end_factor": 0.1},
    {"kind": "polynomial", "power": 2.0, "unit": "step"},
    {"kind": "cosine", "min_lr": 1e-5},
    {"kind": "cosine_restarts", "length": 1, "factor": 2},
    {"kind": "one_cycle"},
    {"kind": "plateau", "patience": 0, "threshold": 0.2, "cooldown": 1},
]
WARMUPS = [None, {"length": 3}, {"length": 1, "unit": "epoch"}]
CLIPS = [
    None,
    {"kind": "global_norm", "max_norm": 0.5},
    {"kind": "per_parameter_norm", "max_norm": 0.3},
    {"kind": "value", "limit": 0.05},
]
PENALTIES: list[Choice] = [
    {},
    {"l1": 1e-3},
    {"l2": 1e-3, "include_biases": True},
    {"weight_decay": 1e-2},
    {"max_norm": 0.8},
]
ENSEMBLES = [
    None,
    None,
    {"members": 2},
    {"members": 5, "vary": "bootstrap"},
    {"members": 3, "vary": "init", "combine": "vote"},
]
STOPPINGS = [
    None,
    "auto",
    {"patience": 1, "min_delta": 0.02},
    {"patience": 1, "min_delta": 0.05, "restore_best_weights": False},
]
SPLITS: list[Choice] = [
    {"kind": "auto"},
    {"kind": "random", "validation": 0.2},
    {"kind": "stratified", "validation": 0.0},
]
TABLE_SCALERS = ["auto", "none", "minmax", "standard", "robust", "maxabs", "quantile", "power"]
SAVINGS: list[Choice] = [
    {},
    {},
    {"save_freq": 1},
    {"save_freq": 3},
    {"save_best_only": True},
    {"save_weights_only": True, "save_freq": 2},
]
IMAGE_AUGMENTATIONS = ["flip", "crop", "translate", "rotate", "scale", "stretch", "shear", "noise", "mixup"]
TABLES = ["iris", "wine", "breast_cancer", "diabetes"]
REGRESSION = [{"kind": "mse"}, {"kind": "mae"}, {"kind": "huber"}]
BATCHES: list[Any] = [13, 32, 64, "full", "auto", {"kind": "largest", "at_most": 48}]

CONVOLVED: list[Choice] = [
    {"kind": "conv", "channels": 4, "kernel": 2},
    {"kind": "batch_norm"},
    {"kind": "activation", "function": "silu"},
    {"kind": "residual", "layers": [{"kind": "conv", "channels": 4}, {"kind": "dropout", "rate": 0.2}]},
    {"kind": "pool", "function": "average"},
    {"kind": "conv", "channels": 6, "padding": "valid", "stride": 2},
    {"kind": "pool", "function": "global_average"},
    {"kind": "flatten"},
    {"kind": "layer_norm"},
]


def spec_of(seed: int) -> JobSpec:
    """A valid one, drawn and resolved; kinds that a run can only have one of take turns."""
    rng = random.Random(seed)
    while True:
        try:
            return _resolved(JobSpec.model_validate(_drawn(rng, seed)))
        except (SpecInvalid, ValidationError):
            continue  # some combinations are refused


def _resolved(spec: JobSpec) -> JobSpec:
    match spec.dataset:
        case Builtin(name=name):
            profile = profiles.builtin()[name]
        case Rows(rows=rows):
            profile = profiles.of_rows(rows)
        case _:
            raise AssertionError("nothing uploaded here")
    return rules.resolve(spec, profile, None).spec


def _drawn(rng: random.Random, seed: int) -> Choice:
    schedule = SCHEDULES[seed % len(SCHEDULES)] | {"warmup": rng.choice(WARMUPS)}
    optimizer = OPTIMIZERS[seed % len(OPTIMIZERS)]
    body: Choice = {
        "optimizer": optimizer,
        "schedule": schedule,
        "clip": rng.choice(CLIPS),
        "regularization": rng.choice(PENALTIES),
        "ensemble": rng.choice(ENSEMBLES),
        "early_stopping": rng.choice(STOPPINGS),
        "split": rng.choice(SPLITS),
        "checkpoint": rng.choice(SAVINGS),
        "precision": rng.choice(["fp32", "fp32", "bf16", "fp16"]),
        "batch_size": rng.choice(BATCHES),
        "shuffle": rng.random() < 0.8,
        "seed": rng.randrange(1000),
        "log_every": rng.choice(["auto", 1, 3]),
    }
    return body | (_images(rng, seed // 3) if seed % 3 == 0 else _table(rng, seed))


def _images(rng: random.Random, turn: int) -> Choice:
    cnn = {"kind": "cnn", "channels": [3], "hidden": [8], "batch_norm": rng.random() < 0.5, "dropout": 0.1}
    kinds = {IMAGE_AUGMENTATIONS[turn % len(IMAGE_AUGMENTATIONS)], *rng.sample(IMAGE_AUGMENTATIONS, rng.randrange(3))}
    return {
        "dataset": {"source": "builtin", "name": "digits"},
        "model": rng.choice([cnn, {"kind": "sequential", "layers": CONVOLVED}, {"kind": "mlp", "hidden": [8]}]),
        "augment": [{"kind": kind, "pixels": 1} if kind == "crop" else {"kind": kind} for kind in sorted(kinds)],
        "scaler": {"kind": rng.choice(["auto", "none", "minmax", "standard"])},
        "batch_size": rng.choice([300, 512, 700]),
        "precision": rng.choice(["fp32", "bf16"]),  # fp16 takes seconds for convolutions here
        "epochs": rng.randint(1, 2),
    }


def _table(rng: random.Random, seed: int) -> Choice:
    name = rng.choice([*TABLES, "rows"])
    mlp = {"hidden": rng.choice([[8], [6, 5], []]), "dropout": rng.choice([0.0, 0.3]), "batch_norm": rng.random() < 0.3}
    function = rng.choice(["relu", "leaky_relu", "tanh", "sigmoid", "elu", "selu", "gelu", "softmax"])
    body: Choice = {
        "dataset": {"source": "builtin", "name": name},
        "model": {"kind": "mlp", "activation": function} | mlp,
        "augment": rng.choice([[], [], [{"kind": "noise"}], [{"kind": "noise"}, {"kind": "mixup"}]]),
        "scaler": {"kind": rng.choice(TABLE_SCALERS)},
        "epochs": rng.randint(1, 5),
    }
    if seed % 7 == 0:
        body |= {"optimizer": OPTIMIZERS[seed % len(OPTIMIZERS)] | {"lr": "auto"}}
    if name == "rows":
        body |= {"dataset": {"source": "rows", "rows": _rows(rng)}, "target": "y", "task": "classification"}
        body |= {"categories": {"encoding": rng.choice(["onehot", "ordinal", "embedding"])}}
    if name == "diabetes":
        return body | {"loss": rng.choice(REGRESSION), "split": {"kind": "ordered", "test": 0.3}}
    two = [{"kind": "bce"}] if name == "breast_cancer" else []
    losses = [{"kind": "cross_entropy"}, {"kind": "cross_entropy", "label_smoothing": 0.1}, *two]
    return body | {"loss": rng.choice(losses), "class_weight": rng.choice(["none", "balanced"])}


def _rows(rng: random.Random) -> list[Choice]:
    return [
        {"a": rng.choice([None, rng.random()]), "b": rng.choice("uvw"), "y": rng.choice(["no", "yes"])}
        for _ in range(90)
    ]


@dataclass
class Told:
    """What a run said, over all its attempts."""

    points: list[Point] = field(default_factory=list)
    newest: tuple[Path, int] | None = None
    """The newest file to go on from, and its step."""
    best: Path | None = None
    results: list[Path] = field(default_factory=list)
    finished: Finished | None = None
    step: int = 0
    """Of the last file of this attempt."""
    resumed: int = 0
    """Attempts that went on from a file."""

    def attempt(self, spec: JobSpec, folder: Path, most: int | None = None, *, drained: bool = False) -> None:
        """One more; after so many reports it is drained, or left as a crash would leave it."""
        folder.mkdir()
        self.step = 0
        path, step = self.newest or (None, 0)
        self.points = [point for point in self.points if point.step <= step]
        reports = 0
        news = run(spec, {}, folder, path, lambda: drained and reports == most)
        for each in news:
            reports += isinstance(each, Progress)
            self.hear(each, folder)
            if reports == most and not drained:
                news.close()  # type: ignore[attr-defined]
                return

    def hear(self, news: Started | Progress | Saved | Finished, folder: Path) -> None:
        match news:
            case Started():
                assert news.resumed_from == (self.newest and self.newest[1])
                assert news.refused is None
                self.resumed += news.resumed_from is not None
            case Progress():
                self.points += news.points
            case Saved():
                assert (folder / news.name).exists()
                self._keep(news, folder / news.name)
            case Finished():
                self.finished = news

    def _keep(self, saved: Saved, path: Path) -> None:
        assert saved.step >= self.step, "files are announced in the order of their steps"
        self.step = saved.step
        if saved.what == "result":
            self.results.append(path)
        elif saved.what == "best":
            self.best = path
        elif saved.resumable:
            self.newest = path, saved.step

    def outcome(self) -> Choice:
        """What must be the same, byte for byte."""
        assert self.finished is not None
        assert self.best is not None
        files = {path.name: path.read_bytes() for path in self.results}
        weights = {"best": self.best.read_bytes()}
        return files | weights | {"points": self.points, "end": self.finished.model_copy(update={"seconds": 0.0})}


def whole(spec: JobSpec, folder: Path) -> Choice:
    """Of a run that nobody interrupted."""
    told = Told()
    told.attempt(spec, folder / "whole")
    return told.outcome()


def interrupted(spec: JobSpec, folder: Path, steps: int, seed: int) -> Told:
    """A run of so many steps, interrupted up to four times, in the middle of epochs too, by drains and crashes."""
    rng, told = random.Random(seed), Told()
    for number in range(rng.randint(1, 4)):
        drained = number == 0 or rng.random() < 0.5
        told.attempt(spec, folder / str(number), rng.randint(1, max(1, steps // 2)), drained=drained)
        if told.finished:
            return told
    told.attempt(spec, folder / "end")
    return told
