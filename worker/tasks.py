"""The two things that a message can ask for. It is a permit to try: the database says what there is to do."""

from celery import Celery

from jobs import queue
from worker import profiling, training
from worker.place import Place, draining


def register(app: Celery, place: Place) -> None:
    """Makes the tasks known to this worker's Celery app."""

    @app.task(name=queue.TRAIN)
    def train(id: str) -> None:
        """Works on the best jobs until none is left or the worker stops; without a free slot, not at all."""
        if not place.slots.acquire(blocking=False):
            return
        try:
            while not draining() and training.train_next(place):
                continue
        finally:
            place.slots.release()

    @app.task(name=queue.READ)
    def read(id: str) -> None:
        """Reads uploaded files until none is left or the worker stops."""
        while not draining() and profiling.read_next(place):
            continue
