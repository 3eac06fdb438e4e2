"""When all of a Study is here: rules over what its associations carried, with the time as an argument."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from node.words import instances_in_words

NO_MR_IMAGE = "It holds no MR image: its Instances are kept and not evaluated."
"""Why a Study that is here goes no further."""


class CompletenessSettings(BaseModel):
    """How long to wait before a Study counts as complete, or as abandoned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    series_quiet_s: float = Field(
        default=5.0,
        gt=0,
        le=3600,
        description="seconds without a new Instance after which a released association counts as finished",
    )
    abandoned_after_s: float = Field(
        default=3600.0,
        gt=0,
        le=7 * 86400,
        description="seconds after an aborted association within which its sender must send the Study again",
    )


class AssociationEnd(StrEnum):
    """How an association ended, if it did."""

    OPEN = "open"
    RELEASED = "released"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Carriage:
    """What one association carried of one Series.

    Attributes:
        association_id: which association.
        calling_ae: AE title of its sender.
        series_uid: Series Instance UID.
        end: how the association ended.
        opened_at: when it was accepted.
        closed_at: when its peer was last heard, None while it is open.
        last_instance_at: when its last Instance of this Series was stored, new or sent again.
        refused: Instances of this Series that the peer was told to be not stored.
        broke_because: why the association was aborted; empty if its peer did so, or nobody knows.
        refused_because: why the last of the refused ones was; empty if nobody knows.
    """

    association_id: str
    calling_ae: str
    series_uid: str
    end: AssociationEnd
    opened_at: datetime
    closed_at: datetime | None
    last_instance_at: datetime
    refused: int = 0
    broke_because: str = ""
    refused_because: str = ""

    @property
    def ended_badly(self) -> bool:
        """Whether some of it may be missing."""
        return self.end is AssociationEnd.ABORTED or self.refused > 0


@dataclass(frozen=True, slots=True)
class StudyArrival:
    """All that is known of how a Study came in.

    Attributes:
        study_uid: Study Instance UID.
        revision: grows with everything that arrives; guards a decision against what came meanwhile.
        instance_count: Instances in the index.
        mr_image_count: MR images among them, which are what is evaluated.
        carriages: by association and Series.
        reachable_since: since when senders could reach a receiver without a gap; None if they cannot.
        undeclared: AE titles among its senders with an open association that carried nothing yet; its first
            Instance may be under way, and be of this Study.
        without_mr_image: Series that hold Instances and no MR image.
        has_results: whether results were made of all its MR images; told only where such a Series broke off.
    """

    study_uid: str
    revision: int
    instance_count: int
    mr_image_count: int
    carriages: tuple[Carriage, ...]
    reachable_since: datetime | None
    undeclared: tuple[str, ...] = ()
    without_mr_image: frozenset[str] = frozenset()
    has_results: bool = False


