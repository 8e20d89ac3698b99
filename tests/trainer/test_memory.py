"""Memory that really runs out, in a process of its own."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource
import torch
from tests.trainer.samples import as_given, laid_down
from trainer.fit import fit

data = as_given(torch.zeros(2**16, 64), torch.arange(2**16) % 2, 2)
spec = laid_down(
    task="classification",
    loss={"kind": "cross_entropy"},
    batch_size={"kind": "largest", "at_most": 2**16},
    model={"kind": "sequential", "layers": [{"kind": "dense", "units": 4096, "init": {"kind": "he_normal"}}]},
    epochs=1,
)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 700 * 2**20,) * 2)
first = next(fit(spec, data)).report
print([(one.rule, one.value) for one in first.decisions if one.rule == "batch.probe"], first.decisions[0].why)
"""


def test_the_probe_backs_off_until_a_step_fits() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rule, why = done.stdout.split("]")
    size = int(rule.split()[-1].strip("()"))
    assert 1024 <= size <= 2**14
    assert "65536" in why


PARTS = """
import resource
import sys
import torch
from jobs.spec.explained import Background
from tests.trainer.samples import as_given, laid_down
from trainer.fit import fit

rows = 2**14
data = as_given(torch.zeros(rows, 64), torch.arange(rows) % 2, 2)
wide = [
    {"kind": "dense", "units": 4096, "init": {"kind": "he_normal"}},
    {"kind": "activation", "function": "relu"},
    {"kind": "dropout", "rate": 0.5},
]
spec = laid_down(
    task="classification",
    loss={"kind": "cross_entropy"},
    batch_size=rows,
    model={"kind": "sequential", "layers": wide},
    epochs=1,
)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 800 * 2**20,) * 2)
print(list(fit(spec, data, background=Background(micro_batches=int(sys.argv[1]))))[-1].report.epoch)
"""


@pytest.mark.slow
def test_what_does_not_fit_as_a_whole_fits_in_parts() -> None:
    """Each layer's output is 256 MiB."""
    whole, parts = (subprocess.run([sys.executable, "-c", PARTS, n], capture_output=True, text=True) for n in "18")
    assert (parts.returncode, parts.stdout) == (0, "1\n"), parts.stderr
    assert whole.returncode != 0
    assert "DefaultCPUAllocator" in whole.stderr
