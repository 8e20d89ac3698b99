"""The first key, made where the database is: `python -m jobs.mint OWNER [read|submit|admin]` prints its token."""

import sys
from typing import cast

from jobs import db, keys, settings
from jobs.tables.keys import Scope


def main(arguments: list[str]) -> int:
    """Exit code 2 where it is called wrongly."""
    if len(arguments) not in (1, 2) or (len(arguments) == 2 and arguments[1] not in keys.SCOPES):
        sys.stderr.write("usage: python -m jobs.mint OWNER [read|submit|admin]\n")
        return 2
    scope = cast(Scope, arguments[1]) if len(arguments) == 2 else "admin"
    with db.connect(settings.current().database).writing() as session:
        token = keys.create(session, arguments[0], scope, "minted").token
    sys.stdout.write(token + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
