"""What the members of an ensemble say together, and how far apart they are."""

import torch
from torch.nn import functional as F

from jobs.spec.ensemble import Ensemble
from jobs.spec.job import JobSpec


def member_seeds(spec: JobSpec) -> list[int]:
    """Of the members, or of the single model; the first is the job's own, so that member 0 is the single run."""
    return [spec.seed + member for member in range(spec.ensemble.members if spec.ensemble else 1)]


def combine(ensemble: Ensemble | None, z: torch.Tensor, *, classes: bool) -> torch.Tensor:
    """z [K, N, outputs] → [N, outputs]: values, or logits whose softmax (of one: sigmoid) is what all say together.

    The mean is taken of probabilities, as scikit-learn's soft vote does; a vote gives each class its share of members.
    """
    if ensemble is None:
        return z[0]
    if not classes:
        return z.mean(0)
    if ensemble.combine == "vote":
        votes = torch.cat([z < 0, z >= 0], dim=2) if z.shape[2] == 1 else F.one_hot(z.argmax(2), z.shape[2])
        shares = votes.to(z.dtype).mean(0)
    else:
        shares = (torch.cat([-z, z], 2).sigmoid() if z.shape[2] == 1 else z.softmax(2)).mean(0)
    logits = shares.clamp(min=1e-12).log()
    return logits[:, 1:] - logits[:, :1] if z.shape[2] == 1 else logits
