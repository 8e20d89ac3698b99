"""Rules about augmentation: what suits images, what suits tables, and what cannot be combined."""

from typing import get_args

from jobs.rulebook.facts import Facts
from jobs.rulebook.ledger import Ledger
from jobs.spec.augment import Crop, ImageOnly, Mixup, Noise, Scale, Stretch
from jobs.spec.job import JobSpec

IMAGE_ONLY = get_args(ImageOnly)


def contradictions(spec: JobSpec, ledger: Ledger) -> None:
    """What shows without the dataset."""
    for i, one in enumerate(spec.augment):
        if isinstance(one, Scale | Stretch) and one.low > one.high:
            ledger.fault(f"/augment/{i}/high", "empty_range", f"high is {one.high}, below low, {one.low}; swap them.")
    mixups = [i for i, one in enumerate(spec.augment) if isinstance(one, Mixup)]
    for i in mixups[1:]:
        ledger.fault(f"/augment/{i}", "mixup_twice", "Rows are mixed once; keep one mixup with the alpha you want.")
    if mixups and spec.categories.encoding == "embedding":
        text = "An embedded category cannot be mixed; encode categories as onehot, or leave mixup out."
        ledger.fault(f"/augment/{mixups[0]}", "mixup_embedding", text)


def check(spec: JobSpec, facts: Facts, ledger: Ledger) -> None:
    """Whether each change suits the data."""
    for i, one in enumerate(spec.augment):
        pointer = f"/augment/{i}"
        if isinstance(one, IMAGE_ONLY) and not facts.is_images:
            text = f"{one.kind} changes images, and the data is a table; noise and mixup are for tables too."
            ledger.fault(pointer, "augment_images", text)
        elif isinstance(one, Crop) and one.pixels >= min(facts.shape[1:]):
            text = f"A move by {one.pixels} pixels leaves nothing of images of {facts.shape[1:]}; take fewer."
            ledger.fault(f"{pointer}/pixels", "crop_too_large", text)
        elif isinstance(one, Noise) and not facts.is_images and _no_numbers(facts):
            text = "Noise is added to numeric columns, and there are none; leave it out."
            ledger.fault(pointer, "noise_without_numbers", text)


def _no_numbers(facts: Facts) -> bool:
    return all(column.kind == "categorical" for column in facts.features)
