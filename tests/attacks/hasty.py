"""The service with little patience, for tests that wait until it ends: `python -m tests.attacks.hasty`."""

from api import __main__ as service
from api import guard

PATIENCE, UNREAD = 1.0, 3.0


def main() -> None:
    """Serves."""
    guard.AHEAD = 200  # a few answers would fit into what the system keeps of them
    guard.PATIENCE, guard.UNREAD, guard.LOOK = PATIENCE, UNREAD, 0.1
    service.main()


if __name__ == "__main__":
    main()
