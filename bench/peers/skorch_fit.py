"""skorch's `NeuralNetClassifier`: loss of both parts, accuracy of the validation rows only, as is its default."""

import time

import skorch
import torch
from skorch.callbacks import Callback
from skorch.dataset import Dataset
from skorch.helper import predefined_split

from bench.peers import modules
from bench.peers.case import Case, Turn, examples, serve


class _Clock(Callback):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_epoch_end(self, net: object, **ignored: object) -> None:
        self.ends.append(time.perf_counter())


def prepare(case: Case) -> Turn:
    torch.set_num_threads(case.threads)
    train, held = examples(case)
    clock = _Clock()
    net = skorch.NeuralNetClassifier(
        modules.network(case),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        batch_size=case.batch,
        iterator_train__shuffle=True,
        train_split=predefined_split(Dataset(held.x, held.y)) if held else None,
        callbacks=[("clock", clock)],
        verbose=0,
    ).initialize()
    clock = dict(net.callbacks_)["clock"]

    def turn(epochs: int) -> list[float]:
        before = len(clock.ends)
        net.partial_fit(train.x, train.y, epochs=epochs)
        return clock.ends[before:]

    return turn


if __name__ == "__main__":
    serve(f"skorch {skorch.__version__}", prepare)
