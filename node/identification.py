"""What a stack is, told from how it was acquired: an ordered table of rules, with the evidence.

The first rule that holds decides. Rules speak of physics first; an operator's text is only ever a further
condition, where physics leaves two answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from engines.segments import SeriesType
from node.facts import ALONE, UNITS, Facts, Quantity, Surroundings, Words, gather_facts
from node.stacks import Stack

Range = tuple[float | None, float | None]
"""Smallest and largest value, both included; None leaves an end open."""

UNRECOGNISED = "unrecognised"

_SHOWN_WITHOUT_RULE = (
    Quantity.REPETITION_TIME,
    Quantity.ECHO_TIME,
    Quantity.INVERSION_TIME,
    Quantity.FLIP_ANGLE,
    Quantity.B_VALUE,
)


class IdentificationRule(BaseModel):
    """One line of the table: conditions that must all hold, and what they mean together.

    Regular expressions are searched for, case-insensitively.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(min_length=1, description="what it is, in words: `T2 TSE`")
    series_type: SeriesType | None = Field(
        default=None, description="which of the wanted types it is taken for; none by default"
    )
    rank: Annotated[int, Field(ge=0, le=99)] = Field(
        default=0, description="preference among the kinds of one type: the lowest is taken first"
    )
    ranges: dict[Quantity, Range] = Field(
        default_factory=dict, description="quantities that must be known and lie within smallest and largest"
    )
    when_known: dict[Quantity, Range] = Field(
        default_factory=dict, description="quantities that must lie within, unless they are unknown"
    )
    unknown: frozenset[Quantity] = Field(default=frozenset(), description="quantities that must not be known")
    any_of: dict[Words, frozenset[str]] = Field(
        default_factory=dict, description="code strings of which at least one must be there"
    )
    none_of: dict[Words, frozenset[str]] = Field(
        default_factory=dict, description="code strings of which none may be there"
    )
    sequence_name: str | None = Field(
        default=None, description="expression found in the pulse sequence's name"
    )
    text: str | None = Field(
        default=None, description="expression found in Series Description or Protocol Name: a tie-break"
    )
    not_text: str | None = Field(default=None, description="expression not found there: a tie-break")
    not_taken: str | None = Field(
        default=None,
        min_length=1,
        description="why images of this kind are not taken although they are of a wanted type, which "
        "`series_type` names or else the rules that follow tell",
    )
    remark: str | None = Field(
        default=None, min_length=1, description="what a reader must know where an image of this kind is taken"
    )

    @field_validator("sequence_name", "text", "not_text")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from error
        return pattern

    @field_validator("ranges", "when_known")
    @classmethod
    def _ordered(cls, ranges: dict[Quantity, Range]) -> dict[Quantity, Range]:
        for name, (smallest, largest) in ranges.items():
            if smallest is not None and largest is not None and smallest > largest:
                raise ValueError(f"{name}: the smallest value {smallest} is above the largest {largest}")
        return ranges

    @field_validator("any_of", "none_of")
    @classmethod
    def _upper_case(cls, words: dict[Words, frozenset[str]]) -> dict[Words, frozenset[str]]:
        return {name: frozenset(word.upper() for word in wanted) for name, wanted in words.items()}

    @model_validator(mode="after")
    def _speaks_of_physics(self) -> IdentificationRule:
        if not (self.ranges or self.any_of or self.sequence_name):
            raise ValueError("a rule needs ranges, any_of or sequence_name: text alone decides nothing")
        return self


@dataclass(frozen=True, slots=True)
class Identification:
    """What a stack was taken for.

    Attributes:
        series_type: one of the wanted types, None for anything else.
        kind: what it is, in words.
        rank: preference of the kind among those of its type; the lowest is taken first.
        evidence: the conditions that held, each with the value found.
        not_taken_as: the wanted type that it is of and is not taken for, None if it is of none.
        not_taken: why not.
        remark: what a reader must know where it is taken; mostly nothing.
    """

    series_type: SeriesType | None
    kind: str
    rank: int
    evidence: tuple[str, ...]
    not_taken_as: SeriesType | None = None
    not_taken: str = ""
    remark: str = ""


