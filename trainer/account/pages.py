"""A run's summary for people: `report.html`, one file that needs nothing beside it, and `model_card.md`.

Every name in it comes from strangers, so both are written by templates that escape whatever they are given.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from trainer.account import charts, plots
from trainer.account.quality import Bin, Confusion
from trainer.account.summary import Summary

TILES = ("accuracy", "balanced_accuracy", "f1_macro", "roc_auc", "log_loss", "ece", "rmse", "mae", "r2")
"""The scores shown first, where there are such."""
MOST_ROWS = 100
"""In a table."""
MOST_TARGETS = 6
"""With charts of their own."""
MANY_CLASSES = 12
"""From here on the most frequent mistakes are listed."""

CAPTIONS = {
    "per_class": "per class",
    "per_target": "per target",
    "residuals": "quantiles of predicted - true",
    "members": "members",
}

_MARKUP = re.compile(r"([\\`*_\[\]#|~])")

LOAD = """\
import json
from safetensors.numpy import load_file
weights = load_file("model.safetensors")  # {name: array}, one model per index of the first axis
prepare = json.load(open("preprocess.json"))  # from raw columns or pixels to the network's inputs
"""
LOAD_ONNX = """\
import json
import onnxruntime
model = onnxruntime.InferenceSession("model.onnx")  # raw columns or pixels in, answers out
print(json.loads(model.get_modelmeta().custom_metadata_map["signature"]))  # what each input is
print([(one.name, one.type, one.shape) for one in [*model.get_inputs(), *model.get_outputs()]])
"""


@dataclass(frozen=True)
class Table:
    """As many values in each row as in the head."""

    caption: str
    head: list[str]
    rows: list[list[JsonValue]]


def number(value: JsonValue) -> JsonValue:
    """Up to four digits, thousands in groups; anything but a number as it is."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def compact(value: object) -> str:
    """One line of JSON; a text as it is."""
    return value if isinstance(value, str) else json.dumps(to_jsonable_python(value), ensure_ascii=False)


def markdown(value: object) -> object:
    """A text that Markdown shows as it is, on one line."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    line = charts.clean(re.sub(r"\s+", " ", value))
    return _MARKUP.sub(r"\\\1", line).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _environment(**how: Any) -> Environment:
    loader = PackageLoader("trainer.account", "templates")
    environment = Environment(
        loader=loader, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True, **how
    )
    environment.filters |= {"n": number, "json": compact}
    return environment


_HTML = _environment(autoescape=True, finalize=lambda value: charts.clean(value) if type(value) is str else value)
_MARKDOWN = _environment(autoescape=False, finalize=markdown)


def report(run: Summary) -> str:
    """The page."""
    return _HTML.get_template("report.html").render(
        **_common(run),
        style=Markup(charts.STYLE),
        pictures={"training": _training(run), "quality": _quality(run)},
        pairs=_pairs(run.quality.scores or {}),
        spec=json.dumps(run.spec, indent=2, ensure_ascii=False),
    )


def model_card(run: Summary) -> str:
    """By the headings of Mitchell et al. 2019, filled in as far as a run can know."""
    return _MARKDOWN.get_template("model_card.md").render(**_common(run))


def _common(run: Summary) -> dict[str, object]:
    scores = run.quality.scores or {}
    tiles = [(name.replace("_", " "), scores[name]) for name in TILES if scores.get(name) is not None]
    findings = run.diagnostics.findings if run.diagnostics else []
    usage = (LOAD_ONNX if "model.onnx" in run.files else LOAD).rstrip()
    return {"run": run, "tiles": tiles, "tables": _tables(scores), "findings": findings, "usage": Markup(usage)}


def _training(run: Summary) -> list[Markup]:
    best = run.outcome.best.epoch if run.outcome.best else None
    flow = plots.flow(run.diagnostics.flow) if run.diagnostics else []
    return [Markup(picture) for picture in [*plots.curves(run.curves, best), *flow]]


def _quality(run: Summary) -> list[Markup]:
    scores, drawn = run.quality.scores or {}, list[str | None]()
    if "confusion" in scores:
        drawn.append(plots.confusion(Confusion.model_validate(scores["confusion"])))
    if "reliability" in scores:
        drawn.append(plots.reliability([Bin.model_validate(one) for one in _rows(scores["reliability"])]))
    for truth in run.quality.truths[:MOST_TARGETS]:
        drawn += [plots.truth(truth), plots.residuals(truth)]
    if run.quality.importance:
        drawn.append(plots.importance(run.quality.importance))
    return [Markup(picture) for picture in drawn if picture]


def _pairs(scores: dict[str, JsonValue]) -> list[JsonValue]:
    """The most frequent mistakes, where there are many classes."""
    return _rows(scores.get("mistakes")) if len(_rows(scores.get("per_class"))) >= MANY_CLASSES else []


def _tables(scores: dict[str, JsonValue]) -> list[Table]:
    """Scores that have several rows, each with its caption and its head."""
    found = []
    for name, caption in CAPTIONS.items():
        rows = [_flat(row) for row in _rows(scores.get(name))]
        if rows:
            more = f"; {len(rows) - MOST_ROWS:,} more in report.json" if len(rows) > MOST_ROWS else ""
            found.append(Table(caption + more, list(rows[0]), [list(row.values()) for row in rows[:MOST_ROWS]]))
    match scores.get("spread"):
        case dict(spread):
            rows = [{"score": name.replace("_", " "), **_flat(both)} for name, both in spread.items()]
            found.append(Table("spread of the members", ["score", "mean", "std"], [list(row.values()) for row in rows]))
    return found


def _rows(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _flat(row: JsonValue) -> dict[str, JsonValue]:
    """A row whose groups are spread out."""
    plain = row if isinstance(row, dict) else {}
    return {
        inner: value
        for name, group in plain.items()
        for inner, value in (group.items() if isinstance(group, dict) else [(name.replace("_", " "), group)])
    }
