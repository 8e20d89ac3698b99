"""scikit-learn's `MLPClassifier`, an epoch a call; training loss, and accuracy of the validation rows."""

import time

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier

from bench.peers.case import Case, Turn, examples, serve


def prepare(case: Case) -> Turn:
    train, held = examples(case)
    model = MLPClassifier(case.hidden, batch_size=case.batch, alpha=0.0)
    classes = np.arange(case.classes)

    def turn(epochs: int) -> list[float]:
        ends = []
        for _ in range(epochs):
            model.partial_fit(train.x, train.y, classes=classes)
            if held:
                model.score(held.x, held.y)
            ends.append(time.perf_counter())
        return ends

    return turn


if __name__ == "__main__":
    serve(f"scikit-learn {sklearn.__version__}", prepare)
