"""What a storm came to: promises broken, and figures."""

import json
import os
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import sqlalchemy as sa

from bench import pages
from client import errors
from client.answers import Attempt, Job
from jobs import artifacts, db, deliveries
from jobs.tables import jobs as tables
from tests.faults.invariants import Outcome, violations
from tests.faults.storm import Storm
from tests.fleet import Fleet, until
from tests.worker.receivers import Receiver
from worker import place, scratch

LOST_IN_A_ROW = 3
"""Attempts without a checkpoint between them after which a job may be given up."""
KEPT = frozenset({"drained", "paused", "succeeded", "cancelled"})
"""Ends of an attempt that count as nobody's loss."""
TOLD_WITHIN = 3 * deliveries.LEASE
"""Seconds in which all messages are there: whoever sent one may have died."""
FAULTS_OF_OURS = ("supervision_failed", "reconciler_failed", "heartbeat_failed", "request_failed", "files_failed")
"""Lines of a log that speak of something unforeseen."""


@dataclass(frozen=True)
class Result:
    """All that is known in the end."""

    jobs: Sequence[Job]
    violations: Sequence[str]
    waits: Sequence[float]
    """Seconds from a fault to the next attempt of a job that it hit."""
    exact: int
    unforeseen: Mapping[str, int]
    messages: int
    """That a webhook was told."""
    requests: int
    """In which it was told them."""


def of(
    fleet: Fleet,
    accepted: Mapping[str, Outcome | None],
    storm: Storm,
    left: Sequence[str],
    refused: Sequence[str],
    others: int,
    receiver: Receiver,
) -> Result:
    """Looks at everything; `left` are the jobs that have not ended, `others` more were run in peace, and the receiver
    is to have heard of each end."""
    ended = {job_id: outcome for job_id, outcome in accepted.items() if job_id not in left}
    jobs = [fleet.client.job(job_id) for job_id in ended]
    tidy(fleet)
    broken = [*_checked(fleet, ended), *refused, *(f"{job_id} has not ended" for job_id in left)]
    broken += [fault for job in jobs for fault in _of_end(job, storm.cancelled)]
    if (count := made(fleet)) != len(accepted) + others:
        broken.append(f"{count} jobs are on record, and {len(accepted) + others} were accepted")
    broken += untold(jobs, receiver)
    unlike = {fault.split(":")[0] for fault in broken}
    exact = sum(job.status == "succeeded" and job.id not in unlike for job in jobs)
    waits = [wait for job in jobs for wait in _waits(job, storm)]
    messages = sum(map(len, told(receiver).values()))
    return Result(jobs, broken, waits, exact, unforeseen(fleet), messages, len(receiver.seen))


def _checked(fleet: Fleet, ended: Mapping[str, Outcome | None]) -> list[str]:
    try:
        return violations(fleet, ended, 30)
    except (AssertionError, errors.ClientError) as error:
        return [f"the check came to no end: {error!r}"]


def tidy(fleet: Fleet) -> None:
    """What workers do with the folders of those that were killed, without the hour that they wait."""
    for folder in fleet.settings.scratch.glob("*/job_*"):
        os.utime(folder, (0, 0))
    database = db.connect(fleet.settings.database)
    scratch.clear_attempts(place.Place(fleet.settings, database, artifacts.connect(fleet.settings.artifacts)))
    database.engine.dispose()


def untold(jobs: Sequence[Job], receiver: Receiver) -> Iterator[str]:
    """Jobs whose end was told by no message, or by more than one, however often each was sent."""
    wanted = {job.id: {f"job.{job.status}"} for job in jobs}
    with suppress(AssertionError):
        until(lambda: wanted.keys() <= told(receiver).keys(), TOLD_WITHIN)
    for job_id, kinds in wanted.items():
        messages = told(receiver).get(job_id, {})
        if len(messages) != 1 or set(messages.values()) != kinds:
            yield f"{job_id}: webhooks were told {sorted(messages.values())} and not once {kinds}"


