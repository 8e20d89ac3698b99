"""The labelled suite: which networks are trained on which data, to be told what ails them.

Rules were tuned on the first half alone; the setups of the second are drawn at random.
"""

import random
from dataclasses import dataclass, field
from typing import Any, Literal

Half = Literal["tuning", "held_out"]
Ailment = Literal["healthy", "vanishing", "exploding", "dead", "saturated", "symmetric"]

BUILTIN = {"digits", "iris", "wine", "breast_cancer", "diabetes"}


@dataclass(frozen=True)
class Setup:
    """What is trained, but for the learning rate."""

    half: Half
    dataset: str
    """A builtin set, or an id of the manifest, of which 2,000 rows are taken."""
    model: dict[str, Any]
    optimizer: dict[str, Any]
    batch: int | str
    epochs: int
    others: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A network built to have one ailment, or none."""

    half: Half
    dataset: str
    ailment: Ailment
    model: dict[str, Any]
    others: dict[str, Any] = field(default_factory=dict)


def mlp(*hidden: int, activation: str = "relu", **others: Any) -> dict[str, Any]:
    return {"kind": "mlp", "hidden": list(hidden), "activation": activation, **others}


CNN = {"kind": "cnn", "channels": [8], "hidden": [32]}
ADAM, ADAMW, RMSPROP, ADAGRAD = ({"kind": kind} for kind in ("adam", "adamw", "rmsprop", "adagrad"))
NEWER = ("adadelta", "adamax", "nadam", "radam", "muon")
SGD = {"kind": "sgd"}
MOMENTUM = {"kind": "sgd", "momentum": 0.9}
NESTEROV = {**MOMENTUM, "nesterov": True}
COSINE = {"schedule": {"kind": "cosine"}}
WARM = {"schedule": {"kind": "constant", "warmup": {"length": 2, "unit": "epoch"}}}
STEP = {"schedule": {"kind": "step", "size": 40}}
WARM_COSINE = {"schedule": {"kind": "cosine", "warmup": {"length": 40}}}

SETUPS = [
    Setup("tuning", "digits", mlp(64), ADAM, 64, 15),
    Setup("tuning", "digits", mlp(64, 32), SGD, 64, 20),
    Setup("tuning", "digits", mlp(32, activation="sigmoid"), MOMENTUM, "full", 150),
    Setup("tuning", "digits", CNN, ADAM, 64, 6),
    Setup("tuning", "digits", mlp(64, 64, batch_norm=True), SGD, 64, 10),
    Setup("tuning", "digits", mlp(48, 48, 48), NESTEROV, 32, 12, COSINE),
    Setup("tuning", "digits", mlp(32, activation="gelu"), RMSPROP, 128, 20),
    Setup("tuning", "iris", mlp(16), ADAM, "full", 100),
    Setup("tuning", "iris", mlp(16), SGD, "full", 200),
    Setup("tuning", "iris", mlp(16, 16, activation="tanh"), RMSPROP, 16, 30),
    Setup("tuning", "iris", mlp(16, 16, activation="sigmoid"), ADAM, 16, 40),
    Setup("tuning", "diabetes", mlp(32), ADAM, 32, 40),
    Setup("tuning", "diabetes", mlp(16), SGD, "full", 150),
    Setup("tuning", "diabetes", mlp(32, 16, dropout=0.2), ADAMW, 32, 40),
    Setup("tuning", "diabetes", mlp(32, activation="tanh"), MOMENTUM, 32, 30, {"early_stopping": "auto"}),
    Setup("tuning", "california_housing", mlp(64, 32), ADAM, 128, 15),
    Setup("tuning", "california_housing", mlp(64), MOMENTUM, 64, 12),
    Setup("tuning", "california_housing", mlp(32, activation="tanh"), ADAGRAD, 64, 15),
    Setup("tuning", "california_housing", mlp(32, 32, batch_norm=True), ADAMW, 64, 12),
    Setup("tuning", "adult_train", mlp(32), SGD, 64, 12),
    Setup("tuning", "adult_train", mlp(32, 16), RMSPROP, 64, 10, COSINE),
    Setup("tuning", "adult_train", mlp(64), ADAM, "full", 60, {"early_stopping": "auto"}),
    Setup("tuning", "abalone", mlp(32), ADAM, "full", 100),
    Setup("tuning", "abalone", mlp(32, 32), NESTEROV, 64, 12, WARM),
    Setup("tuning", "abalone", mlp(32, 32, activation="elu"), SGD, 32, 15),
    Setup("tuning", "wine", mlp(32), MOMENTUM, 32, 40),
    Setup("tuning", "wine", mlp(16, 16, activation="tanh"), RMSPROP, "full", 60),
    Setup("tuning", "wine", mlp(32), ADAM, "full", 80, STEP),
    Setup("tuning", "breast_cancer", mlp(32), ADAMW, 64, 20),
    Setup("tuning", "breast_cancer", mlp(), SGD, "full", 100),
    Setup("tuning", "breast_cancer", mlp(16, 16), SGD, "full", 150, {"early_stopping": "auto"}),
    Setup("tuning", "breast_cancer", mlp(24, activation="silu"), ADAM, 32, 20),
    Setup("tuning", "fashion", mlp(64), ADAM, 128, 10),
    Setup("tuning", "fashion", mlp(64, 32), MOMENTUM, 64, 8),
    Setup("tuning", "fashion", CNN, ADAM, 128, 4),
    Setup("tuning", "fashion", mlp(64, batch_norm=True), SGD, 128, 10),
    Setup("tuning", "concrete", mlp(32, 32), ADAM, 64, 40),
    Setup("tuning", "concrete", mlp(32), SGD, 32, 40),
    Setup("tuning", "concrete", mlp(16, 16, activation="tanh"), MOMENTUM, "full", 200),
    Setup("tuning", "penguins", mlp(16), ADAM, "full", 100),
    Setup("tuning", "penguins", mlp(16, 16, activation="selu"), MOMENTUM, 32, 30),
    Setup("tuning", "penguins", mlp(16, activation="sigmoid"), RMSPROP, 32, 30),
    Setup("tuning", "bank_full", mlp(32), ADAM, 64, 10),
    Setup("tuning", "bank_full", mlp(32, 16), SGD, 64, 12, WARM_COSINE),
    Setup("tuning", "wine_red", mlp(32), ADAGRAD, 64, 25),
    Setup("tuning", "wine_red", mlp(32, 32, dropout=0.1), ADAMW, 32, 15),
    Setup("tuning", "diamonds", mlp(48), ADAM, 64, 15, COSINE),
    Setup("tuning", "diamonds", mlp(32, 32, activation="tanh"), NESTEROV, 64, 15),
    Setup("tuning", "mpg", mlp(32), ADAM, 32, 30),
    Setup("tuning", "mpg", mlp(16, 16, activation="tanh"), SGD, "full", 150),
    Setup("tuning", "mpg", mlp(24), {"kind": "nadam"}, 64, 40, {"early_stopping": "auto"}),
    Setup("tuning", "energy", mlp(32, 32), ADAMW, 64, 30),
    Setup("tuning", "energy", mlp(24, activation="silu"), MOMENTUM, 32, 25),
    Setup("tuning", "energy", mlp(32), {"kind": "adamax"}, "full", 150),
    Setup("tuning", "energy", mlp(16, 16, 16, batch_norm=True), SGD, 64, 20),
    Setup("tuning", "bike_hour", mlp(64), RMSPROP, 64, 12),
    Setup("tuning", "bike_hour", mlp(64, 32), ADAM, 128, 15, COSINE),
    Setup("tuning", "bike_hour", mlp(48), MOMENTUM, 64, 6),
    Setup("tuning", "bike_hour", mlp(32, 32, activation="gelu"), {"kind": "radam"}, 64, 12),
    Setup("tuning", "seaice", mlp(32), ADAM, 64, 20),
    Setup("tuning", "seaice", mlp(32, 16, activation="elu"), NESTEROV, 64, 15, WARM),
    Setup("tuning", "seaice", mlp(24), ADAGRAD, 32, 20),
    Setup("tuning", "fashion_t10k", mlp(48, 48), SGD, 64, 12),
    Setup("tuning", "fashion_t10k", mlp(96, dropout=0.2), ADAM, 64, 10),
    Setup("tuning", "fashion_t10k", {**CNN, "channels": [6, 12]}, MOMENTUM, 64, 5),
    Setup("tuning", "fashion_t10k", mlp(48), {"kind": "muon"}, 128, 10),
    Setup("tuning", "adult_test", mlp(24, 24, activation="tanh"), ADAM, 64, 12),
    Setup("tuning", "adult_test", mlp(48), NESTEROV, "full", 100),
    Setup("tuning", "adult_test", mlp(16), {"kind": "adadelta"}, 32, 10, COSINE),
    Setup("tuning", "adult_test", mlp(32, 32, batch_norm=True), RMSPROP, 128, 12),
]

TABLES = ["mpg", "energy", "bike_hour", "california_housing", "abalone", "concrete", "diamonds"]
LABELS = ["adult_train", "bank_full", "wine_red", "penguins", "digits", "iris", "wine", "breast_cancer"]
PICTURES = ["fashion", "fashion_t10k", "digits"]
OPTIMIZERS: list[dict[str, Any]] = [
    SGD,
    MOMENTUM,
    NESTEROV,
    ADAM,
    ADAMW,
    RMSPROP,
    ADAGRAD,
    *({"kind": kind} for kind in NEWER),
]


def drawn(half: Half, count: int, seed: int) -> list[Setup]:
    """Setups that nobody chose: data, network, optimizer, batch, length and schedule drawn at random."""
    dice = random.Random(seed)
    return [_draw(half, dice) for _ in range(count)]


def _draw(half: Half, dice: random.Random) -> Setup:
    functions = ["relu", "relu", "tanh", "gelu", "silu", "elu", "leaky_relu", "sigmoid"]
    norms = {"batch_norm": dice.random() < 0.2, "dropout": dice.choice([0.0, 0.0, 0.0, 0.1, 0.2])}
    sizes = [dice.choice([16, 24, 32, 48, 64, 96]) for _ in range(dice.choice([1, 1, 2, 2, 3]))]
    model = mlp(*sizes, activation=dice.choice(functions), **norms)
    dataset = dice.choice([*TABLES, *LABELS, "fashion", "fashion_t10k"])
    if dataset in PICTURES and dice.random() < 0.2:
        model = {**CNN, "channels": [dice.choice([4, 6, 8])]}
    sizes_of_batch: list[int | str] = [32, 64, 128, "full"]
    batch = dice.choice(sizes_of_batch)
    epochs = dice.choice([60, 100, 150]) if batch == "full" else dice.choice([8, 10, 15, 20])
    schedules: list[dict[str, Any]] = [{}, {}, {}, COSINE, WARM, {"early_stopping": "auto"}]
    others = dice.choice(schedules)
    if batch == "full" and model["kind"] == "cnn":
        batch, epochs = 64, 6
    return Setup(half, dataset, model, dice.choice(OPTIMIZERS), batch, epochs, {"seed": dice.randrange(100), **others})


SETUPS += drawn("tuning", 32, 2026) + drawn("held_out", 32, 7)

ZEROS = {"init": {"kind": "zeros"}}
RAW = {"scaler": {"kind": "none"}}


def normal(std: float, bias: float = 0.0) -> dict[str, Any]:
    return {"init": {"kind": "normal", "std": std, "bias": bias}}


def constant(value: float) -> dict[str, Any]:
    return {"init": {"kind": "constant", "value": value}}


def uniform(bound: float) -> dict[str, Any]:
    return {"init": {"kind": "uniform", "bound": bound}}


def _cases(half: Half, datasets: list[str], built: list[tuple[Ailment, dict[str, Any], dict[str, Any]]]) -> list[Case]:
    return [Case(half, dataset, ailment, model, others) for dataset in datasets for ailment, model, others in built]


CASES = [
    *_cases(
        "tuning",
        ["digits", "diabetes", "california_housing"],
        [
            ("healthy", mlp(64, 32), {}),
            ("healthy", mlp(32, 32, 32, activation="tanh"), {}),
            ("healthy", mlp(16, 16, activation="sigmoid"), {}),
            ("healthy", mlp(32, 32, 32, batch_norm=True), normal(0.01)),
            ("vanishing", mlp(*[32] * 6, activation="sigmoid"), normal(0.01)),
            ("vanishing", mlp(*[32] * 6), normal(0.01)),
            ("vanishing", mlp(*[32] * 10, activation="sigmoid"), {}),
            ("exploding", mlp(*[64] * 4), normal(1.0)),
            ("exploding", mlp(*[64] * 5, activation="gelu"), normal(0.5)),
            ("dead", mlp(64, 32), normal(0.1, -10.0)),
            ("saturated", mlp(64, 32, activation="tanh"), normal(1.5)),
            ("symmetric", mlp(32), ZEROS),
            ("symmetric", mlp(16, 16, activation="tanh"), constant(0.1)),
        ],
    ),
    *_cases("tuning", ["california_housing"], [("saturated", mlp(32, activation="tanh"), RAW)]),
    *_cases(
        "held_out",
        ["wine", "breast_cancer", "fashion", "concrete", "penguins", "bank_full"],
        [
            ("healthy", mlp(48, 24), {}),
            ("healthy", mlp(*[32] * 5), {}),
            ("healthy", mlp(32, 32, 32, 32, activation="selu"), {}),
            ("healthy", mlp(24, activation="sigmoid"), {}),
            ("healthy", mlp(24, 24, activation="tanh", batch_norm=True), {}),
            ("vanishing", mlp(*[24] * 7, activation="sigmoid"), uniform(0.02)),
            ("vanishing", mlp(*[48] * 8, activation="tanh"), normal(0.01)),
            ("vanishing", mlp(*[24] * 9, activation="sigmoid"), {}),
            ("exploding", mlp(*[48] * 5), normal(0.8)),
            ("exploding", mlp(*[64] * 6, activation="leaky_relu"), uniform(0.8)),
            ("dead", mlp(48), normal(0.1, -20.0)),
            ("dead", mlp(32, 32, 32), normal(0.2, -12.0)),
            ("saturated", mlp(48, 48, activation="tanh"), normal(2.0)),
            ("saturated", mlp(32, 32, activation="sigmoid"), normal(4.0)),
            ("symmetric", mlp(24, 24, activation="sigmoid"), ZEROS),
            ("symmetric", mlp(48), constant(0.05)),
        ],
    ),
    *_cases("held_out", ["wine", "breast_cancer", "concrete"], [("saturated", mlp(24, activation="sigmoid"), RAW)]),
]
