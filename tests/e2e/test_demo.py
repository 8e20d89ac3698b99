"""The demo killed in the middle: its job goes on under the next `fitd up`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from client import stack
from client.sdk import Client
from tests.fleet import LEASE, digits


@pytest.mark.slow
def test_a_killed_demo_goes_on_under_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LEASE.items():
        monkeypatch.setenv(name, value)
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(digits(epochs=1000)))
    fitd, data = [sys.executable, "-m", "client"], ["--data-dir", str(tmp_path / "data")]
    command = [*fitd, "demo", "--spec", str(spec), "--to", str(tmp_path / "results"), *data]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        assert demo.stdout is not None
        job = next(line.split()[0] for line in demo.stdout if " posted: " in line)
        assert any(line.startswith("epoch ") for line in demo.stdout)
        demo.kill()  # everything it started goes with it
    port = stack.free_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen([*fitd, "up", "--port", str(port), *data], stdout=subprocess.DEVNULL) as up:
        try:
            stack.wait(lambda: stack.is_ready(url), "the service", lambda: None)
            with Client(url) as client:
                ended = client.wait(job, timeout=90)
                assert (ended.status, ended.attempt) == ("succeeded", 2)
        finally:
            up.terminate()
