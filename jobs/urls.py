"""Addresses of other services, as callers write them. One pattern says what is taken, so that no two readers of an
address can take it differently: no user or password, no backslash, nothing that is not ASCII."""

import re
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, Strict

_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]"
_PORT = r"[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_TARGET = r"/[!$-;=?-\[\]_a-z~]*"
PATTERN = f"^(https?)://({_HOST})(?::({_PORT}))?({_TARGET})?$"
"""Also JSON Schema's."""
LONGEST = 2048

_PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """An address in its parts."""

    scheme: str
    host: str
    """As it is looked up: an IPv6 address without its brackets."""
    port: int
    target: str
    """Path and query."""


def parse(text: str) -> Address:
    """The parts of an address.

    Raises:
        ValueError: this is no address that is called here.
    """
    found = re.fullmatch(PATTERN, text) if len(text) <= LONGEST and text.isprintable() else None
    if found is None:
        raise ValueError(
            f"Must be an address https://host[:port][/path] of at most {LONGEST} ASCII characters, without user, "
            "password or fragment."
        )
    scheme, host, port, target = found.groups()
    return Address(scheme, host.strip("[]"), int(port or _PORTS[scheme]), target or "/")


def checked(text: str) -> str:
    """The address as it is, if it is one.

    Raises:
        ValueError: this is no address that is called here.
    """
    parse(text)
    return text


Url = Annotated[
    str, Strict(), AfterValidator(checked), Field(json_schema_extra={"pattern": PATTERN, "maxLength": LONGEST})
]
"""An address in a body."""
