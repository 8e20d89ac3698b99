"""`python -m bench.anatomy`: where the time of a small training step goes, part by part, in microseconds.

The network is that of `bench.speed`'s smallest case, 16-128-64-10 with batches of 128 rows.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import trainer  # noqa: F401  isort: skip  before torch: it says how threads wait
import torch

from bench import machine, pages
from jobs.spec.init import HeNormal
from jobs.spec.job import JobSpec
from jobs.spec.loss import CrossEntropy
from jobs.spec.model import Activation, Dense, Layer
from trainer.model import network, products
from trainer.model.layers import Pass
from trainer.model.precision import LossScale
from trainer.objective import Objective, Target
from trainer.optimizers import Updater
from trainer.step import Step

WIDTHS, ROWS = (16, 128, 64, 10), 128
REPEATS, ROUNDS = 1000, 9


def main() -> None:
    """Prints the table; `--write` renews it in a page."""
    parser = argparse.ArgumentParser(prog="python -m bench.anatomy", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", type=Path, help="a Markdown file to renew the table of")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [(name, f"{microseconds(part):.1f}") for name, part in parts()]
    head = (
        f"`python -m bench.anatomy` on {machine.processor()}, {options.threads} threads; least of {ROUNDS} rounds.\n\n"
    )
    text = head + pages.table(("part of a step of 16-128-64-10", "µs"), rows)
    print(text)
    if options.write:
        pages.renew(options.write, text, "anatomy")


def parts() -> Iterator[tuple[str, Callable[[], object]]]:
    """The whole step first, then what it consists of."""
    hidden: list[Layer] = []
    for width in WIDTHS[1:-1]:
        hidden += [Dense(units=width, init=HeNormal()), Activation(function="relu")]
    net = network.build([*hidden, Dense(units=WIDTHS[-1], init=HeNormal())], WIDTHS[:1], [0], "cpu")
    spec = JobSpec.model_validate({"dataset": {"source": "builtin", "name": "iris"}})
    objective, updater = Objective(CrossEntropy(), None), Updater(spec, net.parameters)
    step, how, scale = Step(net, objective, updater), Pass(True, []), LossScale(active=False)
    x, targets = torch.randn(1, ROWS, WIDTHS[0]), [Target(torch.randint(0, WIDTHS[-1], (1, ROWS)))]
    z, backs = net.forward(x, how)
    _, gradient = objective(z, targets)
    yield "whole step", lambda: step(x, targets, how, scale, [1e-3], 5)
    yield "forward", lambda: net.forward(x, how)
    yield "loss and its gradient", lambda: objective(z, targets)
    yield "backward", lambda: net.backward(gradient, backs)
    yield "adam", lambda: updater.step([1e-3], 5)
    yield "the eight products alone", lambda: _products(net)


def _products(net: network.Network) -> None:
    for place, (inputs, outputs) in enumerate(zip(WIDTHS, WIDTHS[1:], strict=False)):
        name, x, g = f"{2 * place}.weight", torch.zeros(1, ROWS, inputs), torch.zeros(1, ROWS, outputs)
        products.forward(x, net.weights[name], net.weights[f"{2 * place}.bias"], None)
        products.to_weight(g, x, net.parameters.gradient[name], None)
        if place:
            products.to_input(g, net.weights[name], None)


def microseconds(part: Callable[[], object]) -> float:
    """Of one call; the least of several rounds."""
    least = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(REPEATS):
            part()
        least = min(least, (time.perf_counter() - began) / REPEATS)
    return least * 1e6


if __name__ == "__main__":
    main()
