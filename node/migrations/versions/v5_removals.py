"""Studies that are being removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from node.tables import UtcDateTime

revision = "5"
down_revision = "4"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "removals",
        sa.Column("study_uid", sa.String(64), primary_key=True),
        sa.Column("removed_at", UtcDateTime, nullable=False),
        sa.Column("swept_at", UtcDateTime),
        if_not_exists=True,
    )
