"""The pages for people: Studies, one Study, the models. They carry UIDs, and no attribute of a patient."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.templating import Jinja2Templates
from markupsafe import Markup, escape

from engines.segmentation import Segmentor
from engines.segments import Segment
from node.errors import UnknownStudyError
from node.health import Condition, PartState
from node.identity import SOFTWARE_VERSION
from node.listing import StudyChoice
from node.part10 import is_uid
from node.study_states import StudyState
from node.study_view import StudyViews
from node.web.access import SignOn, check_token, form_token, keep_token
from node.web.settings import WebSettings
from node.words import (
    clock,
    delivered_result,
    delivery_state,
    dicom_status,
    kept_apart,
    number,
    series_name,
    volume,
)

SIZE = 50
"""Studies on a page."""

_COMMAND = re.compile(r"`([^`]+)`")
"""A command in a sentence, as terminals show it."""

LONGEST_UID = 64
"""Characters of a UID (PS3.5 9.1)."""


@dataclass(frozen=True, slots=True)
class EngineLine:
    """A model of this process, what runs it, on what proof, and why nothing else does."""

    segment: str
    model: str
    runner: str
    proof: str
    passed_over: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PageSources:
    """What the pages show.

    Attributes:
        views: the Studies.
        engines: the models of this process; none where it does not evaluate.
        retry: takes up a Study again and says how.
        resend: sends again what of a Study was delivered and says how much.
        conditions: the parts of this process, and how each is now.
    """

    views: StudyViews
    engines: Callable[[], Sequence[EngineLine]]
    retry: Callable[[str], str]
    resend: Callable[[str], str]
    conditions: Callable[[], Sequence[Condition]]


class Pages:
    """Answers requests; what each function takes of a request, FastAPI reads from its arguments.

    Args:
        sources: what is shown.
        settings: what may be done from a page.
    """

    def __init__(self, sources: PageSources, settings: WebSettings) -> None:
        self._sources, self._settings, self._templates = sources, settings, page_templates()

    def studies(
        self,
        request: Request,
        state: str = "",
        uid: Annotated[str, Query(max_length=LONGEST_UID)] = "",
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    ) -> Response:
        """List Studies."""
        chosen = StudyState(state) if state in set(StudyState) else None
        # Another character than those of a UID finds nothing, and PostgreSQL takes no NUL in a text.
        wanted = uid.strip().replace("\0", "?")
        found = self._sources.views.page(StudyChoice(chosen, wanted, number=page, size=SIZE))
        pages = max(1, math.ceil(found.total / SIZE))
        if page > pages:
            return RedirectResponse(f"/?{urlencode({'uid': uid, 'state': state, 'page': pages})}")
        concerns = [each for each in self._sources.conditions() if each.state is not PartState.OPEN]
        shown = {"found": found, "states": list(StudyState), "state": state, "uid": uid, "concerns": concerns}
        if not found.total and is_uid(wanted):
            shown["why_absent"] = self._sources.views.why_absent(wanted)
        return self._shown(request, "studies.html", {**shown, "page": page, "pages": pages})

    def study(self, request: Request, study_uid: str) -> Response:
        """Show one Study."""
        view, token = self._sources.views.study(_checked(study_uid)), form_token(request)
        shown = {"study": view, "token": token, "allow_retry": self._settings.allow_retry}
        response = self._shown(request, "study.html", shown)
        if self._settings.allow_retry:
            keep_token(response, token)
        return response

    def picture(self, study_uid: str) -> Response:
        """Show the picture of the overlays."""
        content = self._sources.views.picture(_checked(study_uid))
        if content is None:
            raise HTTPException(404, "There is no picture of this Study")
        return Response(content, media_type="image/png")

    def retry(self, study_uid: str) -> Response:
        """Take up a Study again."""
        return self._done(self._sources.retry, study_uid)

    def resend(self, study_uid: str) -> Response:
        """Send again what of a Study was delivered."""
        return self._done(self._sources.resend, study_uid)

    def engines(self, request: Request) -> Response:
        """Show what runs each model."""
        engines = self._sources.engines()
        opened = {engine.segment for engine in engines}
        shown: dict[str, object] = {
            "engines": engines,
            "left_out": [segment.label for segment in Segment if segment.label not in opened],
            "part": next((each for each in self._sources.conditions() if each.part == "engines"), None),
        }
        return self._shown(request, "engines.html", shown)

    def health(self, request: Request) -> Response:
        """Show how each part of this process is."""
        return self._shown(request, "health.html", {"conditions": self._sources.conditions()})

    def _done(self, action: Callable[[str], str], study_uid: str) -> Response:
        """Do what a button asks for, where buttons are allowed, and show the Study."""
        if not self._settings.allow_retry:
            raise HTTPException(403, "Set web.allow_retry to take up Studies from here")
        action(_checked(study_uid))
        return RedirectResponse(f"/studies/{study_uid}", status_code=303)

    def _shown(self, request: Request, template: str, values: dict[str, object]) -> Response:
        return self._templates.TemplateResponse(request, template, values)


def page_router(sources: PageSources, settings: WebSettings, sign_on: SignOn) -> APIRouter:
    """Make the routes of the pages.

    Args:
        sources: what they show.
        settings: what they allow.
        sign_on: lets in who may see them.
    """
    pages = Pages(sources, settings)
    router = APIRouter(dependencies=[Depends(sign_on.check)], include_in_schema=False)
    router.get("/", response_class=HTMLResponse)(pages.studies)
    router.get("/studies/{study_uid}", response_class=HTMLResponse)(pages.study)
    router.get("/studies/{study_uid}/overlays.png")(pages.picture)
    router.post("/studies/{study_uid}/retry", dependencies=[Depends(check_token)])(pages.retry)
    router.post("/studies/{study_uid}/resend", dependencies=[Depends(check_token)])(pages.resend)
    router.get("/engines", response_class=HTMLResponse)(pages.engines)
    router.get("/health", response_class=HTMLResponse)(pages.health)
    return router


def _checked(study_uid: str) -> str:
    if not is_uid(study_uid):
        raise UnknownStudyError(study_uid[:LONGEST_UID])
    return study_uid


def engine_lines(segmentors: Mapping[Segment, Segmentor]) -> list[EngineLine]:
    """Describe the models that this process has open, and why each is run by what runs it."""
    return [_engine_line(segment, each) for segment, each in segmentors.items()]


def _engine_line(segment: Segment, segmentor: Segmentor) -> EngineLine:
    model = f"{segmentor.manifest.name} {segmentor.manifest.version}"
    report = segmentor.report
    proof, passed_over = ("", ()) if report is None else (report.proof, tuple(map(str, report.passed_over)))
    return EngineLine(segment.label, model, segmentor.runner.name, proof, passed_over)


def _marked_up(sentence: str, study_uid: str) -> Markup:
    """Show a sentence on a page that is about its Study already; commands look like commands."""
    about = f"Study {study_uid}: "
    said = sentence.removeprefix(about)
    if said != sentence:
        said = said[:1].upper() + said[1:]
    return Markup(_COMMAND.sub(r"<code>\1</code>", str(escape(said))))  # noqa: S704 - escaped just before


def page_templates() -> Jinja2Templates:
    """Return the templates, with what they say values by."""
    templates = Jinja2Templates(Path(__file__).with_name("templates"))
    templates.env.filters |= {
        "clock": clock,
        "delivered_result": delivered_result,
        "delivery_state": delivery_state,
        "kept_apart": kept_apart,
        "marked_up": _marked_up,
        "dicom_status": dicom_status,
        "number": number,
        "series_name": series_name,
        "volume": volume,
    }
    templates.env.globals["version"] = SOFTWARE_VERSION
    templates.env.trim_blocks = templates.env.lstrip_blocks = True
    return templates
