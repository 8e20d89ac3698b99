"""The datasets that need no upload."""

import json
from typing import Any

import polars as pl
from sklearn import datasets

from jobs.spec.profile import DatasetProfile
from trainer.sources import builtin
from trainer.sources.content import Images


def rounded(profiles: str) -> Any:
    return json.loads(profiles, parse_float=lambda number: float(f"{float(number):.9g}"))


def test_the_profiles_that_the_api_reads_are_those_of_the_data() -> None:
    written = rounded(builtin.PROFILES.read_text())
    assert written == rounded(builtin.dump(builtin.profiles()))
    for profile in written.values():
        DatasetProfile.model_validate(profile)


def test_digits_are_images() -> None:
    data = builtin.load("digits")
    assert isinstance(data, Images)
    assert data.pixels.shape == (1797, 8, 8, 1)
    assert (data.pixels[..., 0] == datasets.load_digits().images).all()
    assert sorted(data.labels.unique()) == list(range(10))


def test_classes_have_their_names() -> None:
    frame = builtin.load("iris").frame
    assert frame.columns[0] == "sepal length (cm)"
    assert frame["target"].unique(maintain_order=True).to_list() == ["setosa", "versicolor", "virginica"]


def test_a_regression_has_a_number_to_predict() -> None:
    data = builtin.load("diabetes")
    assert (data.frame.shape, data.target) == ((442, 11), "target")
    assert data.frame["target"].dtype == pl.Float64
