"""What a run came to, and where its results go and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "outcomes",
        sa.Column("evaluation_id", sa.String(64), primary_key=True),
        sa.Column("fingerprint", sa.String(64), primary_key=True),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        if_not_exists=True,
    )
