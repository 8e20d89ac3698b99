"""Who takes part in `bench.speed`: one module each, run as a process of its own."""
