"""Datasets from the addresses that callers gave into the artifact store, by way of outbound.py. Nothing of them is
parsed here: readers do that, where nothing can be reached."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager

import structlog
from sqlalchemy.orm import Session

from jobs import datasets, db, errors, ids, imports, queue
from jobs.intake import Intake
from jobs.record import Failure
from jobs.tables.datasets import Dataset
from worker import outbound
from worker.outbound import OutboundError, Policy
from worker.place import Place

log = structlog.get_logger()

TICK = 1.0
"""Seconds between two looks for something to fetch."""
AT_ONCE = 4
"""Datasets that one worker fetches at a time; a slow one occupies a thread until its time is up."""
REST = 15.0
"""Seconds until a file is tried again where the fault was not its own."""
PASSING = frozenset({"timeout", "connection_failed", "bad_answer", "answered_408", "answered_425", "answered_429"})
"""What may be otherwise a while later; so may every status from 500."""


class Interrupted(Exception):
    """The worker stops, or is no longer the one to fetch it."""


def start(place: Place) -> list[threading.Thread]:
    """Fetches what is due until the worker stops."""
    threads = [threading.Thread(target=_rounds, args=(place,), name="fetch", daemon=True) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    return threads


def _rounds(place: Place) -> None:
    while not place.stopping:
        try:
            while not place.draining and fetch_next(place):
                continue
        except db.AWAY as error:
            log.warning("database_away", error=type(error).__name__)
        except Exception:  # a round that fails must not be the last one
            log.exception("fetching_failed")
        place.over.wait(TICK)


def fetch_next(place: Place, policy: Policy | None = None) -> bool:
    """Takes the oldest dataset that is due and fetches it; False if there was none, or no room for it."""
    taken = _taken(place)
    if taken is None:
        return False
    settings = place.settings
    chosen = policy or Policy(settings.private_networks, seconds=settings.fetch_seconds)
    with structlog.contextvars.bound_contextvars(dataset_id=taken.id, attempt=taken.attempt):
        key = f"uploads/{ids.new('up')}"
        try:
            _fetch(place, chosen, taken, key)
        finally:
            place.artifacts.drop(key)
    return True


def _taken(place: Place) -> Dataset | None:
    with place.database.reading() as session:
        if not imports.any_due(session) or not place.artifacts.has_room(place.settings.least_free_bytes):
            return None
    with place.database.writing() as session:
        return imports.take(session, place.settings.worker_name, place.settings.lease_seconds)


def _fetch(place: Place, policy: Policy, taken: Dataset, key: str) -> None:
    try:
        with _held(place, taken) as lost:
            size, sha256 = _stored(place, policy, taken, key, lost)
            if size:
                _keep(place, taken, key, size, sha256)
        if not size:
            text = "The file is empty; import one with data."
            _fail(place, taken, Failure(error_class="data", code="data_invalid", message=text))
    except OutboundError as error:
        log.info("fetch_tried", error=error.code)
        _unfetched(place, policy, taken, error.code)
    except errors.LimitReached as error:
        _fail(place, taken, Failure(error_class="data", code="limit_reached", message=str(error)))
    except Interrupted:
        with place.database.writing() as session:
            datasets.give_back(session, taken.id, taken.attempt)
    except errors.NoRoom:
        log.warning("no_room")
        with place.database.writing() as session:
            imports.postpone(session, taken, REST, failed=False)
    except Exception:  # the artifact store is away, say: that is not the file's fault
        log.exception("fetching_failed")
        with place.database.writing() as session:
            imports.postpone(session, taken, REST, failed=False)


def _stored(place: Place, policy: Policy, taken: Dataset, key: str, lost: threading.Event) -> tuple[int, str]:
    """Size and SHA-256 of the file, which is in the store under a key that nobody knows yet."""
    assert taken.url is not None
    fetched = outbound.fetch(policy, taken.url, place.settings.max_upload_bytes)
    with closing(fetched) as file:

        async def chunks() -> AsyncIterator[bytes]:
            for chunk in file:
                if place.draining or lost.is_set():
                    raise Interrupted
                yield chunk

        return asyncio.run(_intake(place).put(taken.owner, key, chunks()))


@contextmanager
def _held(place: Place, taken: Dataset) -> Iterator[threading.Event]:
    """Renews the lease for the length of the block; the event says that it is lost."""
    over, lost = threading.Event(), threading.Event()
    thread = threading.Thread(target=_renew, args=(place, taken, over, lost), name="renew", daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        over.set()
        thread.join()


def _renew(place: Place, taken: Dataset, over: threading.Event, lost: threading.Event) -> None:
    while not over.wait(place.settings.heartbeat_seconds):
        try:
            with place.database.writing() as session:
                if not datasets.renew(session, taken.id, taken.attempt, place.settings.lease_seconds):
                    return lost.set()
        except db.AWAY as error:
            log.warning("database_away", error=type(error).__name__)


def _keep(place: Place, taken: Dataset, key: str, size: int, sha256: str) -> None:
    def write(session: Session, path: str) -> bool:
        return imports.keep(session, taken, path, size, sha256, place.settings)

    if _intake(place).keep(taken.owner, key, sha256, write):
        log.info("dataset_fetched", bytes=size)
        queue.hint(queue.READ, taken.id)


def _intake(place: Place) -> Intake:
    return Intake(place.database, place.artifacts, place.settings)


def _unfetched(place: Place, policy: Policy, taken: Dataset, code: str) -> None:
    """Plans another try where that may help. The caller is told one thing whatever the other side did or said: through
    us they shall not find out what answers where."""
    pause = imports.pause_after(taken)
    if pause is not None and (code in PASSING or code.startswith("answered_5")):
        with place.database.writing() as session:
            imports.postpone(session, taken, pause, failed=True)
    elif code == "too_large":
        text = f"A dataset may have at most {place.settings.max_upload_bytes} bytes."
        _fail(place, taken, Failure(error_class="data", code="too_large", message=text))
    else:
        _fail(place, taken, Failure(error_class="data", code="fetch_failed", message=mend(policy)))


def mend(policy: Policy) -> str:
    """What an address must be like, for whoever gave one that is not."""
    ports = ", ".join(map(str, sorted(policy.ports)))
    return (
        f"Nothing could be fetched from this URL. It must be https to a public host, on one of the ports {ports}, and "
        f"must answer GET within {policy.seconds:g} seconds, without a login, with status 200 and the file, after at "
        f"most {outbound.HOPS} redirects to such addresses. Mend it and import it again, or upload the file."
    )


def _fail(place: Place, taken: Dataset, failure: Failure) -> None:
    with place.database.writing() as session:
        datasets.settle(session, taken.id, taken.attempt, None, [], failure)