class ArrivalState(StrEnum):
    """Whether a Study can be evaluated; KEPT: all is here, and none of it is an MR image."""

    RECEIVING = "receiving"
    HELD = "held"
    COMPLETE = "complete"
    KEPT = "kept"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a Study can be evaluated, and why or why not in one sentence."""

    state: ArrivalState
    reason: str


def is_complete(arrival: StudyArrival, now: datetime, settings: CompletenessSettings) -> Verdict:
    """Judge whether all of a Study is here.

    A Series is complete when its association was released and nothing came for ``series_quiet_s``, a Study
    when all its Series are and no open association carries it, or may do so with its first Instance. An
    association that was aborted, or on which an Instance was refused, leaves the Study held until a later one
    from the same AE, with MR images of this Study, ends well; if none does within ``abandoned_after_s`` the
    Study is abandoned. Only time in which senders could reach a receiver counts as waited. Once there are
    results, an association that broke off while it brought other things than MR images changes nothing: a
    PACS sent results back.

    Args:
        arrival: what came, and how.
        now: the current time, with a time zone.
        settings: the waits.
    """
    open_senders = {carried.calling_ae for carried in arrival.carriages if _is_open(carried)}
    open_senders.update(arrival.undeclared)
    if open_senders:
        return Verdict(
            ArrivalState.RECEIVING, f"Association of {', '.join(sorted(open_senders))} is still open."
        )
    broken = _not_sent_again(arrival)
    last_heard = max((_last_heard(carried) for carried in arrival.carriages), default=now)
    waits_since = arrival.reachable_since and max(last_heard, arrival.reachable_since)
    if broken:
        return _held(arrival, broken[-1], now, waits_since, timedelta(seconds=settings.abandoned_after_s))
    if not arrival.instance_count:
        return Verdict(
            ArrivalState.ABANDONED,
            "None of its Instances was taken: their UIDs belong to Instances stored before.",
        )
    if waits_since is None:
        return Verdict(ArrivalState.RECEIVING, "Waits for a receiver: more Instances could not come now.")
    quiet_until = waits_since + timedelta(seconds=settings.series_quiet_s)
    if now < quiet_until:
        return Verdict(ArrivalState.RECEIVING, f"Waits for more Instances until {_clock(quiet_until)}.")
    if not arrival.mr_image_count:
        return Verdict(ArrivalState.KEPT, NO_MR_IMAGE)
    extent = f"{instances_in_words(arrival.instance_count)} in {_series_count(arrival)} Series"
    return Verdict(ArrivalState.COMPLETE, f"{extent}, quiet since {_clock(last_heard)}.")


def _held(
    arrival: StudyArrival, broken: Carriage, now: datetime, waits_since: datetime | None, patience: timedelta
) -> Verdict:
    sender, what = broken.calling_ae, _what_happened(broken)
    if waits_since is None:
        return Verdict(
            ArrivalState.HELD, f"{what}; waits for a receiver, for {sender} to send the Study again."
        )
    if now - waits_since < patience:
        deadline = _clock(waits_since + patience)
        return Verdict(
            ArrivalState.HELD, f"{what}; waits until {deadline} for {sender} to send the Study again."
        )
    waited = f"{what} and did not send the Study again within {patience.total_seconds():g} s"
    return Verdict(ArrivalState.ABANDONED, f"{waited}: {_advice(arrival)}.")


def _what_happened(broken: Carriage) -> str:
    sender, time = broken.calling_ae, _clock(_last_heard(broken))
    if broken.end is not AssociationEnd.ABORTED:
        why = f": {broken.refused_because}" if broken.refused_because else " (the log says why)"
        return f"{sender} had {instances_in_words(broken.refused)} refused before {time}{why}"
    if broken.broke_because:
        return f"The association of {sender} broke off at {time}: {broken.broke_because}"
    return f"{sender} aborted its association at {time}"


def _advice(arrival: StudyArrival) -> str:
    """Say what can be done about a Study that was broken off."""
    if not arrival.instance_count:
        return "nothing of it is here"
    if not arrival.mr_image_count:
        return f"there is no MR image in the {instances_in_words(arrival.instance_count)} that came"
    processes = f"`csvd-node retry {arrival.study_uid}` processes"
    return f"it may be incomplete; {processes} the {instances_in_words(arrival.instance_count)} that came"


def _not_sent_again(arrival: StudyArrival) -> list[Carriage]:
    """List what ended badly and was not followed by a good association of the same sender, oldest first.

    What brought other things than MR images tells nothing of images: it makes none good, and after there are
    results it does no harm.
    """
    others = arrival.without_mr_image
    carriages = sorted(arrival.carriages, key=_last_heard)
    bad = {carried.association_id for carried in carriages if carried.ended_badly}
    good = [carried for carried in carriages if carried.association_id not in bad]
    harmless = others if arrival.has_results else frozenset()
    broken = [each for each in carriages if each.ended_badly and each.series_uid not in harmless]
    return [each for each in broken if not any(_makes_good(later, each, others) for later in good)]


def _makes_good(later: Carriage, broken: Carriage, others: frozenset[str]) -> bool:
    if later.series_uid in others and broken.series_uid not in others:
        return False
    # Opened only after the broken one was last heard: one beside it is another part, not the same again.
    return later.calling_ae == broken.calling_ae and later.opened_at >= _last_heard(broken)


def _is_open(carried: Carriage) -> bool:
    return carried.end is AssociationEnd.OPEN


def _last_heard(carried: Carriage) -> datetime:
    return max(carried.last_instance_at, carried.closed_at or carried.last_instance_at)


def _series_count(arrival: StudyArrival) -> int:
    return len({carried.series_uid for carried in arrival.carriages})


def _clock(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %Z")
