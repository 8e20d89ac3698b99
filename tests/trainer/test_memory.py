"""Memory that really runs out, in a process of its own."""

import subprocess
import sys

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
