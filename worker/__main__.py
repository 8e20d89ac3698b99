"""`python -m worker`: takes jobs until it is told to stop (SIGTERM: saves what runs, gives it back, exits).

The process that children are forked from is started first, so that it loads torch while this one loads the rest.
"""

import importlib

from worker import children

if __name__ == "__main__":
    children.warm()
    importlib.import_module("worker.service").main()
