"""Which stack feeds which segmentor, and why: candidates are ranked by one list of criteria.

The first criterion in which two candidates differ decides between them; its sentence is the reason.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from engines.segments import SeriesType
from node.facts import Surroundings
from node.geometry import VolumeSettings, arrange, extent_mm, normal_of
from node.identification import Identification, IdentificationRule, identify
from node.stacks import Stack
from node.volume_errors import MissingFrameOfReferenceError, UnreadEncodingError, VolumeError

SLAB_MM = 80.0
"""A stack that reaches less far is a slab of the brain, and comes after all that are more."""

AGENT_STAYS = timedelta(days=1)
"""A Series acquired within this time after a contrast agent may show it: half of it is excreted within
some two hours (gadobutrol, label: 1.8 h). Dates that lie farther apart are those of other examinations."""

WHOLE_BRAIN_MM = 120.0
"""A stack that reaches this far covers the brain; reaching further is no advantage."""

COVERAGE_STEP_MM = 10.0
"""Coverages within one such step count as equal."""

LONGEST_USEFUL_ECHO_MS = 35.0
"""Of several echoes of a T2* Series the longest up to here is taken: later ones lose signal at the skull base
faster than they gain contrast of microbleeds."""


class Outcome(StrEnum):
    """What became of a stack."""

    CHOSEN = "chosen"
    LOST = "lost"
    UNUSABLE = "unusable"
    NOT_WANTED = "not wanted"


@dataclass(frozen=True, slots=True)
class IdentifiedStack:
    """A stack with what it was taken for, and why it cannot become a volume (empty if it can)."""

    stack: Stack
    identification: Identification
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stack with its outcome and the reason, a sentence."""

    identified: IdentifiedStack
    outcome: Outcome
    reason: str

    @property
    def stack(self) -> Stack:
        """The stack."""
        return self.identified.stack


@dataclass(frozen=True, slots=True)
class Selection:
    """The outcome for all stacks of a Study.

    Attributes:
        candidates: every stack, in the order given.
        unavailable: for each wanted type without a stack, the reason, a sentence.
    """

    candidates: tuple[Candidate, ...]
    unavailable: Mapping[SeriesType, str]

    @property
    def chosen(self) -> dict[SeriesType, Stack]:
        """The stack for each wanted type that has one."""
        return {
            series_type: candidate.stack
            for candidate in self.candidates
            if candidate.outcome is Outcome.CHOSEN
            and (series_type := candidate.identified.identification.series_type) is not None
        }

    @property
    def message(self) -> str:
        """One sentence on what was found."""
        if not self.chosen:
            wanted = ", ".join(kind.label for kind in SeriesType)
            return (
                f"None of {len(self.candidates)} image stacks is usable as one of {wanted}: "
                "there is nothing to segment."
            )
        found = ", ".join(kind.label for kind in SeriesType if kind in self.chosen)
        return f"Found {found} among {len(self.candidates)} image stacks."

    def to_record(self) -> dict[str, object]:
        """Return everything as values that JSON can hold."""
        return {
            "message": self.message,
            "unavailable": {series_type.value: reason for series_type, reason in self.unavailable.items()},
            "stacks": [_record(candidate) for candidate in self.candidates],
        }


@dataclass(frozen=True, slots=True)
class _Criterion:
    """One line of the ranking: its name, a key, the smaller the better, and what it says of a stack."""

    name: str
    key: Callable[[IdentifiedStack], float]
    says: Callable[[IdentifiedStack], str]


def identify_stacks(
    stacks: Sequence[Stack], rules: Sequence[IdentificationRule], settings: VolumeSettings
) -> tuple[IdentifiedStack, ...]:
    """Identify the stacks of a Study, and check encoding and geometry of those that are wanted."""
    enhanced = [one for one in stacks if one.first.acquisition.contrast_agent]
    given_at = [at for one in enhanced if (at := one.acquired_at) is not None]
    several = len({one.series_uid for one in stacks}) > 1
    of_study = Surroundings(
        agent_everywhere=several and len(enhanced) == len(stacks),
        body_parts=frozenset(one.first.acquisition.body_part for one in stacks),
    )
    identified = []
    for stack in stacks:
        around = replace(of_study, after_agent=_is_after(stack, given_at))
        identification = identify(stack, rules, around)
        problem = _problem(stack, settings) if identification.series_type else ""
        identified.append(IdentifiedStack(stack, identification, problem))
    return tuple(identified)


def _is_after(stack: Stack, given_at: Sequence[datetime]) -> bool:
    """Tell whether a stack was acquired after an agent was given, and before that had left the body."""
    at = stack.acquired_at
    return at is not None and any(given < at <= given + AGENT_STAYS for given in given_at)


