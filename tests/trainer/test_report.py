"""The report, the model card and the numbers behind them, for runs of every kind."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from jobs import profiles, rules
from jobs.spec.explained import Background, Diagnostics, Finding, Flow, LayerFlow, Operation
from jobs.spec.job import JobSpec
from trainer import data
from trainer.account import limits, pages, quality, results
from trainer.account.summary import Summary
from trainer.fit import fit
from trainer.reports import Finished

HOSTILE = "</title><script>alert(1)</script>"
VOID = {"meta", "br", "link", "img", "input", "hr"}


def builtin(name: str) -> dict[str, Any]:
    return {"dataset": {"source": "builtin", "name": name}, "model": {"kind": "mlp", "hidden": [8]}, "epochs": 3}


def rows(**columns: Any) -> dict[str, Any]:
    table = [{name: value(n) for name, value in columns.items()} for n in range(90)]
    return {"dataset": {"source": "rows", "rows": table}, "epochs": 3}


RUNS: dict[str, dict[str, Any]] = {
    "classes": builtin("iris"),
    "two classes": {**builtin("breast_cancer"), "loss": {"kind": "bce"}},
    "images": builtin("digits"),
    "targets": rows(a=lambda n: n % 7, y=lambda n: n % 7 * 2.0 + n % 3, z=lambda n: n / 3.0) | {"target": ["y", "z"]},
    "ensemble": {**builtin("wine"), "ensemble": {"members": 3}},
    "validation only": {**builtin("wine"), "split": {"kind": "random", "test": 0.0}},
    "training only": {**builtin("diabetes"), "split": {"kind": "random", "test": 0.0, "validation": 0.0}},
    "diverged": {
        **builtin("iris"),
        "optimizer": {"kind": "sgd", "lr": 1e20},
        "model": {"kind": "mlp", "hidden": [8, 8, 8]},
    },
    "overflowing": {
        **rows(x=lambda n: n % 9 / 9.0, y=lambda n: n % 7 / 2.0),
        "target": "y",
        "task": "regression",
        "split": {"kind": "given", "test": {"source": "rows", "rows": [{"x": 1e25, "y": 1.0}, {"x": 0.5, "y": 1.5}]}},
    },
    "hostile": rows(
        **{HOSTILE: lambda n: n % 5 if n % 4 else None, "a|b\n`*": lambda n: ["<b>", "&", '"'][n % 3]},
        y=lambda n: [HOSTILE, "<img src=x onerror=alert(2)>", "c"][n % 3],
    )
    | {"target": "y", "name": HOSTILE, "missing": {"indicator": True}},
}


def run(folder: Path, body: dict[str, Any]) -> Path:
    """Its results."""
    spec = JobSpec.model_validate(body)
    known = profiles.builtin()[spec.dataset.name] if spec.dataset.source == "builtin" else None
    profile = known or profiles.of_rows(spec.dataset.rows)  # type: ignore[union-attr]
    test = profiles.of_rows(spec.split.test.rows) if spec.split.kind == "given" else None  # type: ignore[union-attr]
    resolved = rules.resolve(spec, profile, test)
    loaded = data.load(resolved.spec, {})
    *_, last = fit(resolved.spec, loaded)
    assert isinstance(last.report, Finished)
    background = Background(decisions=resolved.decisions, warnings=resolved.notices, dataset_hash="0" * 64)
    results.write(folder, resolved.spec, loaded, last.state, last.report, background)
    return folder


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder per kind of run."""
    return {name: run(tmp_path_factory.mktemp("run"), body) for name, body in RUNS.items()}


