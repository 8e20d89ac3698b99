"""Arrays and images in zip archives, and how clearly they are refused."""

import contextlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.errors import DataInvalid
from trainer.sources import reading
from trainer.sources.content import Images


def npz(tmp_path: Path, **arrays: Any) -> Path:
    np.savez(tmp_path / "data.npz", **arrays)
    return tmp_path / "data.npz"


def picture(size: tuple[int, int] = (3, 2), mode: str = "L", colour: Any = 7) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "PNG")
    return file.getvalue()


def archive(tmp_path: Path, members: dict[str, bytes]) -> Path:
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_a_two_dimensional_array_is_a_table(tmp_path: Path) -> None:
    data = reading.read(npz(tmp_path, X=np.array([[1.0, np.nan], [3, 4]]), y=np.array(["a", "b"])))
    assert data.frame.to_dict(as_series=False) == {"x0": [1.0, 3.0], "x1": [None, 4.0], "y": ["a", "b"]}
    assert data.target == "y"


def test_several_targets_are_several_columns(tmp_path: Path) -> None:
    data = reading.read(npz(tmp_path, X=np.ones((2, 1)), y=np.array([[1, 2], [3, 4]])))
    assert (data.frame.columns, data.target) == (["x0", "y0", "y1"], None)


@pytest.mark.parametrize(
    ("x", "dtype"), [(np.arange(24).reshape(2, 3, 4), np.uint8), (np.full((2, 3, 4, 1), 0.5), np.float32)]
)
def test_more_dimensions_are_images(tmp_path: Path, x: Any, dtype: type) -> None:
    data = reading.read(npz(tmp_path, X=x, y=np.array([0, 1])))
    assert isinstance(data, Images)
    assert (data.pixels.shape, data.labels.to_list()) == ((2, 3, 4, 1), [0, 1])
    assert data.pixels.dtype == dtype
    assert np.array_equal(data.pixels.ravel(), x.ravel())


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"X": np.ones((2, 2))}, "no array 'y'"),
        ({"X": np.ones((2, 2)), "y": np.ones(3)}, "X has 2 rows and y has 3"),
        ({"X": np.ones((2, 2)), "y": np.array([1, np.nan])}, "no value in row 1"),
        ({"X": np.ones((2, 2)), "y": np.array([1, {}], object)}, "type object"),
        ({"X": np.ones((0, 2)), "y": np.ones(0)}, "no rows"),
        ({"X": np.ones(2), "y": np.ones(2)}, "shape"),
        ({"X": np.array(1.0), "y": np.ones(2)}, "single value"),
        ({"X": np.ones((2, 0)), "y": np.ones(2)}, "0 columns"),
        ({"X": np.array([["a"]]), "y": np.ones(1)}, "must hold numbers"),
        ({"X": np.array([[np.inf]]), "y": np.ones(1)}, "infinite"),
        ({"X": np.ones((2, 3, 8, 8)), "y": np.ones(2)}, "channels come last"),
        ({"X": np.full((2, 3, 3), np.nan), "y": np.ones(2)}, "NaN or infinite pixels"),
        ({"X": np.ones((2, 3, 3)), "y": np.ones((2, 2))}, "one label each"),
    ],
)
def test_arrays_that_are_no_dataset_are_refused(tmp_path: Path, members: dict[str, Any], words: str) -> None:
    with pytest.raises(DataInvalid, match=words):
        reading.read(npz(tmp_path, **members))


def test_an_array_is_measured_before_memory_is_taken(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 2)})
    with pytest.raises(DataInvalid, match="more than 4 GiB"):
        reading.read(archive(tmp_path, {"X.npy": file.getvalue(), "y.npy": file.getvalue()}))


def test_grey_images_in_class_folders_have_one_channel(tmp_path: Path) -> None:
    members = {"all/cat/1.png": picture(), "all/dog/1.png": picture(colour=9), "__MACOSX/x": b"", "all/.DS_Store": b""}
    data = reading.read(archive(tmp_path, members))
    assert isinstance(data, Images)
    assert (data.labels.to_list(), data.pixels.shape) == (["cat", "dog"], (2, 2, 3, 1))
    assert data.pixels.max(axis=(1, 2, 3)).tolist() == [7, 9]


def test_one_coloured_image_makes_all_coloured(tmp_path: Path) -> None:
    data = reading.read(archive(tmp_path, {"a/1": picture(), "b/1": picture(mode="RGB", colour=(1, 2, 3))}))
    assert isinstance(data, Images)
    assert data.pixels[:, 0, 0].tolist() == [[7, 7, 7], [1, 2, 3]]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({}, "no files"),
        ({"a/1.png": picture(), "b/2.png": picture((4, 2))}, "'b/2.png' has 4×2 pixels"),
        ({"a/1.png": picture(), "a/2.png": b"no image"}, "'a/2.png' is no image"),
        ({"a/1.png": picture((64, 64))[:80]}, "'a/1.png' does not decode"),
        ({"1.png": picture()}, "does not lie in a class folder"),
        ({"a/1.png": picture(), "b/c/1.png": picture()}, "does not lie in a class folder"),
        ({"../a/1.png": picture()}, "points out of the archive"),
        ({"/a/1.png": picture()}, "points out of the archive"),
        ({"a/1.png": bytes(2 << 20)}, "bomb"),
        ({"a/1.png": picture(mode="I;16")}, "more than 8 bits"),
    ],
)
def test_archives_that_are_no_class_folders_are_refused(tmp_path: Path, members: dict[str, bytes], words: str) -> None:
    with pytest.raises(DataInvalid, match=words):
        reading.read(archive(tmp_path, members))


def test_links_in_archives_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("a/link.png")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(DataInvalid, match="'a/link.png' is a link"):
        reading.read(tmp_path / "data.zip")


def test_damage_anywhere_in_an_archive_is_refused_or_harmless(tmp_path: Path) -> None:
    whole = archive(tmp_path, {"a/1.png": picture(), "b/1.png": picture()}).read_bytes()
    for place in range(0, len(whole), 7):
        path = tmp_path / "damaged"
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        with contextlib.suppress(DataInvalid):
            reading.read(path)
