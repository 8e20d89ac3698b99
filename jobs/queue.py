"""The doorbell: a message says that there is work and carries an id. Losing every message loses nothing."""

import functools
import queue
import threading

import celery
import structlog

from jobs import settings

TRAIN = "fitd.train"
READ = "fitd.read"
MOST_WAITING = 256
"""Hints that may wait for a slow broker; the reconciler makes up for those that are dropped."""

log = structlog.get_logger()


@functools.cache
def app() -> celery.Celery:
    """The Celery app, for hints and for workers. No results: the database is the record."""
    app = celery.Celery("fitd", broker=settings.current().broker_url)
    app.conf.update(
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_acquire_timeout=1,
        broker_transport_options={
            "socket_timeout": 2,
            "socket_connect_timeout": 1,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "global_keyprefix": "fitd:",
            "max_retries": 1,
            "interval_start": 0,
            "interval_max": 0.2,
        },
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,  # whoever can write to the broker could stop workers by it
        task_default_queue="fitd",
    )
    return app


def hint(task: str, id: str) -> None:
    """Rings for a job (`TRAIN`) or a dataset (`READ`), soon and without waiting. Call it after the commit."""
    try:
        _waiting().put_nowait((task, id))
    except queue.Full:
        log.warning("hint_dropped", task=task, id=id)


@functools.cache
def _waiting() -> queue.Queue[tuple[str, str]]:
    """Hints to come, and a thread that rings them; a process that ends does not wait for either."""
    waiting: queue.Queue[tuple[str, str]] = queue.Queue(MOST_WAITING)

    def rung() -> None:
        while True:
            ring(*waiting.get())

    threading.Thread(target=rung, name="hint", daemon=True).start()
    return waiting


def ring(task: str, id: str) -> bool:
    """Rings now, for at most about two seconds; False if the broker did not take it, which the reconciler mends."""
    try:
        app().send_task(task, args=(id,), retry=False)
    except Exception as error:  # whatever a broker can do to its clients: the row is committed, so nothing is lost
        log.warning("hint_failed", task=task, id=id, error=type(error).__name__)
        return False
    return True
