"""The fleet."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from jobs.tables.base import Table


class Worker(Table):
    """A worker process, from its start until it stops or is forgotten."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    """Its last heartbeat."""
    slots: Mapped[int]
    threads: Mapped[int]
    """Cores for each slot."""
    gpus: Mapped[list[str]] = mapped_column(sa.JSON)
    """Their names."""
    versions: Mapped[dict[str, str]] = mapped_column(sa.JSON)
    """Of fitd, Python, torch and the spec's language."""
    drain_asked: Mapped[bool] = mapped_column(default=False)
    """It hands back what it runs and takes nothing until that is taken back."""
