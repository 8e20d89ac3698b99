"""All tables: whoever takes one from here has them all in `Table.metadata`."""

from jobs.tables.base import Table
from jobs.tables.datasets import Dataset
from jobs.tables.jobs import IS_HELD, IS_READY, Attempt, Event, File, IdempotencyKey, Job, LogLine, Metric
from jobs.tables.keys import Audit, Key, Scope
from jobs.tables.webhooks import Delivery, Webhook
from jobs.tables.workers import Worker

__all__ = [
    "IS_HELD",
    "IS_READY",
    "Attempt",
    "Audit",
    "Dataset",
    "Delivery",
    "Event",
    "File",
    "IdempotencyKey",
    "Job",
    "Key",
    "LogLine",
    "Metric",
    "Scope",
    "Table",
    "Webhook",
    "Worker",
]
