"""`python -m client` is `fitd`."""

from client import cli

cli.main()
