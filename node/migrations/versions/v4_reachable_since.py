"""Since when senders can reach a process: silence before that says nothing."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from node.tables import UtcDateTime

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """Add the column."""
    op.add_column("processes", sa.Column("reachable_since", UtcDateTime))
