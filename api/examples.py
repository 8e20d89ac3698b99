"""Specs for each main scenario, shown in the docs; all but the last run as they stand."""

from typing import Any

from fastapi.openapi.models import Example

CLASSIFICATION: dict[str, Any] = {
    "name": "wine cultivars",
    "dataset": {"source": "builtin", "name": "wine"},
    "model": {"kind": "mlp", "hidden": [64, 32], "activation": "relu", "dropout": 0.2},
    "optimizer": {"kind": "adamw", "lr": 0.003, "weight_decay": 0.01},
    "schedule": {"kind": "cosine", "warmup": {"length": 5, "unit": "epoch"}},
    "epochs": 100,
    "early_stopping": {"monitor": "val_loss", "patience": 15},
    "seed": 7,
    "metadata": {"team": "cellar"},
}

REGRESSION: dict[str, Any] = {
    "name": "rent from size, rooms and district",
    "dataset": {
        "source": "rows",
        "rows": [
            {
                "size": None if n % 7 == 3 else 30 + 5 * (n * 7 % 20),
                "rooms": 1 + n % 4,
                "district": None if n % 9 == 5 else ["north", "south", "harbour"][n % 3],
                "rent": 310.5 + 11 * (30 + 5 * (n * 7 % 20)) + 60 * (n % 4) + 150 * (n % 3),
            }
            for n in range(40)
        ],
    },
    "target": "rent",
    "task": "regression",
    "missing": {"numeric": "median", "categorical": "category", "indicator": True},
    "scaler": {"kind": "standard"},
    "model": {"kind": "mlp", "hidden": [32]},
    "loss": {"kind": "huber", "delta": 1.0},
    "epochs": 60,
}

IMAGES: dict[str, Any] = {
    "name": "handwritten digits",
    "dataset": {"source": "builtin", "name": "digits"},
    "model": {"kind": "cnn", "channels": [16, 32], "hidden": [64], "batch_norm": True},
    "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True},
    "batch_size": 64,
    "epochs": 10,
}

ENSEMBLE: dict[str, Any] = {
    "name": "five networks, one answer",
    "dataset": {"source": "builtin", "name": "breast_cancer"},
    "scaler": {"kind": "quantile", "output": "normal"},
    "model": {"kind": "mlp", "hidden": [32], "dropout": 0.1},
    "optimizer": {"kind": "nadam", "lr": "auto"},
    "schedule": {"kind": "one_cycle"},
    "ensemble": {"members": 5, "vary": "bootstrap"},
    "augment": [{"kind": "noise", "std": 0.05}],
    "epochs": 60,
}

UPLOADED: dict[str, Any] = {
    "name": "churn",
    "dataset": {"source": "upload", "id": "ds_01m2p8w3k5x7z9b1c3d5f7h9jk"},
    "target": "churned",
    "features": {"exclude": ["customer_id"]},
    "class_weight": "balanced",
    "batch_size": "auto",
    "epochs": 50,
    "early_stopping": {"patience": 5},
}

SPECS: dict[str, Example] = {
    "classification": Example(summary="Classify a table (builtin wine)", value=CLASSIFICATION),
    "regression": Example(summary="Regression with missing values (rows in the spec)", value=REGRESSION),
    "images": Example(summary="Images with a convolutional network (builtin digits)", value=IMAGES),
    "ensemble": Example(
        summary="An ensemble, its learning rate found by a range test (builtin breast_cancer)", value=ENSEMBLE
    ),
    "uploaded": Example(
        summary="A CSV file of your own",
        description="Upload it with `POST /v1/datasets` first and put its id here.",
        value=UPLOADED,
    ),
}

ROWS: dict[str, Example] = {
    "table": Example(
        summary="Rows of a table",
        description="For a job trained on the `regression` example. What is left out or null is missing.",
        value={"rows": [{"size": 70, "rooms": "3", "district": "north"}, {"size": None, "district": "harbour"}]},
    ),
    "image": Example(
        summary="An image",
        description="For a job trained on the builtin digits: 8 rows of 8 pixels.",
        value={"rows": [{"pixels": [[0, 0, 5, 13, 9, 1, 0, 0]] * 8}]},
    ),
}
