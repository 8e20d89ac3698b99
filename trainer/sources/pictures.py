"""A zip of one folder of images per class."""

import io
import warnings
import zipfile
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import polars as pl
from PIL import Image, UnidentifiedImageError

from jobs.errors import DataInvalid
from trainer import alive
from trainer.sources.content import MAX_BYTES, Images

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")

_GREY = ("1", "L", "LA")
_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")


def read(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> Images:
    """Labelled by folder, in the archive's order. Grey images have one channel; one coloured one makes all RGB.

    Transparency is dropped, palettes are resolved, of an animation the first image counts. All have one size.
    """
    labels = _labels(members)
    size, colour = _measure(archive, members)
    mode, channels = ("RGB", 3) if colour else ("L", 1)
    if len(members) * size[0] * size[1] * channels > MAX_BYTES:
        raise DataInvalid(f"The images take more than {MAX_BYTES >> 30} GiB once decoded: send fewer or smaller ones.")
    pixels = np.empty((len(members), size[1], size[0], channels), np.uint8)
    for i, member in enumerate(members):
        pixels[i] = _decode(archive, member, mode).reshape(pixels.shape[1:])
    return Images(pixels, labels)


def _labels(members: list[zipfile.ZipInfo]) -> pl.Series:
    """The name of the folder that holds the image; all such folders lie side by side."""
    if not members:
        raise DataInvalid("The archive holds no files: put the images of each class into a folder named after it.")
    paths = [PurePosixPath(member.filename.replace("\\", "/")) for member in members]
    beside = paths[0].parent.parent
    for path in paths:
        if path.parent.name == "" or path.parent.parent != beside:
            raise DataInvalid(f"'{path}' does not lie in a class folder beside the others: use one folder per class.")
    return pl.Series("label", [path.parent.name for path in paths])


def _measure(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> tuple[tuple[int, int], bool]:
    """Width and height of all images, and whether any is coloured; by their headers, nothing is decoded yet."""
    first, colour = (0, 0), False
    for i, member in enumerate(members):
        with _open(archive, member) as image:
            first = first if i else image.size
            if image.size != first:
                raise DataInvalid(
                    f"'{member.filename}' has {image.width}×{image.height} pixels and '{members[0].filename}' has "
                    f"{first[0]}×{first[1]}: bring all images to one size."
                )
            if image.mode in _DEEP:
                raise DataInvalid(f"'{member.filename}' has more than 8 bits per channel: save it with 8.")
            colour |= image.mode not in _GREY
    return first, colour


def _open(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Image.Image:
    alive.say()
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return Image.open(io.BytesIO(archive.read(member)), formats=FORMATS)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise DataInvalid(f"'{member.filename}' has too many pixels: make the images smaller.") from error
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
            kinds = ", ".join(FORMATS)
            raise DataInvalid(f"'{member.filename}' is no image of a known kind ({kinds}): take it out.") from error


def _decode(archive: zipfile.ZipFile, member: zipfile.ZipInfo, mode: str) -> npt.NDArray[np.uint8]:
    with _open(archive, member) as image:
        try:
            return np.asarray(image.convert(mode))
        except (OSError, ValueError, SyntaxError, EOFError, IndexError) as error:
            raise DataInvalid(f"'{member.filename}' does not decode ({error}): save it again.") from error
