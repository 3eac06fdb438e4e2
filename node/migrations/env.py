"""What Alembic runs to take steps: always over the connection that it is given."""

from __future__ import annotations

from alembic import context

from node.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
