"""What Alembic runs to migrate, on the connection that `jobs.migrate` holds."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
