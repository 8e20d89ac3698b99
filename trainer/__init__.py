"""How a model is trained: a library, spec in, reports out. No database, no HTTP, no queue."""

import os

# A thread that waits spins for some microseconds and sleeps then. Longer, threads starve each other on a busy machine;
# shorter, waking up takes longer than the work between two waits. The OpenMP runtime reads this when torch is loaded,
# and whatever of ours loads torch comes by here first.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
