"""Processes that share the work, Studies that go first, and evaluations that took their process with them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from node.tables import UtcDateTime

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Add them."""
    op.create_table(
        "processes",
        sa.Column("process_id", sa.String(64), primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("roles", sa.Text, nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("started_at", UtcDateTime, nullable=False),
    )
    op.add_column("studies", sa.Column("is_urgent", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column(
        "evaluations", sa.Column("is_urgent", sa.Boolean, nullable=False, server_default=sa.false())
    )
    op.add_column("evaluations", sa.Column("lost", sa.Integer, nullable=False, server_default="0"))
