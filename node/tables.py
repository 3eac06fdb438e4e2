"""The tables of the index; UIDs, times and states only, no attribute of a patient."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)

SCHEMA_VERSION = "8"
"""Grows with every change of the tables below; ``node.migrations`` leads to it from the version before."""


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time: written as UTC, read with its zone, also where the database knows no zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Bring a time with a zone to UTC; SQLite gets it without the zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("A time in the index needs a time zone")
        return value.astimezone(UTC).replace(tzinfo=None if dialect.name == "sqlite" else UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give a time its zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()

_UID = String(64)
_AE = String(16)
_KEY = String(64)
_STATE = String(16)

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))
"""The version of tables that were made before there were steps from one to the next; only read."""

processes = Table(
    "processes",
    metadata,
    Column("process_id", _KEY, primary_key=True),
    Column("host", Text, nullable=False),
    Column("roles", Text, nullable=False),
    Column("version", String(64), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("reachable_since", UtcDateTime),
)
"""Who shares the work; a process is there as long as it holds its lease, whatever stands here.

``reachable_since``: since when senders could reach it or, without a gap, receivers before it; empty if they
cannot. Worth nothing once the lease is free.
"""

studies = Table(
    "studies",
    metadata,
    Column("study_uid", _UID, primary_key=True),
    Column("first_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("is_open", Boolean, nullable=False, index=True),
    Column("is_given_up", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("is_urgent", Boolean, nullable=False, server_default=false()),
    Index("studies_by_first_at", "first_at"),
    Index("studies_by_given_up", "is_given_up"),
)
"""``is_open``: something came since it was last decided upon; ``reason``: why it waits or was given up.

``last_at`` has no index: it changes with every Instance, and each would have to be entered there, too.
"""

instances = Table(
    "instances",
    metadata,
    Column("sop_instance_uid", _UID, primary_key=True),
    Column("study_uid", _UID, nullable=False, index=True),
    Column("series_uid", _UID, nullable=False),
    Column("sop_class_uid", _UID, nullable=False),
    Column("transfer_syntax_uid", _UID, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("path", Text, nullable=False),
    Column("calling_ae", _AE, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
)

conflicts = Table(
    "conflicts",
    metadata,
    Column("path", Text, primary_key=True),
    Column("sop_instance_uid", _UID, nullable=False),
    Column("study_uid", _UID, nullable=False, index=True),
    Column("series_uid", _UID, nullable=False),
    Column("sop_class_uid", _UID, nullable=False),
    Column("transfer_syntax_uid", _UID, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("calling_ae", _AE, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
)
"""Instances whose SOP Instance UID another Instance with other bytes had first."""

associations = Table(
    "associations",
    metadata,
    Column("association_id", _KEY, primary_key=True),
    Column("receiver_id", _KEY, nullable=False),
    Column("calling_ae", _AE, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),
    Column("ended", _STATE, nullable=False, index=True),
    Column("reason", Text, nullable=False, server_default=""),
)
"""``reason``: why it broke off, where that was not its peer's own will."""

carried = Table(
    "carried",
    metadata,
    Column("association_id", _KEY, primary_key=True),
    Column("study_uid", _UID, primary_key=True),
    Column("series_uid", _UID, primary_key=True),
    Column("first_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
    Column("stored", Integer, nullable=False),
    Column("repeated", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("refusal", Text, nullable=False, server_default=""),
    Index("carried_by_study", "study_uid"),
)
"""Which association carried which Series, also when all its Instances were here before.

``refused``, ``refusal``: Instances that its peer was told to be not stored, and why the last of them was not.
"""

removals = Table(
    "removals",
    metadata,
    Column("study_uid", _UID, primary_key=True),
    Column("removed_at", UtcDateTime, nullable=False),
    Column("swept_at", UtcDateTime),
)
"""Studies that are gone from the other tables, and whose files go; nothing of them is taken meanwhile.

``swept_at``: when the store was looked through for what came after all; empty before.
"""

removed_studies = Table(
    "removed_studies",
    metadata,
    Column("study_uid", _UID, primary_key=True),
    Column("removed_at", UtcDateTime, nullable=False, index=True),
    Column("removed_by", Text, nullable=False),
)
"""What was removed and by whom, for a while: so that who asks can tell it from what never came."""

evaluations = Table(
    "evaluations",
    metadata,
    Column("evaluation_id", _KEY, primary_key=True),
    Column("study_uid", _UID, nullable=False, index=True),
    Column("fingerprint", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("run", Integer, nullable=False),
    Column("state", _STATE, nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("progress", Text, nullable=False),
    Column("supersedes", _KEY),
    Column("created_at", UtcDateTime, nullable=False),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Column("is_urgent", Boolean, nullable=False, server_default=false()),
    Column("lost", Integer, nullable=False, server_default="0"),
    UniqueConstraint("study_uid", "fingerprint"),
    Index("evaluations_by_number", "study_uid", "number"),
)
"""``number`` counts the evaluations of a Study, ``run`` how often this one was begun, ``lost`` how often the
process died that was at it."""

evaluation_inputs = Table(
    "evaluation_inputs",
    metadata,
    Column("evaluation_id", _KEY, primary_key=True),
    Column("sop_instance_uid", _UID, primary_key=True),
)

results = Table(
    "results",
    metadata,
    Column("evaluation_id", _KEY, primary_key=True),
    Column("sop_instance_uid", _UID, primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("sop_class_uid", _UID, nullable=False),
    Column("path", Text, nullable=False),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("evaluation_id", _KEY, primary_key=True),
    Column("fingerprint", String(64), primary_key=True),
    Column("run", Integer, nullable=False),
    Column("record", Text, nullable=False),
)
"""What a run came to, as JSON: Instances by role, counts of lesions, destinations with the reason of each."""

deliveries = Table(
    "deliveries",
    metadata,
    Column("sop_instance_uid", _UID, primary_key=True),
    Column("destination", _KEY, primary_key=True),
    Column("evaluation_id", _KEY, nullable=False, index=True),
    Column("state", _STATE, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_status", Integer),
    Column("last_comment", Text, nullable=False),
    Column("first_queued_at", UtcDateTime, nullable=False),
    Column("last_attempt_at", UtcDateTime),
    Column("next_attempt_at", UtcDateTime, index=True),
    Column("sent_at", UtcDateTime),
    Column("sent_remark", Text, nullable=False, server_default=""),
    Column("committed_at", UtcDateTime),
    Index("deliveries_by_state", "state", "evaluation_id"),
)
"""``next_attempt_at`` is empty once nothing more is tried: delivered, or given up.

``sent_at``, ``sent_remark``, ``committed_at``: when a destination that is asked for commitment had it last,
what it remarked then, and when it took responsibility for it; empty for others.
"""

commitment_requests = Table(
    "commitment_requests",
    metadata,
    Column("transaction_uid", _UID, primary_key=True),
    Column("evaluation_id", _KEY, nullable=False, index=True),
    Column("destination", _KEY, nullable=False),
    Column("sop_instance_uids", Text, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
)
"""What destinations were asked to take responsibility for, each request also after its answer: that may come
twice. ``sop_instance_uids`` are separated by spaces."""
