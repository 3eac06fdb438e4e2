"""Why Instances were refused, associations broke off and Studies were removed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from node.tables import UtcDateTime

revision = "8"
down_revision = "7"


def upgrade() -> None:
    """Add the reasons, and the book of what was removed."""
    op.add_column("associations", sa.Column("reason", sa.Text, nullable=False, server_default=""))
    op.add_column("carried", sa.Column("refusal", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "removed_studies",
        sa.Column("study_uid", sa.String(64), primary_key=True),
        sa.Column("removed_at", UtcDateTime, nullable=False, index=True),
        sa.Column("removed_by", sa.Text, nullable=False),
    )
