"""How a model is trained: a library, spec in, reports out. No database, no HTTP, no queue."""

import os

# Threads that spin while they wait starve each other on a busy machine, a hundredfold. The OpenMP runtime reads this
# when torch is loaded, and whatever of ours loads torch comes by here first.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
