"""Makes results one after the other, so that one that cannot be made takes no other with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from node.results.errors import EncodingFailedError, ResultError
from node.results.files import encode
from node.results.forms import NAMES, Form
from node.results.result_object import ResultObject

_FOREIGN = (ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError)
"""What the libraries raise of values that they do not take. A file that cannot be read is no such thing."""


@dataclass(frozen=True, slots=True)
class NotMade:
    """Results that could not be made.

    Attributes:
        form: their form.
        name: what a person calls them.
        error: why.
    """

    form: Form
    name: str
    error: ResultError

    @property
    def remark(self) -> str:
        """Say for a reader of the other results what is missing, and why."""
        return f"Not made: {self.name}; {self.error.problem}"

    @property
    def reason(self) -> str:
        """Say which results are missing, why and what to do."""
        return f"Not made: {self.name}; {self.error}"


@dataclass(frozen=True, slots=True)
class Making:
    """What was made of an evaluation so far, and what could not be.

    Attributes:
        study_uid: Study Instance UID.
        not_made: gets what could not be made; without it the first such fault is raised.
        made: the results, in the order in which they were made.
    """

    study_uid: str
    not_made: list[NotMade] | None = None
    made: list[ResultObject] = field(default_factory=list)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Say what could not be made until now."""
        return tuple(one.remark for one in self.not_made or ())

    def make(
        self, form: Form, build: Callable[[], Iterable[ResultObject]], name: str = ""
    ) -> list[ResultObject]:
        """Make some results that belong together: all of them or, if one cannot be, none.

        They are encoded to see that they can be, since others refer to them. ``name`` is that of the form if
        it is empty.

        Raises:
            ResultError: if it may pass by itself, or nobody is told of it.
        """
        name = name or NAMES[form]
        try:
            made = self._proven(name, build)
        except ResultError as error:
            if self.not_made is None or error.retryable:
                raise
            self.not_made.append(NotMade(form, name, error))
            return []
        self.made.extend(made)
        return made

    def _proven(self, name: str, build: Callable[[], Iterable[ResultObject]]) -> list[ResultObject]:
        try:
            made = list(build())
        except _FOREIGN as error:
            raise EncodingFailedError(self.study_uid, "", name, type(error).__name__) from error
        for one in made:
            encode(one)
        return made