def select(identified: Sequence[IdentifiedStack]) -> Selection:
    """Choose one stack for each wanted type, and say of every other one why it was not chosen.

    Args:
        identified: all stacks of a Study.
    """
    best = {series_type: _best(identified, series_type) for series_type in SeriesType}
    candidates = tuple(_candidate(one, identified, best) for one in identified)
    unavailable = {
        series_type: _why_unavailable(identified, series_type)
        for series_type, winner in best.items()
        if winner is None
    }
    return Selection(candidates, unavailable)


def series_name(stack: Stack) -> str:
    """Name the Series of a stack by Series Number and the end of its Series UID."""
    number = "" if stack.header.series_number is None else f" {stack.header.series_number}"
    return f"Series{number} (...{stack.series_uid[-12:]})"


def stack_name(stack: Stack) -> str:
    """Name a stack by its Series, and by what sets it apart in there."""
    return f"{series_name(stack)} [{stack.label}]" if stack.label else series_name(stack)


def _problem(stack: Stack, settings: VolumeSettings) -> str:
    try:
        _check_encoding(stack)
        _check_frame_of_reference(stack)
        arrange(stack, settings)
    except VolumeError as error:
        return error.told
    return ""


def _check_encoding(stack: Stack) -> None:
    unread = sorted({item.instance.unread_encoding for item in stack.frames} - {""})
    if unread:
        raise UnreadEncodingError(stack.study_uid, stack.series_uid, " and ".join(unread))


def _check_frame_of_reference(stack: Stack) -> None:
    """See that results can say where they lie; a volume can be read without."""
    if not any(item.instance.frame_of_reference_uid for item in stack.frames):
        raise MissingFrameOfReferenceError(stack.study_uid, stack.series_uid)


def _plane_name(one: IdentifiedStack) -> str:
    plane = one.stack.first.plane
    if plane is None:
        return "of unknown orientation"
    return ("sagittal", "coronal", "axial")[int(abs(normal_of(plane)).argmax())]


def _is_computed(one: IdentifiedStack) -> bool:
    return not {"DERIVED", "SECONDARY"}.isdisjoint(one.stack.first.acquisition.image_type[:2])