def identify(
    stack: Stack, rules: Sequence[IdentificationRule], around: Surroundings = ALONE
) -> Identification:
    """Take a stack for what the first rule that holds says; unrecognised if none does.

    Args:
        stack: what is asked about.
        rules: the table.
        around: what the other stacks of the Study tell of it.
    """
    return _identify(gather_facts(stack, around), rules)


def _identify(facts: Facts, rules: Sequence[IdentificationRule]) -> Identification:
    for place, rule in enumerate(rules):
        evidence = _evidence(rule, facts)
        if evidence is None:
            continue
        if rule.not_taken is None:
            return Identification(rule.series_type, rule.kind, rule.rank, evidence, remark=rule.remark or "")
        of = rule.series_type or _type_told_by(facts, rules[place + 1 :])
        return Identification(None, rule.kind, rule.rank, evidence, of, rule.not_taken if of else "")
    return Identification(None, UNRECOGNISED, 0, tuple(_main_facts(facts)))


def _type_told_by(facts: Facts, rules: Sequence[IdentificationRule]) -> SeriesType | None:
    """Say of which wanted type images are that are not taken: a reformat is of the type of its original."""
    told = _identify(facts, rules)
    return told.series_type or told.not_taken_as


def _evidence(rule: IdentificationRule, facts: Facts) -> tuple[str, ...] | None:
    """Return what speaks for the rule, None if one of its conditions does not hold."""
    if not _holds(rule, facts):
        return None
    said = [
        f"{name} {_shown(facts.numbers[name])}{UNITS.get(name, '')} ({rule.kind}: {_shown_range(limits)})"
        for name, limits in {**rule.ranges, **rule.when_known}.items()
        if name in facts.numbers
    ]
    said += [f"no {name} stated" for name in sorted(rule.unknown)]
    said += [
        f"{name} {', '.join(sorted(facts.words[name] & wanted))}" for name, wanted in rule.any_of.items()
    ]
    if rule.sequence_name:
        said.append(f"pulse sequence {facts.sequence_name}")
    if rule.text:
        said.append(f"tie-break by the text {_match(rule.text, facts.text)!r}")
    if Quantity.B_VALUE in rule.ranges and facts.b_value_source:
        said.append(f"b-value from {facts.b_value_source}")
    return tuple(said)


def _holds(rule: IdentificationRule, facts: Facts) -> bool:
    return (
        all(
            name in facts.numbers and _within(facts.numbers[name], limits)
            for name, limits in rule.ranges.items()
        )
        and all(
            name not in facts.numbers or _within(facts.numbers[name], limits)
            for name, limits in rule.when_known.items()
        )
        and not rule.unknown.intersection(facts.numbers)
        and all(facts.words[name] & wanted for name, wanted in rule.any_of.items())
        and not any(facts.words[name] & unwanted for name, unwanted in rule.none_of.items())
        and (rule.sequence_name is None or bool(_match(rule.sequence_name, facts.sequence_name)))
        and (rule.text is None or bool(_match(rule.text, facts.text)))
        and (rule.not_text is None or not _match(rule.not_text, facts.text))
    )


def _within(value: float, limits: Range) -> bool:
    smallest, largest = limits
    return (smallest is None or value >= smallest) and (largest is None or value <= largest)


def _match(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.IGNORECASE)
    return found.group(0) if found else ""


def _main_facts(facts: Facts) -> Iterator[str]:
    for name in _SHOWN_WITHOUT_RULE:
        if name in facts.numbers:
            yield f"{name} {_shown(facts.numbers[name])}{UNITS.get(name, '')}"
    for words in (Words.SCANNING_SEQUENCE, Words.SEQUENCE_VARIANT, Words.IMAGE_TYPE):
        if facts.words[words]:
            yield f"{words} {', '.join(sorted(facts.words[words]))}"
    yield "no rule holds"


def _shown(value: float) -> str:
    return f"{value:.5g}"


def _shown_range(limits: Range) -> str:
    smallest, largest = limits
    if smallest is None:
        return "any" if largest is None else f"up to {_shown(largest)}"
    return f"from {_shown(smallest)}" if largest is None else f"{_shown(smallest)}-{_shown(largest)}"
