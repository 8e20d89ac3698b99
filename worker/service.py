"""What a worker process runs, from its first connection until it has drained."""

from jobs import logs, queue, settings
from worker import children, place, reconciler, tasks


def main() -> None:
    """Takes jobs until it is told to stop."""
    options = settings.current()
    logs.configure(options.log_format)
    here = place.open_(options)
    app = queue.app()
    tasks.register(app, here)
    children.await_warmth()
    reconciler.start(here)
    # Two threads more than slots: one reads uploads while all slots train, one answers hints that find no slot free.
    concurrency = str(options.slots + 2)
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    pool = ["--pool", "threads", "--concurrency", concurrency, "--hostname", options.worker_name]
    app.worker_main(["--quiet", "worker", *pool, *quiet])