def told(receiver: Receiver) -> dict[str, dict[str, str]]:
    """What arrived, by job and message."""
    found: dict[str, dict[str, str]] = {}
    for request in list(receiver.seen):
        message = json.loads(request.body)
        found.setdefault(message["data"]["id"], {})[request.headers["webhook-id"]] = message["type"]
    return found


def made(fleet: Fleet) -> int:
    """Jobs that are on record."""
    database = fleet.database()
    with database.reading() as session:
        count = session.scalar(sa.select(sa.func.count()).select_from(tables.Job)) or 0
    database.engine.dispose()
    return count


def unforeseen(fleet: Fleet) -> Counter[str]:
    """What the parts' logs say that nobody has thought of, by part and word."""
    said = Counter[str]()
    for name in fleet.parts:
        for line in fleet.log(name).splitlines():
            said.update(f"{name}: {word}" for word in FAULTS_OF_OURS if word in line)
    return said


def _of_end(job: Job, cancelled: set[str]) -> Iterator[str]:
    """A job that nobody has asked to end ends well, unless it was struck too often in a row."""
    if job.status == "succeeded" or (job.status == "cancelled" and job.id in cancelled):
        return
    struck = sum(attempt.exit not in KEPT for attempt in job.attempts)
    if job.error is None or job.error.code != "poison" or struck < LOST_IN_A_ROW:
        yield f"{job.id} is {job.status}: {job.error or 'nobody asked for that'}"


def _waits(job: Job, storm: Storm) -> Iterator[float]:
    for before, after in zip(job.attempts, job.attempts[1:], strict=False):
        times = [hit.at for hit in storm.hits if hit.job_id == job.id and _was(before, hit.at)]
        if times and before.exit != "paused":
            yield _seconds(after) - max(times)


def _was(attempt: Attempt, at: float) -> bool:
    ended = attempt.ended_at.timestamp() if attempt.ended_at else at
    return _seconds(attempt) <= at <= ended


def _seconds(attempt: Attempt) -> float:
    return attempt.started_at.timestamp() if attempt.started_at else 0.0


def report(result: Result, storm: Storm, kinds: Mapping[str, str], repeated: int, seconds: float) -> str:
    """Tables in Markdown."""
    attempts = [attempt for job in result.jobs for attempt in job.attempts]
    resumed = sum((attempt.resumed_from_step or 0) > 0 for attempt in attempts)
    succeeded = sum(job.status == "succeeded" for job in result.jobs)
    waits = sorted(result.waits) or [float("nan")]
    figures = {
        "seconds, from the first job to the end of the last": f"{seconds:.0f}",
        "jobs": counted(job.status for job in result.jobs),
        "jobs by spec": counted(kinds.values()),
        "submits sent again under their key": f"{repeated}",
        "faults": f"{storm.counts.total()}",
        "attempts": f"{len(attempts)}, of which {resumed} went on from a checkpoint; most of one job: "
        f"{max((job.attempt for job in result.jobs), default=0)}",
        "ends of attempts": counted(attempt.exit or "none" for attempt in attempts),
        "succeeded jobs equal to the undisturbed run, bit for bit": f"{result.exact} of {succeeded}",
        "seconds from a fault to the next attempt of a job it hit": f"median {statistics.median(waits):.1f}, "
        f"90 % {waits[int(0.9 * (len(waits) - 1))]:.1f}, most {waits[-1]:.1f}, of {len(result.waits)}",
        "messages to a webhook, one for each end": f"{result.messages} in {result.requests} requests",
        "unforeseen, in the logs": counted(result.unforeseen) or "nothing",
        "violations": f"{len(result.violations)}",
    }
    struck = [(kind, str(count)) for kind, count in storm.counts.most_common()]
    lines = [pages.table(["", ""], figures.items(), left=2), pages.table(["fault", "times"], struck)]
    return "\n\n".join([*lines, *(["\n".join(f"- {one}" for one in result.violations)] if result.violations else [])])


def counted(words: Iterable[str] | Mapping[str, int]) -> str:
    """`7 succeeded, 2 failed`."""
    return ", ".join(f"{count} {word}" for word, count in Counter(words).most_common())
