"""Who trains: Celery, slots, leases, child processes."""
