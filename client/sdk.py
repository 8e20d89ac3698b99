"""Python's way to the service.

from client.sdk import Client

with Client() as fitd:
    job = fitd.submit({"dataset": {"source": "builtin", "name": "digits"}})
    for event in fitd.follow(job.id):
        print(event.message)
    fitd.download(job.id, "model.safetensors", "out")
"""

import itertools
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2
from pydantic import JsonValue, TypeAdapter

from client import answers, errors, http, keys, transfer, webhooks, workers
from client.answers import Dataset, Job
from jobs.spec.job import JobSpec

DEFAULT_URL = "http://127.0.0.1:8000"
SILENCE = 60.0
"""Seconds without even a ping after which an event stream counts as broken; the service pings every 15."""
SHORTEST_LOOK, LONGEST_LOOK = 0.1, 2.0
"""Seconds between two looks of whoever waits: a tenth of the time so far, within these."""
ROWS_AT_ONCE = 1000
"""The service takes no more in one call."""

Spec = JobSpec | Mapping[str, Any]
Item = TypeVar("Item", bound=answers.Answer)
Found = TypeVar("Found")


class Client:
    """One service. Calls raise `errors.ApiError` where it refuses and `errors.Unreachable` where it is not there;
    whatever is safe to repeat has been repeated by then."""

    def __init__(
        self, base_url: str = DEFAULT_URL, *, key: str | None = None, timeout: float = 30.0, attempts: int = 5
    ) -> None:
        """`key` as its operator gave it to you, by default what is in `FITD_KEY`; a service on your own machine needs
        none. `timeout` in seconds per read or write, `attempts` per call."""
        self._wire = http.Wire(base_url, key or os.environ.get("FITD_KEY"), timeout, attempts)
        self.webhooks = webhooks.Webhooks(self._wire)
        """Who is told of changes of jobs."""
        self.workers = workers.Workers(self._wire)
        """Who trains."""
        self.keys = keys.Keys(self._wire)
        """Who may ask."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the sockets."""
        self._wire.close()

    # Jobs

    def validate(self, spec: Spec) -> answers.Validation:
        """What the spec would become and cost; nothing is stored."""
        return answers.Validation.model_validate_json(self._post("/v1/jobs/validate", json=_body(spec)))

    def submit(self, spec: Spec, *, idempotency_key: str | None = None) -> Job:
        """Puts a job in the queue. It always sends a key, so a repeated try never makes a second job; give your
        own to make that hold over several calls."""
        key = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return Job.model_validate_json(self._post("/v1/jobs", json=_body(spec), headers=key))

    def job(self, id: str) -> Job:
        """The job now."""
        return Job.model_validate_json(self._get(f"/v1/jobs/{id}"))

    def jobs(
        self,
        *,
        status: str | Sequence[str] | None = None,
        name: str | None = None,
        dataset: str | None = None,
        metadata: Mapping[str, str] | None = None,
        created_after: str | None = None,
        created_before: str | None = None,
        limit: int = 100,
    ) -> Iterator[Job]:
        """All jobs that fit, newest first, fetched `limit` (at most 200) at a time. Times are RFC 3339."""
        filters = {"status": status, "name": name, "dataset": dataset, "limit": limit}
        times = {"created_after": created_after, "created_before": created_before}
        pairs = {f"metadata[{key}]": value for key, value in (metadata or {}).items()}
        return self._pages("/v1/jobs", Job, http.query({**filters, **times, **pairs}))

    def wait(self, id: str, timeout: float | None = None) -> Job:
        """The job once it has ended, or `TooSlow` after `timeout` seconds."""
        return _poll(lambda: self.job(id), lambda job: job.is_terminal, timeout, id)

    def follow(self, id: str, *, after: int = 0) -> Iterator[answers.Event]:
        """Every event behind number `after`, live, each once, up to the terminal one. Broken streams are taken up
        where they broke; `Unreachable` after a minute or so of trying."""
        failures = 0
        while failures < 10:
            try:
                for event in self._events(id, after):
                    after, failures = event.seq, 0
                    yield event
                    if event.is_terminal:
                        return
                if self.job(id).is_terminal:
                    return
            except errors.Unreachable:
                failures += 1
            time.sleep(http.backoff(failures + 3))
        raise errors.Unreachable(f"the events of {id} broke off after number {after}")

    def metrics(
        self,
        id: str,
        *,
        names: Sequence[str] | None = None,
        from_step: int | None = None,
        to_step: int | None = None,
        max_points: int | None = None,
    ) -> dict[str, list[answers.Point]]:
        """The history by metric, in order of steps; over `max_points` per metric it is thinned so that spikes stay."""
        params = http.query({"names": names, "from_step": from_step, "to_step": to_step, "max_points": max_points})
        return answers.History.model_validate_json(self._get(f"/v1/jobs/{id}/metrics", params=params)).data

    def diagnostics(self, id: str) -> answers.Diagnostics:
        """What a run says about itself: findings with a JSON patch each for the next spec, and the gradients' flow."""
        return answers.Diagnostics.model_validate_json(self._get(f"/v1/jobs/{id}/diagnostics"))

    def cancel(self, id: str) -> Job:
        """Asks for the end of a job; one that has ended is a 409."""
        return Job.model_validate_json(self._post(f"/v1/jobs/{id}/cancel"))

    def pause(self, id: str) -> Job:
        """Takes a job out of the queue, or saves a running one and frees its slot."""
        return Job.model_validate_json(self._post(f"/v1/jobs/{id}/pause"))

    def resume(self, id: str) -> Job:
        """Puts a paused job back into the queue."""
        return Job.model_validate_json(self._post(f"/v1/jobs/{id}/resume"))

    def retry(self, id: str) -> Job:
        """A new job with the spec of one that ended without success."""
        return Job.model_validate_json(self._post(f"/v1/jobs/{id}/retry"))

    def patch(self, id: str, **changes: JsonValue) -> Job:
        """Changes `priority`, `metadata` or `name`."""
        return Job.model_validate_json(self._wire.send("PATCH", f"/v1/jobs/{id}", json=changes).content)

    def delete(self, id: str) -> None:
        """Removes an ended job and its files."""
        self._wire.send("DELETE", f"/v1/jobs/{id}")

    def checkpoints(self, id: str) -> list[answers.Checkpoint]:
        """The saved weights of a job."""
        return list(self._pages(f"/v1/jobs/{id}/checkpoints", answers.Checkpoint, {}))

    def artifacts(self, id: str) -> list[answers.File]:
        """The results of a job."""
        return list(self._pages(f"/v1/jobs/{id}/artifacts", answers.File, {}))

    def log(self, id: str) -> list[answers.LogLine]:
        """What the run wrote."""
        return list(self._pages(f"/v1/jobs/{id}/log", answers.LogLine, {"limit": 1000}))

    def download(self, id: str, name: str, to: str | Path) -> Path:
        """Fetches an artifact, or a checkpoint by its id, into the folder `to`, going on where an earlier try broke
        off. The file appears under its name only once its SHA-256 is right."""
        files = itertools.chain(self.artifacts(id), self.checkpoints(id) if name.startswith("ckpt_") else ())
        found = next((file for file in files if name in (file.name, file.id)), None)
        if found is None:
            raise errors.ClientError(f"{id} has no artifact {name}")
        return transfer.download(self._wire, found.content, found.sha256, Path(to) / found.name)

    def predict(self, id: str, rows: Sequence[Mapping[str, Any]]) -> list[answers.Prediction]:
        """What the job's model says of rows shaped like those it was trained on, in their order."""
        found: list[answers.Prediction] = []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            body = {"rows": [dict(row) for row in rows[start : start + ROWS_AT_ONCE]]}
            page = self._wire.send("POST", f"/v1/jobs/{id}/predict", json=body).json()
            found += map(answers.Prediction.model_validate, page["data"])
        return found

    # Datasets

    def upload(self, data: str | Path | bytes, *, name: str | None = None) -> Dataset:
        """Sends a file (CSV, TSV, Parquet, NPZ, zip of class folders), or its bytes with a `name` that tells the
        format by its suffix. Jobs may use it at once; `wait_dataset` tells what was found in it."""
        return Dataset.model_validate_json(transfer.upload(self._wire, "/v1/datasets", data, name))

    def import_dataset(self, url: str, *, name: str | None = None) -> Dataset:
        """Has the service fetch a file from an `https` URL. Jobs may use it at once; `wait_dataset` tells what was
        found in it, or why it could not be fetched."""
        return Dataset.model_validate_json(self._post("/v1/datasets", json=http.query({"url": url, "name": name})))

    def dataset(self, id: str) -> Dataset:
        """The dataset now."""
        return Dataset.model_validate_json(self._get(f"/v1/datasets/{id}"))

    def datasets(self, *, limit: int = 100) -> Iterator[Dataset]:
        """All uploaded datasets."""
        return self._pages("/v1/datasets", Dataset, {"limit": limit})

    def wait_dataset(self, id: str, timeout: float | None = None) -> Dataset:
        """The dataset once it is `ready` or `invalid`, or `TooSlow` after `timeout` seconds."""
        return _poll(lambda: self.dataset(id), lambda dataset: dataset.status != "profiling", timeout, id)

    def preview(self, id: str, *, limit: int = 10) -> list[answers.Values]:
        """The first rows, as read."""
        body = self._wire.send("GET", f"/v1/datasets/{id}/rows", params={"limit": limit}).json()
        return TypeAdapter(list[answers.Values]).validate_python(body["data"])

    def delete_dataset(self, id: str) -> None:
        """Removes a dataset that no unfinished job needs."""
        self._wire.send("DELETE", f"/v1/datasets/{id}")

    # The wire

    def _get(self, path: str, **request: Any) -> bytes:
        return self._wire.send("GET", path, **request).content

    def _post(self, path: str, **request: Any) -> bytes:
        return self._wire.send("POST", path, **request).content

    def _pages(self, path: str, item: type[Item], params: Mapping[str, Any]) -> Iterator[Item]:
        return map(item.model_validate, self._wire.pages(path, params))

    def _events(self, id: str, after: int) -> Iterator[answers.Event]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        with self._wire.stream("GET", f"/v1/jobs/{id}/events", headers=headers, timeout=SILENCE) as response:
            for message in httpx2.EventSource(response) if response.status_code == 200 else ():  # 204: no more
                if message.data:
                    yield answers.Event.model_validate_json(message.data)


def _body(spec: Spec) -> Any:
    return spec.model_dump(mode="json") if isinstance(spec, JobSpec) else dict(spec)


def _poll(look: Callable[[], Found], done: Callable[[Found], bool], timeout: float | None, id: str) -> Found:
    began = time.monotonic()
    deadline = math.inf if timeout is None else began + timeout
    while not done(found := look()):
        now = time.monotonic()
        if now >= deadline:
            raise errors.TooSlow(f"{id} did not end within {timeout:g} s; it goes on")
        time.sleep(min(max(SHORTEST_LOOK, (now - began) / 10), LONGEST_LOOK, deadline - now))
    return found
