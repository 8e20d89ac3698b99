"""Predictions over HTTP against the trainer's own, and what is refused."""

import hashlib
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock, call

import numpy as np
import onnx
import polars as pl
import pytest
import torch
from starlette.testclient import TestClient

from api import cells, predicting
from api.turns import Rounds
from jobs import db, errors, ids
from jobs.artifacts import Artifacts
from jobs.spec.signature import WIDEST_KEY, ColumnInput, ImageInputs
from jobs.tables.jobs import File
from tests.fleet import until
from tests.trainer import test_export
from trainer import data, scores
from trainer.sources import columns

Serve = Callable[[Path], str]


@pytest.fixture
def serve(submit: Callable[..., dict[str, Any]], database: db.Database, artifacts: Artifacts) -> Serve:
    """Makes a file the model of a new job; answers where it predicts."""

    def serve(model: Path) -> str:
        id = submit()["id"]
        artifacts.put(f"jobs/{id}/a1/model.onnx", model)
        content = model.read_bytes()
        with database.writing() as session:
            session.add(
                File(
                    id=ids.new("file"), job_id=id, kind="artifact", name="model.onnx", attempt=1, step=1, epoch=1,
                    path=f"jobs/{id}/a1/model.onnx", content_type="application/octet-stream", bytes=len(content),
                    sha256=hashlib.sha256(content).hexdigest(), created_at=db.now(), metrics={},
                )
            )  # fmt: skip
        return f"/v1/jobs/{id}/predict"

    return serve


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, data.Data, torch.Tensor]:
    """A classifier of a table with everything in it, its data, and the trainer's probabilities of the sample rows."""
    path = tmp_path_factory.mktemp("table") / "model.onnx"
    loaded, z, _ = test_export.exported(test_export.spec(categories={"encoding": "onehot"}), path)
    return path, loaded, scores.probabilities(z)


@pytest.fixture(scope="module")
def regression(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, data.Data, np.ndarray]:
    path = tmp_path_factory.mktemp("regression") / "model.onnx"
    job = test_export.spec(target=["z", "z2"], task="regression", loss={"kind": "mse"})
    loaded, z, _ = test_export.exported(job, path)
    return path, loaded, (z * loaded.target_scale + loaded.target_mean).numpy()


def sample() -> list[dict[str, Any]]:
    """The rows that `sample` of the data holds, as they were sent with the spec."""
    return test_export.mixed().filter(pl.col("part") == "test").to_dicts()


