"""Who may ask: the keys of a service, for its operators.

with Client(key=ADMIN) as fitd:
    made = fitd.keys.create("vision-team", scope="submit")
    print(made.token)  # for its holder; it is not shown again
    fitd.keys.revoke(made.id)
"""

from datetime import datetime

from client import http
from client.answers import Answer

PATH = "/v1/keys"


class Key(Answer):
    """A key."""

    id: str
    owner: str
    scope: str
    name: str | None = None
    created_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    token: str | None = None
    """Only where it was just made."""


class Keys:
    """The keys of one service."""

    def __init__(self, wire: http.Wire) -> None:
        self._wire = wire

    def create(self, owner: str, *, scope: str = "submit", name: str | None = None) -> Key:
        """A key with its `token`, which is not shown again."""
        body = {"owner": owner, "scope": scope, "name": name}
        return Key.model_validate_json(self._wire.send("POST", PATH, json=body).content)

    def list(self) -> list[Key]:
        """Every key, newest first."""
        return [Key.model_validate(item) for item in self._wire.pages(PATH, {})]

    def revoke(self, id: str) -> Key:
        """Ends a key for good."""
        return Key.model_validate_json(self._wire.send("DELETE", f"{PATH}/{id}").content)
