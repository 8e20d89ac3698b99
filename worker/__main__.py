"""`python -m worker`: takes jobs until it is told to stop (SIGTERM: saves what runs, gives it back, exits)."""

from jobs import logs, queue, settings
from worker import children, place, reconciler, tasks


def main() -> None:
    """Returns when the worker has drained."""
    options = settings.current()
    logs.configure(options.log_format)
    children.warm()
    here = place.open_(options)
    app = queue.app()
    tasks.register(app, here)
    reconciler.start(here)
    # Two threads more than slots: one reads uploads while all slots train, one answers hints that find no slot free.
    concurrency = str(options.slots + 2)
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
    app.worker_main(
        ["worker", "--pool", "threads", "--concurrency", concurrency, "--hostname", options.worker_name, *quiet]
    )


if __name__ == "__main__":
    main()
