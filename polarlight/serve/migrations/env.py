"""Alembic's entry point: run the steps on the connection that `migrate` holds."""

from alembic import context

from polarlight.serve.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