def asked(client: TestClient, url: str, rows: list[dict[str, Any]]) -> Any:
    answer = client.post(url, json={"rows": rows})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_table_is_predicted_as_the_trainer_does(
    client: TestClient, serve: Serve, table: tuple[Path, data.Data, torch.Tensor]
) -> None:
    path, loaded, expected = table
    found = asked(client, serve(path), sample())
    assert found["model"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    np.testing.assert_allclose([[*one["probabilities"].values()] for one in found["data"]], expected, rtol=1e-5)
    assert {*found["data"][0]["probabilities"]} == {"no", "yes"}
    assert [one["label"] for one in found["data"]] == [["no", "yes"][i] for i in expected.argmax(1)]


def test_each_row_is_predicted_as_among_others(
    client: TestClient, serve: Serve, table: tuple[Path, data.Data, torch.Tensor]
) -> None:
    url, rows = serve(table[0]), sample()
    alone = [asked(client, url, [row])["data"][0]["probabilities"]["yes"] for row in rows]
    together = [one["probabilities"]["yes"] for one in asked(client, url, rows)["data"]]
    assert alone == pytest.approx(together, rel=1e-6)


def test_text_is_read_as_in_a_file(
    client: TestClient, serve: Serve, table: tuple[Path, data.Data, torch.Tensor]
) -> None:
    rows, written = sample(), []
    for row in rows:
        cells = {name: " NA" if value is None else f" {value}" for name, value in row.items()}
        written.append(cells | {"grade": f"{row['grade']}.0", "yes": str(row["yes"]).upper(), "y": "anything"})
    url = serve(table[0])
    assert asked(client, url, written) == asked(client, url, rows)


def test_what_is_left_out_is_missing(
    client: TestClient, serve: Serve, table: tuple[Path, data.Data, torch.Tensor]
) -> None:
    url = serve(table[0])
    few = {"label": 41.5, "city": "Bern"}
    blank = dict.fromkeys(("skewed", "few", "day", "moment", "yes", "grade"))
    assert asked(client, url, [few]) == asked(client, url, [few | blank])


def test_values_are_in_the_targets_units(
    client: TestClient, serve: Serve, regression: tuple[Path, data.Data, np.ndarray]
) -> None:
    path, _, expected = regression
    found = asked(client, serve(path), sample())["data"]
    np.testing.assert_allclose([[one["values"]["z"], one["values"]["z2"]] for one in found], expected, rtol=1e-5)


def test_images_are_predicted_as_the_trainer_does(client: TestClient, serve: Serve, tmp_path: Path) -> None:
    layers = [{"kind": "conv", "channels": 4, "init": {"kind": "zeros"}}, {"kind": "flatten"}]
    parts = {"target": None, "features": {}, "split": {"kind": "random"}}
    model = {"kind": "sequential", "layers": layers}
    job = test_export.spec(dataset={"source": "builtin", "name": "digits"}, model=model, **parts)
    loaded, z, _ = test_export.exported(job, tmp_path / "model.onnx")
    url, pixels = serve(tmp_path / "model.onnx"), loaded.sample.pixels  # type: ignore[union-attr]
    flat = asked(client, url, [{"pixels": image[:, :, 0].tolist(), "label": 3} for image in pixels])
    deep = asked(client, url, [{"pixels": image.tolist()} for image in pixels])
    found = [[*one["probabilities"].values()] for one in flat["data"]]
    np.testing.assert_allclose(found, scores.probabilities(z), rtol=1e-4, atol=1e-6)
    assert flat == deep


def test_every_cell_that_does_not_fit_is_named(
    client: TestClient, serve: Serve, table: tuple[Path, data.Data, torch.Tensor]
) -> None:
    rows = [
        {"label": "many", "day": 19_000, "city": ["Bern"]},
        {"label": 1, "day": "2024-02-30", "a/b": 1},
        {"few": "1_000", "skewed": "inf", "moment": "noon", "yes": {}},
    ]
    answer = client.post(serve(table[0]), json={"rows": rows})
    assert (answer.status_code, answer.json()["code"]) == (422, "rows_invalid")
    assert sorted((fault["pointer"], fault["code"]) for fault in answer.json()["errors"]) == [
        ("/rows/0/city", "wrong_kind"),
        ("/rows/0/day", "wrong_kind"),
        ("/rows/0/label", "wrong_kind"),
        ("/rows/1/a~1b", "unknown_column"),
        ("/rows/1/day", "wrong_kind"),
        ("/rows/2/few", "wrong_kind"),
        ("/rows/2/moment", "wrong_kind"),
        ("/rows/2/skewed", "wrong_kind"),
        ("/rows/2/yes", "wrong_kind"),
    ]
    assert "many" not in answer.text


def test_a_row_beyond_single_precision_is_refused(
    client: TestClient, serve: Serve, regression: tuple[Path, data.Data, np.ndarray]
) -> None:
    answer = client.post(serve(regression[0]), json={"rows": [{}, {"skewed": 1e300}]})
    assert [(fault["pointer"], fault["code"]) for fault in answer.json()["errors"]] == [("/rows/1", "too_large")]


@pytest.mark.parametrize("body", [{}, {"rows": []}, {"rows": [{}] * 1001}, {"rows": [1]}, {"rows": [{}], "x": 1}])
def test_other_bodies_are_refused(client: TestClient, submit: Callable[..., dict[str, Any]], body: Any) -> None:
    answer = client.post(f"/v1/jobs/{submit()['id']}/predict", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_job_without_a_model_says_what_to_do(client: TestClient, submit: Callable[..., dict[str, Any]]) -> None:
    job = submit()
    waiting = client.post(f"/v1/jobs/{job['id']}/predict", json={"rows": [{}]})
    client.post(f"/v1/jobs/{job['id']}/cancel")
    ended = client.post(f"/v1/jobs/{job['id']}/predict", json={"rows": [{}]})
    assert [(answer.status_code, answer.json()["code"]) for answer in (waiting, ended)] == [(409, "no_model")] * 2
    assert waiting.json()["detail"] == "The job is queued: ask again when it has succeeded."
    assert ended.json()["detail"] == "The job is cancelled and left no model: retry it."
    missing = client.post(f"/v1/jobs/job_{'0' * 26}/predict", json={"rows": [{}]})
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


def test_damaged_bytes_never_predict(
    client: TestClient, serve: Serve, artifacts: Artifacts, tmp_path: Path,
    table: tuple[Path, data.Data, torch.Tensor],
) -> None:  # fmt: skip
    url = serve(table[0])
    (tmp_path / "other").write_bytes(table[0].read_bytes() + b" ")
    artifacts.put(url.replace("/v1/", "").replace("predict", "a1/model.onnx"), tmp_path / "other")
    answer = client.post(url, json={"rows": [{}]})
    assert (answer.status_code, answer.json()["code"]) == (409, "no_model")


def test_large_requests_go_through_the_network_in_parts(
    client: TestClient, serve: Serve, table: tuple[Path, data.Data, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, rows = serve(table[0]), sample()
    whole = asked(client, url, rows)
    monkeypatch.setattr(predicting, "NUMBERS_AT_ONCE", 30)
    parts = asked(client, url, rows)
    assert [one["label"] for one in parts["data"]] == [one["label"] for one in whole["data"]]
    found, expected = ([one["probabilities"]["yes"] for one in each["data"]] for each in (parts, whole))
    assert found == pytest.approx(expected, rel=1e-6)


def test_rows_go_through_the_network_by_its_widest_layer(
    table: tuple[Path, data.Data, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runs(widened(table[0], 1 << 19), monkeypatch) == [2] * (len(sample()) // 2)


def test_a_model_that_does_not_say_how_wide_it_is_is_no_wider_than_its_file(
    table: tuple[Path, data.Data, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = widened(table[0], None)
    monkeypatch.setattr(predicting, "NUMBERS_AT_ONCE", len(content) // 4 * 4)
    assert runs(content, monkeypatch) == [4] * (len(sample()) // 4)


def test_a_model_too_wide_for_a_single_row_predicts_nothing(table: tuple[Path, data.Data, torch.Tensor]) -> None:
    model = predicting.Model(widened(table[0], predicting.WIDEST + 1), Rounds(1))
    with pytest.raises(errors.NoModel, match="A row takes more than this service has for it"):
        model.predict("ann", [{}])


@pytest.mark.parametrize(("bound", "rows"), [("MOST_CELLS", 8), ("MOST_ANSWERED", 2 * predicting.NUMBER + 9)])
def test_a_request_takes_so_many_cells_and_answers_and_no_more(
    client: TestClient, serve: Serve, table: tuple[Path, data.Data, torch.Tensor], monkeypatch: pytest.MonkeyPatch,
    bound: str, rows: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(predicting, bound, 2 * rows)
    url = serve(table[0])
    assert len(asked(client, url, [{}] * 2)["data"]) == 2
    answer = client.post(url, json={"rows": [{}] * 3})
    assert (answer.status_code, answer.json()["code"]) == (422, "rows_invalid")
    text = "This model has so many columns or classes that it takes 2 rows at a time at most."
    assert answer.json()["errors"] == [{"pointer": "/rows", "code": "too_long", "detail": text}]


def widened(path: Path, widest: int | None) -> bytes:
    """The model, saying of itself that it is so wide, or nothing."""
    model = onnx.load(path)
    kept = [prop for prop in model.metadata_props if prop.key != WIDEST_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    if widest is not None:
        model.metadata_props.add(key=WIDEST_KEY, value=str(widest))
    return bytes(model.SerializeToString())


def runs(content: bytes, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each run that the sample rows take."""
    slots = Mock(wraps=Rounds(1))
    model = predicting.Model(content, slots)
    session = Mock(wraps=model._session)
    monkeypatch.setattr(model, "_session", session)
    model.predict("ann", sample())
    assert slots.taken.call_args_list == [call("ann")] * session.run.call_count  # others may come in between
    return [len(next(iter(call.args[1].values()))) for call in session.run.call_args_list]


# The models that are held


def test_models_are_held_up_to_a_size(
    artifacts: Artifacts, table: tuple[Path, data.Data, torch.Tensor], tmp_path: Path
) -> None:
    content = table[0].read_bytes()
    models = predicting.Models(artifacts, int(2.5 * len(content)))
    files = [stored(artifacts, tmp_path, content, name) for name in "abc"]
    first, second, _ = (got(models, file) for file in files)
    assert got(models, files[1]) is second
    assert got(models, files[0]) is not first
    with pytest.raises(errors.NoModel, match="larger than this service holds"):
        got(predicting.Models(artifacts, len(content) - 1), files[0])


def test_models_in_use_are_held_and_the_next_waits_for_room(
    artifacts: Artifacts, table: tuple[Path, data.Data, torch.Tensor], tmp_path: Path
) -> None:
    content = table[0].read_bytes()
    models = predicting.Models(artifacts, int(2.5 * len(content)))
    files = [stored(artifacts, tmp_path, content, name) for name in "abc"]
    with ThreadPoolExecutor(1) as thread:
        with models.held("ann", files[0]) as first:
            with models.held("ann", files[1]):
                waiting = thread.submit(got, models, files[2])
                until(lambda: not models._loading.free, 10)
                assert got(models, files[0]) is first
                assert not waiting.done()
            assert waiting.result(10) is got(models, files[2])
            assert got(models, files[0]) is first
        assert models._users.total() == 0


def got(models: predicting.Models, file: File) -> predicting.Model:
    with models.held("ann", file) as model:
        return model


def stored(artifacts: Artifacts, folder: Path, content: bytes, name: str) -> File:
    """The model under another checksum: an unknown field at its end is passed over."""
    changed = content + b"\xfa\x3f\x01" + name.encode()
    (folder / name).write_bytes(changed)
    artifacts.put(name, folder / name)
    return File(path=name, bytes=len(changed), sha256=hashlib.sha256(changed).hexdigest())


@pytest.mark.slow
def test_a_row_takes_less_than_ten_milliseconds_of_a_processor(
    client: TestClient, serve: Serve, table: tuple[Path, data.Data, torch.Tensor]
) -> None:
    url, row, taken = serve(table[0]), sample()[:1], []
    for _ in range(50):
        began = time.process_time()
        asked(client, url, row)
        taken.append(time.process_time() - began)
    assert sorted(taken)[25] < 0.010


# Cells, against the trainer's reader


@pytest.mark.parametrize(
    "text",
    [
        "12",
        " 3.5 ",
        "1.",
        ".5",
        "+1",
        "-.5e-3",
        "1E5",
        "007",
        "1e",
        "0x10",
        "1_000",
        "1d5",
        "１２",
        "NaN",
        "?",
        "-",
        "",
    ],
)
def test_numbers_are_those_that_the_reader_reads(text: str) -> None:
    read = cells.reader(ColumnInput(column="c", input="c", kind="number"))
    clean = columns.clean(pl.Series([text]))
    number = clean.cast(pl.Float64, strict=False)[0]
    if number is None and clean[0] is not None:
        with pytest.raises(cells.Misfit):
            read(text)
    else:
        np.testing.assert_equal(read(text), math.nan if number is None else number)


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-29",
        "1969-12-31 23:59",
        "2024-01-31T12:30:15.25",
        "2024-01-31T12:30:15.1234567Z",
        "2024-01-31T12:30+0130",
        "2024-01-31 00:00-05:00",
        "2023-02-29",
        "31.1.2024",
        "2024-1-1",
        "20240101",
    ],
)
def test_dates_are_those_that_the_reader_reads(text: str) -> None:
    read = cells.reader(ColumnInput(column="c", input="c", kind="date"))
    column = columns.guess(pl.Series([text]))
    if isinstance(column.dtype, pl.Datetime):
        assert read(text) == pytest.approx(columns.as_numbers(column)[0], rel=1e-15)
    else:
        with pytest.raises(cells.Misfit):
            read(text)


@pytest.mark.parametrize(
    ("trained", "cell", "category"),
    [
        (["1", "2", "10"], 1.0, "1"),
        (["1", "2", "10"], "10.0", "10"),
        (["0.5", "1e+20"], 1e20, "1e+20"),
        (["01", "02"], "01", "01"),
        (["01", "02"], 1, "1"),
        (["1", "x"], 1, "1"),
        (["false", "true"], True, "true"),
        (["false", "true"], "TRUE", "true"),
        (["a", "b"], " b ", "b"),
        (["a", "b"], "n/a", ""),
        (["2024-01-31 00:00:00.000000"], "2024-01-31", "2024-01-31 00:00:00.000000"),
    ],
)
def test_a_cell_is_known_by_what_it_means(trained: list[str], cell: Any, category: str) -> None:
    assert cells.reader(ColumnInput(column="c", input="c", kind="category", categories=trained))(cell) == category


@pytest.mark.parametrize(
    "cell",
    [
        None,
        1,
        "image",
        [],
        [[1, 2], [3]],
        [[1, 2], [3, 256]],
        [[1, 2], [3, -1]],
        [[1, 2], [3, 0.5]],
        [[True, False], [True, True]],
        [["1", "2"], ["3", "4"]],
        [[1, 2], [3, None]],
        [[1, 2, 3, 4]],
        [[[1, 1], [2, 2]], [[3, 3], [4, 4]]],
    ],
)
def test_other_than_an_image_is_refused(cell: Any) -> None:
    with pytest.raises(cells.Misfit, match="2 rows of 2 pixels, whole numbers from 0 to 255"):
        cells.pixels(cell, ImageInputs(height=2, width=2, channels=1, is_bytes=True))
