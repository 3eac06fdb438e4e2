"""Indexes that find the few Studies with which something is to be done, among very many."""

from __future__ import annotations

from alembic import op

revision = "6"
down_revision = "5"


def upgrade() -> None:
    """Add them."""
    op.create_index("studies_by_first_at", "studies", ["first_at"])
    op.create_index("studies_by_given_up", "studies", ["is_given_up"])
    op.create_index("evaluations_by_number", "evaluations", ["study_uid", "number"])
    op.create_index("deliveries_by_state", "deliveries", ["state", "evaluation_id"])
