"""All tables together, for whoever makes or empties a database."""

from jobs.tables import datasets, jobs, keys, webhooks, workers
from jobs.tables.base import Table

ROOMS = (datasets, jobs, keys, webhooks, workers)
METADATA = Table.metadata
