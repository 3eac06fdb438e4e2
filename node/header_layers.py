"""One question, several data sets: the header of a frame as layers, the most specific one first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.tag import BaseTag

from node.damaged_files import READING_ERRORS
from node.printable import printable
from node.private_elements import PrivateBlocks


@dataclass(frozen=True, slots=True)
class Layer:
    """A data set with what makes looking things up in it fast: enhanced objects ask thousands of times.

    Attributes:
        dataset: the data set.
        tags: the tags of its elements.
        private: its private blocks.
    """

    dataset: Dataset
    tags: frozenset[int]
    private: PrivateBlocks

    @classmethod
    def of(cls, dataset: Dataset) -> Layer:
        """Index a data set."""
        return cls(dataset, frozenset(int(tag) for tag in dataset.keys()), PrivateBlocks(dataset))  # noqa: SIM118

    def value(self, keyword: str) -> object:
        """Return a value, None if the element is absent, empty, or no value of its VR."""
        tag = _tag(keyword)
        if int(tag) not in self.tags:
            return None
        try:
            found = self.dataset[tag].value
        # pydicom converts on access; what is no value of the element's VR counts as not stated.
        except READING_ERRORS:
            return None
        return None if found is None or found == "" or found == [] else found

    def items(self, keyword: str) -> Sequence[Dataset]:
        """Return the items of a sequence."""
        found = self.value(keyword)
        return found if isinstance(found, Sequence) and not isinstance(found, str) else ()

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Return the values as numbers, none if one of them is no finite number."""
        return _as_numbers(self.value(keyword))

    def words(self, keyword: str) -> tuple[str, ...]:
        """Return the values as code strings: upper case, without the empty ones."""
        return tuple(text.upper() for text in _as_texts(self.value(keyword)) if text)


@dataclass(frozen=True, slots=True)
class HeaderLayers:
    """The data sets that describe a frame; an element counts where it is first found with a value.

    Attributes:
        standard: the Standard's functional groups, the data set itself, then vendors' copies.
        private: the same data sets in the order in which their private elements count.
    """

    standard: Sequence[Layer]
    private: Sequence[Layer]

    @classmethod
    def of(cls, *datasets: Dataset) -> HeaderLayers:
        """Layer data sets, the most specific one first."""
        layers = tuple(Layer.of(dataset) for dataset in datasets)
        return cls(layers, layers)

    def value(self, *keywords: str) -> object:
        """Return the first non-empty value of the first keyword that has one, else None."""
        for keyword in keywords:
            for layer in self.standard:
                found = layer.value(keyword)
                if found is not None:
                    return found
        return None

    def text(self, *keywords: str) -> str:
        """Return a value as text, empty if there is none; several values are joined by backslashes."""
        return "\\".join(self.texts(*keywords))

    def texts(self, *keywords: str) -> tuple[str, ...]:
        """Return the values as texts."""
        return _as_texts(self.value(*keywords))

    def words(self, *keywords: str) -> tuple[str, ...]:
        """Return the values as code strings: upper case, without the empty ones."""
        return tuple(text.upper() for text in self.texts(*keywords) if text)

    def numbers(self, *keywords: str) -> tuple[float, ...]:
        """Return the values as numbers, none if one of them is no finite number."""
        return _as_numbers(self.value(*keywords))

    def number(self, *keywords: str) -> float | None:
        """Return the first value as a number."""
        return next(iter(self.numbers(*keywords)), None)

    def positive(self, *keywords: str) -> float | None:
        """Return the first value as a number above 0: vendors write 0 for times that do not apply."""
        found = self.number(*keywords)
        return found if found is not None and found > 0 else None

    def integer(self, *keywords: str) -> int | None:
        """Return the first value as a whole number."""
        found = self.number(*keywords)
        return None if found is None else int(found)


@cache
def _tag(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return BaseTag(tag)


def _as_numbers(value: object) -> tuple[float, ...]:
    try:
        numbers = tuple(float(text) for text in _as_texts(value))
    except ValueError:
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()


def _as_texts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return (printable(str(value).strip()),)
    return tuple(printable(str(part).strip()) for part in value)
