"""The tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from node.tables import UtcDateTime

revision = "1"
down_revision = None

_UID, _AE, _KEY, _STATE, _DIGEST = sa.String(64), sa.String(16), sa.String(64), sa.String(16), sa.String(64)


def upgrade() -> None:
    """Make them."""
    _arrival_tables()
    _evaluation_tables()


def _arrival_tables() -> None:
    op.create_table("schema_version", sa.Column("version", sa.Integer, primary_key=True))
    op.bulk_insert(sa.table("schema_version", sa.column("version", sa.Integer)), [{"version": 1}])
    op.create_table(
        "studies",
        sa.Column("study_uid", _UID, primary_key=True),
        sa.Column("first_at", UtcDateTime, nullable=False),
        sa.Column("last_at", UtcDateTime, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("is_open", sa.Boolean, nullable=False, index=True),
        sa.Column("is_given_up", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_table(
        "instances",
        sa.Column("sop_instance_uid", _UID, primary_key=True),
        sa.Column("study_uid", _UID, nullable=False, index=True),
        *_file_columns(),
        sa.Column("path", sa.Text, nullable=False),
    )
    op.create_table(
        "conflicts",
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("sop_instance_uid", _UID, nullable=False),
        sa.Column("study_uid", _UID, nullable=False, index=True),
        *_file_columns(),
    )
    op.create_table(
        "associations",
        sa.Column("association_id", _KEY, primary_key=True),
        sa.Column("receiver_id", _KEY, nullable=False),
        sa.Column("calling_ae", _AE, nullable=False),
        sa.Column("opened_at", UtcDateTime, nullable=False),
        sa.Column("closed_at", UtcDateTime),
        sa.Column("ended", _STATE, nullable=False, index=True),
    )
    op.create_table(
        "carried",
        sa.Column("association_id", _KEY, primary_key=True),
        sa.Column("study_uid", _UID, primary_key=True),
        sa.Column("series_uid", _UID, primary_key=True),
        sa.Column("first_at", UtcDateTime, nullable=False),
        sa.Column("last_at", UtcDateTime, nullable=False),
        sa.Column("stored", sa.Integer, nullable=False),
        sa.Column("repeated", sa.Integer, nullable=False),
        sa.Column("refused", sa.Integer, nullable=False),
    )
    op.create_index("carried_by_study", "carried", ["study_uid"])


def _file_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("series_uid", _UID, nullable=False),
        sa.Column("sop_class_uid", _UID, nullable=False),
        sa.Column("transfer_syntax_uid", _UID, nullable=False),
        sa.Column("sha256", _DIGEST, nullable=False),
        sa.Column("calling_ae", _AE, nullable=False),
        sa.Column("received_at", UtcDateTime, nullable=False),
    ]


def _evaluation_tables() -> None:
    op.create_table(
        "evaluations",
        sa.Column("evaluation_id", _KEY, primary_key=True),
        sa.Column("study_uid", _UID, nullable=False, index=True),
        sa.Column("fingerprint", _DIGEST, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("run", sa.Integer, nullable=False),
        sa.Column("state", _STATE, nullable=False, index=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("progress", sa.Text, nullable=False),
        sa.Column("supersedes", _KEY),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("started_at", UtcDateTime),
        sa.Column("finished_at", UtcDateTime),
        sa.UniqueConstraint("study_uid", "fingerprint"),
    )
    op.create_table(
        "evaluation_inputs",
        sa.Column("evaluation_id", _KEY, primary_key=True),
        sa.Column("sop_instance_uid", _UID, primary_key=True),
    )
    op.create_table(
        "results",
        sa.Column("evaluation_id", _KEY, primary_key=True),
        sa.Column("sop_instance_uid", _UID, primary_key=True),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("sop_class_uid", _UID, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
    )
    op.create_table(
        "deliveries",
        sa.Column("sop_instance_uid", _UID, primary_key=True),
        sa.Column("destination", _KEY, primary_key=True),
        sa.Column("evaluation_id", _KEY, nullable=False, index=True),
        sa.Column("state", _STATE, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_status", sa.Integer),
        sa.Column("last_comment", sa.Text, nullable=False),
        sa.Column("first_queued_at", UtcDateTime, nullable=False),
        sa.Column("last_attempt_at", UtcDateTime),
        sa.Column("next_attempt_at", UtcDateTime, index=True),
    )
