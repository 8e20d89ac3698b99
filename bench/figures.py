"""What others reached on the same data, read from the folder of published results beside the repository."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from bench.materials import SHARED

HUNDRED_THOUSAND = 1e5
"""Dollars: the unit of California housing's target in scikit-learn's version of it."""


@dataclass(frozen=True)
class Figure:
    """One published score."""

    score: float
    model: str
    source: str
    """Where it was published, and what was done otherwise there."""


Pick = Callable[[], Figure]


def rtdl(dataset: str, unit: float = 1.0, caveat: str = "") -> Pick:
    """The tuned MLP of "Revisiting Deep Learning Models for Tabular Data"."""
    return partial(_tabular, "rtdl_california_adult.json", dataset, unit, caveat, model="mlp", variant="tuned")


def tabm(dataset: str, unit: float = 1.0, caveat: str = "") -> Pick:
    """The tuned MLP of "TabM"."""
    return partial(_tabular, "tabm_california_adult_diamond.json", dataset, unit, caveat, model="mlp", suite="main")


def keras_adult() -> Figure:
    """The baseline MLP of Keras's TabTransformer example."""
    run = _file("keras_io_adult.json")["runs"][0]
    return Figure(run["validation_accuracy"], "Keras example's baseline MLP", f"{_where(run)}: {run['protocol']}")


def handson(id: str, metric: str, unit: float = 1.0) -> Pick:
    """A notebook of "Hands-On Machine Learning": its test score, else that of its last epoch's validation."""

    def pick() -> Figure:
        notebooks = _file("handson_ml3_curves.json")
        run = _only(notebooks["runs"], id=id)
        score = (run["test"] or run["epochs"][-1])[metric]
        what = f"{notebooks['source']} {run['file']} cell {run['cell']}, {metric}: {run['protocol']}"
        return Figure(score * unit, f"Hands-On ML, notebook {id}", what)

    return pick


def handson_curve(id: str) -> Pick:
    """The validation accuracy of a notebook's run, mean of its last three epochs."""

    def pick() -> Figure:
        notebooks = _file("handson_ml3_curves.json")
        run = _only(notebooks["runs"], id=id)
        last = [epoch["val_accuracy"] for epoch in run["epochs"][-3:]]
        what = f"{notebooks['source']} {run['file']} cell {run['cell']}: {run['protocol']}"
        return Figure(sum(last) / len(last), f"Hands-On ML, notebook {id}", what)

    return pick


def rtdl_ensemble(dataset: str) -> Pick:
    """Five tuned MLPs of "Revisiting Deep Learning Models for Tabular Data", averaged."""
    file = "rtdl_california_adult.json"
    return partial(_tabular, file, dataset, 1.0, "", "ensemble of 5 MLPs", model="mlp", variant="tuned_ensemble")


def fashion_readme(classifier: str, submitter: str) -> Pick:
    """A row of the dataset's own benchmark list."""

    def pick() -> Figure:
        readme = _file("fashion_mnist_published.json")["readme"]
        row = _only(readme["rows"], classifier=classifier, submitter=submitter)
        return Figure(row["fashion"], f"{classifier} ({submitter})", f"{_where(readme)}: {readme['note']}")

    return pick


def fashion_scikit(params: str) -> Pick:
    """A row of the dataset's paper."""

    def pick() -> Figure:
        paper = _file("fashion_mnist_published.json")["scikit_table3"]
        row = _only(paper["rows"], classifier="MLPClassifier", params=params)
        return Figure(row["fashion"], f"scikit-learn's MLPClassifier, {params}", paper["source"])

    return pick


def _tabular(file: str, dataset: str, unit: float, caveat: str, label: str = "MLP", **which: str) -> Figure:
    paper = _file(file)
    row = _only(paper["rows"], dataset=dataset, **which)
    spread = f"mean of {row.get('n_seeds') or row.get('n_runs')} seeds, sd {row['test_sd'] * unit:.4g}"
    source = f"{paper['paper']}, {paper['source']}, {spread}: {caveat}{paper['protocol']}"
    return Figure(row["test_mean"] * unit, f"{paper['source'].rpartition('/')[2]}, tuned {label}", source)


def _where(entry: dict[str, Any]) -> str:
    return f"{entry['source']} {entry['path']}"


def _only(rows: list[dict[str, Any]], **fields: str) -> dict[str, Any]:
    (row,) = (row for row in rows if all(row.get(name) == value for name, value in fields.items()))
    return row


@cache
def _file(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((SHARED / "published" / name).read_text())
    return content
