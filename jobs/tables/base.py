"""What all tables share."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import JsonValue
from sqlalchemy.orm import DeclarativeBase

from jobs.db import Prose, Timestamp


def partial(name: str, *columns: Any, where: str) -> sa.Index:
    """An index of the rows that a condition holds for."""
    return sa.Index(name, *columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


class Table(DeclarativeBase):
    """All tables of fitd."""

    metadata = sa.MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ix": "%(table_name)s_by_%(column_0_name)s",
        }
    )
    type_annotation_map = {datetime: Timestamp, str: Prose, dict[str, JsonValue]: sa.JSON(none_as_null=True)}
