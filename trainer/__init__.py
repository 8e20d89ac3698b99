"""How a model is trained: a library, spec in, reports out. No database, no HTTP, no queue."""
