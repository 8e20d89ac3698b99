"""`python -m worker.courier`: sends webhooks, fetches datasets from URLs and does nothing else, where workers that
train cannot reach out."""

import signal

from jobs import logs, settings
from worker import delivering, fetching, place


def main() -> None:
    """Works until SIGTERM or SIGINT; a try that its end cuts off is made again."""
    options = settings.current()
    logs.configure(options.log_format)
    here = place.open_(options, [])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: here.over.set())
    for thread in (delivering.start(here), *fetching.start(here)):
        thread.join()


if __name__ == "__main__":
    main()
