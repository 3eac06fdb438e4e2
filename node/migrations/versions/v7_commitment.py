"""Storage Commitment: what destinations were asked to take responsibility for, and when they did."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from node.tables import UtcDateTime

revision = "7"
down_revision = "6"


def upgrade() -> None:
    """Add the table, the times and the remark."""
    op.add_column("deliveries", sa.Column("sent_at", UtcDateTime))
    remark = sa.Column("sent_remark", sa.Text, nullable=False, server_default="")
    op.add_column("deliveries", remark)
    op.add_column("deliveries", sa.Column("committed_at", UtcDateTime))
    op.create_table(
        "commitment_requests",
        sa.Column("transaction_uid", sa.String(64), primary_key=True),
        sa.Column("evaluation_id", sa.String(64), nullable=False, index=True),
        sa.Column("destination", sa.String(64), nullable=False),
        sa.Column("sop_instance_uids", sa.Text, nullable=False),
        sa.Column("asked_at", UtcDateTime, nullable=False),
    )
