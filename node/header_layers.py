"""One question, several data sets: the header of a frame as layers, the most specific one first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset

from node.private_elements import PrivateBlocks


@dataclass(frozen=True, slots=True)
class HeaderLayers:
    """The data sets that describe a frame; an element counts where it is first found with a value.

    Attributes:
        datasets: the Standard's functional groups, the data set itself, then vendors' copies.
        private: their private blocks, the most specific ones first.
    """

    datasets: Sequence[Dataset]
    private: Sequence[PrivateBlocks]

    def value(self, *keywords: str) -> object:
        """Return the first non-empty value of the first keyword that has one, else None."""
        for keyword in keywords:
            for dataset in self.datasets:
                found = _value(dataset, keyword)
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
        """Return the values as finite numbers, none if one of them is no number."""
        try:
            return tuple(float(text) for text in self.texts(*keywords))
        except ValueError:
            return ()

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


def first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    """Return the first item of a sequence, None without the sequence or an item in it."""
    sequence = dataset.get(keyword)
    return sequence[0] if sequence else None


def _value(dataset: Dataset, keyword: str) -> object:
    if keyword not in dataset:
        return None
    try:
        found = dataset[keyword].value
    # pydicom converts on access; what is no value of the element's VR counts as not stated.
    except (TypeError, ValueError, NotImplementedError, OverflowError):
        return None
    return None if found is None or found == "" or found == [] else found


def _as_texts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return (str(value).strip(),)
    return tuple(str(part).strip() for part in value)
