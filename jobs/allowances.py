"""How much a job may take: refused when it is asked for, by the estimate, and held where it runs."""

from typing import NamedTuple

from jobs import errors, estimate
from jobs.errors import Fault
from jobs.estimate import Estimate
from jobs.rules import Resolved
from jobs.spec import job as job_spec
from jobs.spec.data import Rows
from jobs.spec.job import JobSpec

GIB = 1024**3


class Allowance(NamedTuple):
    """Of one job, each ensemble with all its members, and of those of one owner together."""

    memory_bytes: int = 64 * GIB
    disk_bytes: int = 64 * GIB
    seconds: float = 30 * 86_400
    """Of active time over all attempts."""
    points: int = 5_000_000
    """Metric values on record."""
    result_bytes: int = 1024 * GIB
    """Files of all the owner's jobs, ended ones included."""


USUAL = Allowance()


def check(resolved: Resolved, allowance: Allowance) -> None:
    """Lets a spec pass that will take no more than it may.

    Raises:
        SpecInvalid: with one fault for each limit that it would exceed, and the estimate that says so.
    """
    if faults := exceeded(estimate.estimate(resolved), allowance):
        raise errors.SpecInvalid(faults)


def check_size(spec: JobSpec) -> None:
    """Lets a spec pass that is no file.

    Raises:
        SpecInvalid: it has more bytes than a spec may.
    """
    if (size := job_spec.size(spec)) <= job_spec.MOST_BYTES:
        return
    is_table = isinstance(spec.dataset, Rows)
    mend = "upload its rows as a dataset" if is_table else "name fewer columns"
    text = f"The spec has {size:,} bytes as JSON, and may have {job_spec.MOST_BYTES:,}: {mend}."
    raise errors.SpecInvalid([Fault(pointer="/dataset/rows" if is_table else "", code="spec_too_large", detail=text)])


def exceeded(cost: Estimate, allowance: Allowance) -> list[Fault]:
    """One fault for each limit that an estimate is beyond, at the part of the spec that decides most of it."""
    asked = [
        ("/model", "memory", cost.memory_bytes / GIB, allowance.memory_bytes / GIB, "GiB", "model, batch or dataset"),
        ("/checkpoint", "disk", cost.disk_bytes / GIB, allowance.disk_bytes / GIB, "GiB", "model, or keep fewer of it"),
        ("/epochs", "time", cost.seconds, allowance.seconds, "seconds", "run or model, or set max_time"),
        ("/log_every", "space for metrics", cost.points, allowance.points, "values", "run, or log less often"),
    ]
    return [
        Fault(
            pointer=pointer,
            code="takes_too_much",
            detail=f"It would take about {much:,.4g} {unit} of {what}, and a job may take {most:,.4g} here: "
            f"choose a smaller {mend}.",
        )
        for pointer, what, much, most, unit, mend in asked
        if much > most
    ]
