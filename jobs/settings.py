"""What an operator sets, from the environment: `FITD_DATABASE_URL`, `FITD_BROKER_URL`, …"""

import functools
import os
import socket
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


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
    """Where the api listens. There are no keys yet, so anything but loopback needs `behind_proxy`."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port of the api; 0 takes a free one."""
    behind_proxy: bool = False
    """Says that only a proxy of yours can reach the api, so that it may listen on other addresses than loopback."""
    migrate: bool = False
    """The api brings the database's schema up to date before it serves; for a stack of one machine."""
    slots: int = Field(default=1, ge=1, le=256)
    """Jobs that one worker runs at a time: one per GPU, or per few CPU cores."""
    worker_name: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    """Shown as the holder of a lease."""
    lease_seconds: float = Field(default=30, gt=0)
    """A running job whose worker has been silent for this long is given to another."""
    heartbeat_seconds: float = Field(default=10, gt=0)
    """How often a worker renews its leases; at most a third of `lease_seconds`."""
    max_upload_bytes: int = Field(default=2 * 1024**3, gt=0)
    """Largest dataset accepted."""
    max_body_bytes: int = Field(default=8 * 1024**2, gt=0)
    """Largest JSON body accepted."""
    model_cache_bytes: int = Field(default=1024**3, gt=0)
    """Models that the api holds ready to predict, as bytes of their files; a larger one is not served."""
    reader_memory_bytes: int = Field(default=8 * 1024**3, gt=0)
    """Address space of the process that parses an uploaded file."""
    reader_seconds: float = Field(default=300, gt=0)
    """Time that parsing an uploaded file may take."""
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
    def scratch(self) -> Path:
        """Files of running children; safe to delete while nothing runs."""
        return self.data_dir / "scratch"


@functools.cache
def current() -> Settings:
    """The settings of this process."""
    return Settings()
