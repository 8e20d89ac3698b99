"""What an operator sets, from the environment: `FITD_DATABASE_URL`, `FITD_BROKER_URL`, …"""

import functools
import os
import socket
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from jobs.allowances import USUAL, Allowance


def _listed(text: object) -> object:
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else text


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_listed)]
"""Written with commas between them."""


class Settings(BaseSettings):
    """Read once per process; the defaults are the embedded stack of one machine."""

    model_config = SettingsConfigDict(env_prefix="FITD_", frozen=True, use_attribute_docstrings=True)

    data_dir: Path = Path(".data")
    """Holds everything of the embedded stack: database, artifacts, broker, scratch files."""
    database_url: str = ""
    """`sqlite:///path` or `postgresql+psycopg://…`; empty: `fitd.db` in the data directory."""
    broker_url: str = "redis://127.0.0.1:6379/0"
    """Redis or Valkey; `redis+socket:///path` for a Unix socket."""
    artifacts_url: str = ""
    """`file:///path` or `s3://bucket/prefix` (credentials from `AWS_*`); empty: `artifacts` in the data directory."""
    host: str = "127.0.0.1"
    """Where the api listens. On loopback nobody needs a key, elsewhere everybody does."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port of the api; 0 takes a free one."""
    behind_proxy: bool = False
    """A proxy of yours is in front of the api: what it says of callers' addresses is believed, and keys are needed."""
    require_keys: bool = False
    """Keys are needed on loopback, too."""
    requests_per_second: float = Field(default=50, gt=0)
    """Of one owner, by one api process, on average; twice as many may come at once. Without keys there is no limit."""
    wrong_keys_per_minute: int = Field(default=20, ge=1)
    """From one address; then no key from there is looked at that this process has not found right within the hour.
    Behind a second proxy see `deploy/nginx.conf`: its callers share one address."""
    max_waiting_jobs: int = Field(default=10_000, ge=1)
    """Jobs of one owner that may wait in the queue, paused ones included."""
    max_stored_bytes: int = Field(default=100 * 1024**3, ge=1)
    """Of one owner's datasets together, with their profiles and previews, and of specs of over 16 KiB, twice each."""
    max_recorded_bytes: int = Field(default=100 * 1024**3, ge=1)
    """Of one owner's jobs on record, ended ones included: 4 KiB and twice the spec each. `FITD_KEEP_JOBS_DAYS` removes
    old ones."""
    max_result_bytes: int = Field(default=USUAL.result_bytes, ge=1)
    """Of one owner's checkpoints and results together, ended jobs included; those that have not ended count with their
    estimate if that is more. Beyond it no job is taken, and those that were taken go on. `FITD_KEEP_CHECKPOINTS_DAYS`
    and `FITD_KEEP_JOBS_DAYS` remove old ones."""
    max_job_memory_bytes: int = Field(default=USUAL.memory_bytes, ge=1)
    """Of one job: by estimate when it is submitted, and held while it trains without a GPU."""
    max_job_disk_bytes: int = Field(default=USUAL.disk_bytes, ge=1)
    """Of one job's checkpoints and results, by estimate; no file of it becomes larger."""
    max_job_seconds: float = Field(default=USUAL.seconds, gt=0)
    """Of one job's active time, by estimate and while it trains: it ends then as by its own `max_time`."""
    max_job_points: int = Field(default=USUAL.points, ge=1)
    """Metric values of one job, by estimate."""
    docs: bool = True
    """Serves Swagger UI at `/docs`."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Serves `/metrics` on a port of its own, for Prometheus alone; 0 serves it beside the api."""
    metrics_host: str = ""
    """Where that port listens, for whoever can reach it: nobody needs a key there. Empty: as `FITD_HOST`."""
    migrate: bool = False
    """The api brings the database's schema up to date before it serves; for a stack of one machine."""
    slots: int = Field(default=1, ge=1, le=256)
    """Jobs that one worker runs at a time: one per GPU, or per few CPU cores."""
    threads: int = Field(default=0, ge=0, le=1024)
    """Cores for each of them; 0 shares out evenly what the worker may use."""
    worker_name: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    """Shown as the holder of a lease."""
    lease_seconds: float = Field(default=30, gt=0)
    """A running job whose worker has been silent for this long is given to another."""
    heartbeat_seconds: float = Field(default=10, gt=0)
    """How often a worker renews its leases; at most a third of `lease_seconds`."""
    stall_seconds: float = Field(default=900, gt=0)
    """A training process that says nothing for this long is taken for hung, and its job is tried again."""
    least_free_bytes: int = Field(default=256 * 1024**2, ge=0)
    """Free disk space below which workers take no jobs, uploads are refused and `/readyz` fails."""
    max_requests: int = Field(default=32, ge=1)
    """Requests that one api process works on at once; more are answered 503 with `Retry-After`. Three quarters of them
    may be one owner's, fewer while others ask."""
    max_streams: int = Field(default=256, ge=1)
    """Event streams that one api process keeps open at once; an eighth of them may be one owner's."""
    max_connections_per_address: int = Field(default=256, ge=0)
    """Connections to one api process; more are closed. 0, and behind a proxy: no bound."""
    max_upload_bytes: int = Field(default=2 * 1024**3, gt=0)
    """Largest dataset accepted."""
    max_body_bytes: int = Field(default=8 * 1024**2, gt=0)
    """Largest JSON body accepted."""
    max_bodies_bytes: int = Field(default=128 * 1024**2, gt=0)
    """JSON bodies that one api process holds at once, together; the first 64 KiB of each are not counted. Others wait:
    they are answered 503 with `Retry-After`."""
    model_cache_bytes: int = Field(default=1024**3, gt=0)
    """Models that the api holds ready to predict, as bytes of their files; a larger one is not served. One at a time is
    loaded, and takes three times its file while it is."""
    reader_memory_bytes: int = Field(default=8 * 1024**3, gt=0)
    """Address space of the process that parses an uploaded file."""
    reader_seconds: float = Field(default=300, gt=0)
    """Time that parsing an uploaded file may take."""
    fetch_seconds: float = Field(default=600, gt=0)
    """Time that one try to fetch a dataset from a URL may take, redirects included."""
    deliver: bool = True
    """Workers send webhooks and fetch datasets from URLs. Where they cannot reach out, `python -m worker.courier` does
    it for them."""
    private_networks: Networks = ()
    """Networks that webhooks and URLs of datasets may be in though they are not public, like `10.0.0.0/8, fd00::/8`;
    there, `http` and any port will do. Elsewhere only `https` to public addresses."""
    keep_checkpoints_days: float = Field(default=0, ge=0)
    """Checkpoints of ended jobs but the best are removed after so many days; 0 keeps them."""
    keep_metrics_days: float = Field(default=0, ge=0)
    """Metrics of ended jobs are removed after so many days; 0 keeps them."""
    keep_events_days: float = Field(default=0, ge=0)
    """Log lines of ended jobs, and events of how they went on, are removed after so many days; 0 keeps them. Events of
    their beginning and end stay."""
    keep_jobs_days: float = Field(default=0, ge=0)
    """Ended jobs are removed after so many days with all that is theirs; 0 keeps them."""
    keep_deliveries_days: float = Field(default=30, ge=0)
    """Messages to webhooks that were delivered or given up are removed after so many days; 0 keeps them, but of those
    to one webhook only the newest 100,000."""
    keep_audit_days: float = Field(default=365, ge=0)
    """Entries of the audit are removed after so many days; 0 keeps them."""
    scratch_bytes: int = Field(default=50 * 1024**3, gt=0)
    """Local copies of datasets that a machine keeps, as bytes; those not used for longest go first."""
    log_format: Literal["console", "json"] = "console"
    """`json` gives one object per line."""

    @property
    def database(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'fitd.db').resolve()}"

    @property
    def artifacts(self) -> str:
        """The artifact store's URL."""
        return self.artifacts_url or (self.data_dir / "artifacts").resolve().as_uri()

    @property
    def allowance(self) -> Allowance:
        """What one job may take, and the files of all an owner's jobs."""
        of_one = self.max_job_memory_bytes, self.max_job_disk_bytes, self.max_job_seconds, self.max_job_points
        return Allowance(*of_one, self.max_result_bytes)

    @property
    def scratch(self) -> Path:
        """Files of running children; safe to delete while nothing runs."""
        return self.data_dir / "scratch"


@functools.cache
def current() -> Settings:
    """The settings of this process."""
    return Settings()
