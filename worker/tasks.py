"""The two things that a message can ask for. It is a permit to try: the database says what there is to do."""

from celery import Celery

from jobs import queue
from worker import slots
from worker.place import Place


def register(app: Celery, place: Place) -> None:
    """Makes the tasks known to this worker's Celery app. What a message carries is of no matter to them."""

    @app.task(name=queue.TRAIN)
    def train(*_: object, **__: object) -> None:
        slots.train(place)

    @app.task(name=queue.READ)
    def read(*_: object, **__: object) -> None:
        slots.read(place)
