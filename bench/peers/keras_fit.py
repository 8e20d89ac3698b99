"""`Model.fit` of Keras, on the backend that the environment names."""

import time

import jax
import keras
import numpy as np
import torch

from bench.peers.case import Case, Examples, Turn, examples, serve


class _Clock(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.ends.append(time.perf_counter())


def prepare(case: Case) -> Turn:
    torch.set_num_threads(case.threads)
    train, held = examples(case)
    model = _model(case)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss, metrics=["accuracy"])
    x, y = _channels_last(train)
    validation = _channels_last(held) if held else None

    def turn(epochs: int) -> list[float]:
        clock = _Clock()
        model.fit(x, y, batch_size=case.batch, epochs=epochs, validation_data=validation, verbose=0, callbacks=[clock])
        return clock.ends

    return turn


def _channels_last(part: Examples) -> Examples:
    """As Keras has it, and as its CPU kernels like it."""
    return Examples(np.ascontiguousarray(np.moveaxis(part.x, 1, -1)), part.y) if part.x.ndim == 4 else part


def _model(case: Case) -> keras.Sequential:
    shape = (*case.shape[1:], case.shape[0]) if case.channels else case.shape
    model = keras.Sequential([keras.Input(shape)])
    for channels in case.channels:
        model.add(keras.layers.Conv2D(channels, 3, padding="same", activation="relu"))
        model.add(keras.layers.MaxPooling2D(2))
    model.add(keras.layers.Flatten())
    for units in case.hidden:
        model.add(keras.layers.Dense(units, activation="relu"))
    model.add(keras.layers.Dense(case.classes))
    return model


if __name__ == "__main__":
    backend = {"jax": f"JAX {jax.__version__}", "torch": f"torch {torch.__version__}"}[keras.backend.backend()]
    serve(f"Keras {keras.__version__}, {backend}", prepare)