def _coverage(one: IdentifiedStack) -> float:
    return min(extent_mm(one.stack) // COVERAGE_STEP_MM * COVERAGE_STEP_MM, WHOLE_BRAIN_MM)


def _voxel_mm3(one: IdentifiedStack) -> float:
    plane = one.stack.first.plane
    slices = max(1, one.stack.positions - 1)
    return 0.0 if plane is None else extent_mm(one.stack) / slices * plane.spacing_mm[0] * plane.spacing_mm[1]


def _echo_key(one: IdentifiedStack) -> float:
    echo = one.stack.first.acquisition.echo_time_ms
    if echo is None or one.identification.series_type is not SeriesType.T2_STAR:
        return 0.0
    return -echo if echo <= LONGEST_USEFUL_ECHO_MS else echo


def _b_key(one: IdentifiedStack) -> float:
    b_value = one.stack.first.diffusion.b_value
    return 0.0 if b_value is None else abs(b_value - 1000.0)


_CRITERIA = (
    _Criterion(
        "coverage", lambda one: extent_mm(one.stack) < SLAB_MM, lambda one: f"{extent_mm(one.stack):.0f} mm"
    ),
    _Criterion("kind", lambda one: one.identification.rank, lambda one: one.identification.kind),
    _Criterion("origin", _is_computed, lambda one: "computed" if _is_computed(one) else "original"),
    _Criterion(
        "contrast",
        lambda one: bool(one.stack.first.acquisition.contrast_agent),
        lambda one: f"{'after' if one.stack.first.acquisition.contrast_agent else 'without'} contrast agent",
    ),
    _Criterion("orientation", lambda one: _plane_name(one) != "axial", _plane_name),
    _Criterion("coverage", lambda one: -_coverage(one), lambda one: f"{extent_mm(one.stack):.0f} mm"),
    _Criterion(
        "resolution", lambda one: round(_voxel_mm3(one), 1), lambda one: f"{_voxel_mm3(one):.2f} mm3 a voxel"
    ),
    _Criterion("b-value", _b_key, lambda one: f"{one.stack.first.diffusion.b_value or 0:g} s/mm2"),
    _Criterion(
        f"echo time (the longest up to {LONGEST_USEFUL_ECHO_MS:g} ms)",
        _echo_key,
        lambda one: f"{one.stack.first.acquisition.echo_time_ms or 0:g} ms",
    ),
    # A repeated Series follows one that was spoilt by motion.
    _Criterion(
        "later acquisition",
        lambda one: -(one.stack.header.series_number or 0),
        lambda one: f"Series {one.stack.header.series_number}",
    ),
    _Criterion(
        "later acquisition in the Series",
        lambda one: -(one.stack.acquisition or 0),
        lambda one: f"acquisition {one.stack.acquisition}",
    ),
)
"""The ranking: more than a slab, kind (trace before unknown direction, T2*-GRE before SWI), original over
computed, without contrast agent, axial, coverage, resolution, nearest b1000, longest useful echo, acquired
last."""


def _order(one: IdentifiedStack) -> tuple[object, ...]:
    """Return the whole key; the identifiers make the order the same for every order of arrival."""
    frame = one.stack.frames[0]
    identifiers = (one.stack.series_uid, frame.instance.sop_instance_uid, frame.frame.number or 0)
    return (*(criterion.key(one) for criterion in _CRITERIA), *identifiers)


def _best(identified: Sequence[IdentifiedStack], series_type: SeriesType) -> IdentifiedStack | None:
    usable = [one for one in identified if one.identification.series_type is series_type and not one.problem]
    return min(usable, key=_order, default=None)


def _candidate(
    one: IdentifiedStack,
    identified: Sequence[IdentifiedStack],
    best: Mapping[SeriesType, IdentifiedStack | None],
) -> Candidate:
    series_type = one.identification.series_type
    if series_type is None:
        return Candidate(one, Outcome.NOT_WANTED, _why_not_wanted(one.identification))
    if one.problem:
        return Candidate(one, Outcome.UNUSABLE, f"It cannot become a volume: {one.problem}.")
    winner = best[series_type]
    if winner is None or winner is one:
        return Candidate(one, Outcome.CHOSEN, _why_chosen(one, series_type, identified))
    return Candidate(one, Outcome.LOST, _why_lost(one, winner))


def _why_not_wanted(identification: Identification) -> str:
    if identification.not_taken_as is None:
        return f"Taken for {identification.kind}, which is none of the wanted types."
    label = identification.not_taken_as.label
    return f"Taken for {identification.kind}, and not taken as {label}: {identification.not_taken}."


def _why_chosen(
    winner: IdentifiedStack, series_type: SeriesType, identified: Sequence[IdentifiedStack]
) -> str:
    others = [
        one
        for one in identified
        if one is not winner and one.identification.series_type is series_type and not one.problem
    ]
    if not others:
        return f"The only usable {series_type.label}."
    second = min(others, key=_order)
    return f"Preferred to {stack_name(second.stack)} {_difference(winner, second)}."


def _why_lost(loser: IdentifiedStack, winner: IdentifiedStack) -> str:
    return f"{stack_name(winner.stack)} is preferred {_difference(winner, loser)}."


def _difference(winner: IdentifiedStack, loser: IdentifiedStack) -> str:
    """Name the first criterion in which the two differ."""
    for criterion in _CRITERIA:
        if criterion.key(winner) != criterion.key(loser):
            return f"for its {criterion.name}: {criterion.says(winner)} against {criterion.says(loser)}"
    return "though equal in everything, for its smaller UID"


def _why_unavailable(identified: Sequence[IdentifiedStack], series_type: SeriesType) -> str:
    problems = [
        f"{series_name(one.stack)}: {one.problem}"
        for one in identified
        if one.identification.series_type is series_type
    ]
    if problems:
        said = f"No {series_type.label} can become a volume: {' / '.join(dict.fromkeys(problems))}."
    else:
        said = f"No Series of the Study was recognised as {series_type.label}."
    return " ".join((said, *_not_taken_as(identified, series_type)))


def _not_taken_as(identified: Sequence[IdentifiedStack], series_type: SeriesType) -> Iterator[str]:
    """Name the Series that are of a type and are not taken, those of one kind together."""
    series: dict[Identification, dict[str, None]] = defaultdict(dict)
    for one in identified:
        if one.identification.not_taken_as is series_type:
            series[replace(one.identification, evidence=())][series_name(one.stack)] = None
    for kind, names in series.items():
        yield f"{', '.join(names)}, {kind.kind}, not taken as {series_type.label}: {kind.not_taken}."


def _record(candidate: Candidate) -> dict[str, object]:
    stack, identification = candidate.stack, candidate.identified.identification
    return {
        "study_uid": stack.study_uid,
        "series_uid": stack.series_uid,
        "series_number": stack.header.series_number,
        "label": stack.label,
        "slices": stack.positions,
        "series_type": identification.series_type.value if identification.series_type else None,
        "kind": identification.kind,
        "evidence": list(identification.evidence),
        "outcome": candidate.outcome.value,
        "reason": candidate.reason,
    }