class Page(HTMLParser):
    """Tags and texts; fails where tags do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def summary(folder: Path) -> Summary:
    return Summary.model_validate_json((folder / "report.json").read_bytes())


@pytest.mark.parametrize("name", RUNS)
def test_the_page_is_well_formed_and_needs_nothing_else(written: dict[str, Path], name: str) -> None:
    text = (written[name] / "report.html").read_text()
    page = Page(text)
    assert {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "base"} == set()
    assert [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")] == []
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert re.findall(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", text) == []
    assert "nan" not in " ".join(str(attributes) for tag, attributes in page.tags if tag in ("line", "rect", "circle"))


def strictly(text: str) -> Any:
    """JSON, in which no number is `Infinity`."""
    return json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


@pytest.mark.parametrize("name", RUNS)
def test_the_numbers_are_those_of_the_metrics(written: dict[str, Path], name: str) -> None:
    found, metrics = summary(written[name]), strictly((written[name] / "metrics.json").read_text())
    assert found.quality.scores == metrics["test"] or (metrics["test"] is None and found.quality.scored_on != "test")
    assert found.outcome.stop_reason == metrics["stop_reason"]
    page = Page((written[name] / "report.html").read_text())
    for score in ("accuracy", "rmse", "log_loss"):
        if score in (found.quality.scores or {}):
            assert f"{(found.quality.scores or {})[score]:.4g}" in page.text
    assert all(decision.why in page.text for decision in found.decisions)


def test_hostile_names_are_shown_and_never_obeyed(written: dict[str, Path]) -> None:
    page = Page((written["hostile"] / "report.html").read_text())
    assert HOSTILE in page.text
    assert "<img src=x" in page.text
    card = (written["hostile"] / "model_card.md").read_text()
    assert "<script" not in card
    assert "<img" not in card
    assert r"| a\|b \`\* |" in card
    for svg in re.findall(r"<svg.*?</svg>", (written["hostile"] / "report.html").read_text()):
        ElementTree.fromstring(svg)


def test_the_curves_are_one_picture(written: dict[str, Path]) -> None:
    for folder in written.values():
        picture = ElementTree.parse(folder / "curves.svg").getroot()
        assert "learning rate" in [chart.get("aria-label") for chart in picture.findall("{*}svg")]


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        ("classes", "confusion"),
        ("classes", "calibration"),
        ("targets", "z: residuals"),
        ("ensemble", "spread of the members"),
    ],
)
def test_each_kind_has_its_pictures(written: dict[str, Path], name: str, heading: str) -> None:
    assert heading in Page((written[name] / "report.html").read_text()).text


def test_without_test_rows_the_scores_are_of_validation_rows_and_say_so(written: dict[str, Path]) -> None:
    found = summary(written["validation only"])
    assert found.quality.scored_on == "validation"
    assert (found.quality.scores or {})["rows"] == found.data.validation_rows
    assert any("flatter" in text for text in found.limits)
    assert summary(written["training only"]).quality == quality.Quality(
        note="There are no rows but those that were trained on."
    )


def test_a_diverged_run_says_what_happened(written: dict[str, Path]) -> None:
    page = Page((written["diverged"] / "report.html").read_text())
    assert re.search(r"diverged: The loss of epoch \d is not finite", page.text)
    assert summary(written["diverged"]).quality.scores is None
    assert "not scored" in (written["diverged"] / "model_card.md").read_text()


def test_an_ensemble_shows_its_members_and_their_spread(written: dict[str, Path]) -> None:
    scores: dict[str, Any] = summary(written["ensemble"]).quality.scores or {}
    accuracies = [member["accuracy"] for member in scores["members"]]
    assert len(accuracies) == 3
    assert scores["spread"]["accuracy"]["mean"] == pytest.approx(sum(accuracies) / 3)
    assert set(scores["spread"]) >= {"loss", "accuracy", "log_loss", "ece"}


def test_importance_is_by_raw_column(written: dict[str, Path]) -> None:
    found = summary(written["hostile"]).quality.importance
    assert found is not None
    assert {one.column for one in found.columns} == {HOSTILE, "a|b\n`*"}
    assert found.columns[0].column == "a|b\n`*"  # gives the class away
    assert summary(written["images"]).quality.importance is None


def test_equal_runs_leave_equal_bytes(written: dict[str, Path], tmp_path: Path) -> None:
    again = run(tmp_path, RUNS["ensemble"])
    names = {path.name for path in again.iterdir()}
    assert names >= {"report.json", "report.html", "model_card.md", "curves.svg"}
    for name in names:
        assert (again / name).read_bytes() == (written["ensemble"] / name).read_bytes(), name


def test_findings_and_gradient_flow_are_shown(written: dict[str, Path]) -> None:
    layer = LayerFlow(
        layer="0", kind="dense", function=None, mean=0.0, std=1.0, dead=None, saturated=None,
        gradient=1e-3, update=None, alike=False,
    )  # fmt: skip
    flow = [Flow(epoch=n, step=n, lane=0, loss=1.0, eval_loss=None, classes=3, layers=[layer] * 2) for n in (0, 1)]
    patch = [Operation(op="replace", path="/optimizer/lr", value=0.01)]
    finding = Finding(code="lr_too_low", severity="warning", message="<b>", evidence={"late": 0.4}, patch=patch)
    told = summary(written["classes"]).model_copy(update={"diagnostics": Diagnostics(findings=[finding], flow=flow)})
    page = Page(pages.report(told))
    assert "lr_too_low" in page.text
    assert '[{"op": "replace", "path": "/optimizer/lr", "value": 0.01}]' in page.text
    assert "gradient, root mean square (logarithmic)" in page.text
    assert "step over weights" not in page.text  # nothing of it was measured


def test_limits_are_read_off_the_numbers() -> None:
    classes = [{"label": "no", "rows": 97}, {"label": "yes", "rows": 3}]
    scores = {"rows": 100, "accuracy": 0.97, "ece": 0.3, "per_class": classes}
    found = limits.of(quality.Quality.model_validate({"scored_on": "test", "scores": scores}), train_rows=10_000)
    assert found == [
        "Scored on 100 rows only: with 95 % confidence the accuracy is 0.915 to 0.990.",
        "It is no better than always saying 'no', which is right for 97.0%.",
        "Rare among the scored rows, so their own scores are rough: 'yes'.",
        "Its probabilities are off by 0.30 on average: do not take them at their word.",
    ]
