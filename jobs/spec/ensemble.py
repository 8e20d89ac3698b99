"""Several models of one architecture, trained as the lanes of one run, that decide together."""

from typing import Annotated, Literal

from pydantic import Field

from jobs.spec.values import Count, Part


class Ensemble(Part):
    """`members` models in one run; scores are reported for each, for their spread and for the combination."""

    members: Annotated[Count, Field(ge=2, le=64)] = 5
    """How many models."""
    vary: Literal["seed", "init", "bootstrap"] = "seed"
    """How they differ. `seed`: initial weights, order of rows and dropout. `init`: initial weights only.
    `bootstrap`: as seed, and each trains on its own sample of the training rows, drawn with replacement
    (Breiman 1996)."""
    combine: Literal["mean", "vote"] = "mean"
    """`mean` averages probabilities, or values; `vote` gives each class its share of the members' votes,
    so that a class may have none, which costs much log loss."""
