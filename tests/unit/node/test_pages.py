"""What the pages show, and whom they let do what; asked over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from fastapi import HTTPException, Request
from fastapi.security import HTTPBasicCredentials
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from node.database import Database
from node.deliveries import Deliveries, DeliveryState
from node.errors import IndexUnavailableError, PartStoppedError
from node.evaluations import EvaluationState, Result
from node.health import Health, Strain
from node.listing import StudyChoice, StudyPage
from node.outcomes import Outcome, Outcomes
from node.removed import remember
from node.results.errors import PatientMismatchError
from node.study_report import render_study, study_record
from node.study_states import StudyState
from node.study_view import StudyViews
from node.web.access import MOST_WAITING, SIGN_ON_PAUSE_S, SIGNED_ON, SignOn
from node.web.settings import WebSettings
from tests.support.arrivals import STUDY_UID, at
from tests.support.peers import LOOPBACK
from tests.support.series_files import uid_from
from tests.support.shown_pages import Shown

SIGN_ON = {"user": "ward", "password": "secret words"}


def selection_of(kind: str) -> bytes:
    """Return what an evaluation kept that took the one Series of a Study for this kind."""
    stack = {
        "series_uid": "1.2.3.4",
        "series_number": 1,
        "label": "",
        "slices": 3,
        "series_type": None,
        "kind": kind,
        "evidence": [],
        "outcome": "not wanted",
        "reason": "",
    }
    return json.dumps({"stacks": [stack]}).encode()


@pytest.fixture
def shown(tmp_path: Path, database: Database) -> Shown:
    return Shown(tmp_path, database)


def test_list_can_be_chosen_and_paged(shown: Shown) -> None:
    def listed(choice: StudyChoice) -> list[str]:
        return [row.study_uid for row in shown.views.page(choice).rows]

    first, second, third = (str(uid_from("study", number)) for number in (1, 2, 3))
    assert listed(StudyChoice()) == [third, second, first], "the latest first"
    assert listed(StudyChoice(state=StudyState.EVALUATED)) == [first]
    assert listed(StudyChoice(state=StudyState.WAITING)) == [third, second]
    assert listed(StudyChoice(uid=second[5:-1])) == [second]
    assert listed(StudyChoice(uid="%")) == [], "a sign of the database's own stands for itself"
    assert listed(StudyChoice(uid=second[:-1], exactly=True)) == []
    assert listed(StudyChoice(number=2, size=2)) == [first]
    assert shown.views.page(StudyChoice(number=2, size=2)).total == 3


def test_pages_show_what_is_there(shown: Shown) -> None:
    with shown.served() as client:
        listed = client.get("/", params={"state": "evaluated"})
        assert listed.status_code == 200
        assert f'href="/studies/{STUDY_UID}"' in listed.text
        assert "1 Study of this choice" in listed.text
        study = client.get(f"/studies/{STUDY_UID}").text
        zero = '<td class="number" data-label="Lesions">0</td>'
        assert study.count(zero) == 1, "none found is a zero"
        assert '<td data-label="Sizes">none found' in study
        assert '<td data-label="Looked for on, by">T2-FLAIR and T1<br>' in study
        assert "<strong>Not assessed:</strong> no T1 &lt;Series&gt;" in study, "and not assessed is none"
        assert "the reference" in client.get("/engines").text
        assert "<dt>Sent by</dt><dd>SCANNER1</dd>" in study
        assert client.get("/static/style.css").status_code == 200


def test_page_beyond_the_last_leads_to_the_last(shown: Shown) -> None:
    """A bookmark of it, or a Study that was removed meanwhile, is no reason to say that there is none."""
    with shown.served() as client:
        answer = client.get("/", params={"page": 9, "state": "waiting"})
        assert (answer.status_code, answer.headers["location"]) == (307, "/?uid=&state=waiting&page=1")
        assert "2 Studies of this choice" in client.get(answer.headers["location"]).text


def test_address_that_can_not_be_answered_is_said_on_a_page(shown: Shown) -> None:
    with shown.served() as client:
        for query, named in (({"page": "next"}, "page: "), ({"uid": "1" * 65}, "uid: ")):
            answer = client.get("/", params=query)
            assert answer.status_code == 422
            assert answer.headers["content-type"].startswith("text/html")
            assert f"This address cannot be answered: {named}" in answer.text


def test_sentence_on_a_page_shows_commands_as_such_and_names_the_study_once(shown: Shown) -> None:
    study_uid = str(uid_from("study", 2))
    begun = shown.evaluations.begin(study_uid, None, at(40))
    assert begun is not None
    said = f"Study {study_uid}: nothing <i> can be assessed; `csvd-node study` shows why"
    shown.evaluations.fail(begun.evaluation_id, said, at(50))
    with shown.served() as client:
        for path in ("/?state=failed", f"/studies/{study_uid}"):
            page = client.get(path).text
            assert "Nothing &lt;i&gt; can be assessed; <code>csvd-node study</code> shows why" in page
            assert f"Study {study_uid}:" not in page


def test_page_of_a_failed_study_says_what_to_do(shown: Shown) -> None:
    study_uid = str(uid_from("study", 2))
    with shown.served() as client:
        assert "csvd-node retry" not in client.get(f"/studies/{study_uid}").text
        begun = shown.evaluations.begin(study_uid, None, at(40))
        assert begun is not None
        shown.evaluations.fail(begun.evaluation_id, "The disk is full.", at(50))
        assert (
            f"<code>csvd-node retry {study_uid}</code> sends again"
            in client.get(f"/studies/{study_uid}").text
        )
        again = shown.evaluations.retry(study_uid, at(60))
        mixed = PatientMismatchError(study_uid, "PatientID", "T2-FLAIR", "T1")
        shown.evaluations.fail(again.evaluation_id, str(mixed), at(70))
        page = client.get(f"/studies/{study_uid}").text
        assert f"<code>csvd-node remove {study_uid}</code>" in page, (
            "Instances that come again are kept apart"
        )
        assert "csvd-node retry" not in page, "it would fail again"
    with shown.served(allow_retry=True) as client:
        assert "csvd-node retry" not in client.get(f"/studies/{study_uid}").text, "the button does it"


def test_deliveries_stand_in_the_order_in_which_they_are_looked_for(shown: Shown) -> None:
    deliveries, (evaluation,) = Deliveries(shown.database), shown.evaluations.of_study(STUDY_UID)
    kinds = ("key-image-010", "key-image-002", "seg-LACUNE", "seg-WMH", "seg-combined", "pdf")
    shown.evaluations.add_results(
        evaluation.evaluation_id,
        [Result(f"1.2.3.{number}", kind, "1.2", f"{kind}.dcm") for number, kind in enumerate(kinds)],
    )
    made = ["1.2.3", *(f"1.2.3.{number}" for number in range(len(kinds)))]
    for destination in ("pacs", "archive"):
        deliveries.queue(evaluation.evaluation_id, destination, made, at(30))
    for one in deliveries.due(at(31)):
        came_to = DeliveryState.FAILED if one.kind == "pdf" else DeliveryState.DELIVERED
        if one.destination == "pacs":
            deliveries.record_attempt(one, came_to, None, "", at(32), None)
    listed = [(one.destination, one.kind) for one in shown.views.study(STUDY_UID).deliveries]
    in_order = ["sr", "seg-combined", "seg-WMH", "seg-LACUNE", "key-image-002", "key-image-010", "pdf"]
    assert listed[:7] == [("archive", kind) for kind in in_order]
    assert listed[7:] == [("pacs", kind) for kind in ("pdf", *in_order[:-1])], "what is missing comes first"


def test_findings_of_an_earlier_evaluation_are_called_so(shown: Shown) -> None:
    path, said = f"/studies/{STUDY_UID}", "these are of an earlier one"
    with shown.served() as client:
        assert said not in client.get(path).text
        shown.evaluations.retry(STUDY_UID, at(40))
        failed = shown.evaluations.of_study(STUDY_UID)[-1].evaluation_id
        shown.evaluations.fail(failed, "The disk is full.", at(50))
        page = client.get(path).text
    assert f"(it is failed): {said}" in page
    assert "White matter hyperintensity" in page
    assert page.count("The disk is full.") == 1, "the table of evaluations says where it was said"
    assert '<td class="why" data-label="Why">as above</td>' in page
    assert "Nothing of the latest evaluation is queued for a destination." in page


def test_study_that_was_not_assessed_is_not_called_without_findings(shown: Shown) -> None:
    path = f"/studies/{uid_from('study', 2)}"
    with shown.served() as client:
        assert "Nothing has been assessed yet. That does not mean that there is nothing to find." in (
            client.get(path).text
        )
        begun = shown.evaluations.begin(path.rpartition("/")[2], None, at(40))
        assert begun is not None
        shown.evaluations.fail(begun.evaluation_id, "The disk is full.", at(50))
        page = client.get(path).text
    assert "Nothing has been assessed. That does not mean that there is nothing to find." in page
    assert "no findings" not in page.lower()


def test_page_says_how_many_results_arrived_and_why_each_destination_has_them(shown: Shown) -> None:
    deliveries, (evaluation,) = Deliveries(shown.database), shown.evaluations.of_study(STUDY_UID)
    chosen = {"archive": "by the route MR*", "pacs": "sent the Study"}
    outcome = Outcome(fingerprint="5f", choices=(), instances={}, findings={}, destinations=chosen)
    Outcomes(shown.database).record(evaluation.evaluation_id, evaluation.run, outcome)
    for destination in chosen:
        deliveries.queue(evaluation.evaluation_id, destination, ["1.2.3"], at(30))
    for one in deliveries.due(at(31)):
        came_to = DeliveryState.DELIVERED if one.destination == "pacs" else DeliveryState.FAILED
        deliveries.record_attempt(one, came_to, None, "", at(32), None)
    with shown.served() as client:
        page = client.get(f"/studies/{STUDY_UID}").text
    assert "<dt>Delivered</dt><dd>1 of 2 results</dd>" in page
    assert "<li>To archive: by the route MR*</li><li>To pacs: sent the Study</li>" in page


def test_command_shows_findings_and_deliveries_in_few_lines_and_as_json(shown: Shown) -> None:
    deliveries, (evaluation,) = Deliveries(shown.database), shown.evaluations.of_study(STUDY_UID)
    before = render_study(shown.views.study(STUDY_UID)).plain
    assert "Deliveries" not in before
    for destination in ("archive", "pacs"):
        deliveries.queue(evaluation.evaluation_id, destination, ["1.2.3"], at(30))
    due = next(one for one in deliveries.due(at(31)) if one.destination == "pacs")
    deliveries.record_attempt(due, DeliveryState.FAILED, 0xA700, "out of space", at(32), at(92))

    view = shown.views.study(STUDY_UID)
    said = render_study(view).plain
    lines = [line.strip() for line in said.splitlines()]
    assert "Findings (AI result, not reviewed):" in lines
    rule = "a lesion: probability from 0.4, at least 0.05 ml"
    assert f"White matter hyperintensity: 0 lesions, 0.00 ml, on T2-FLAIR and T1; {rule}" in lines
    assert "Lacune: not assessed. no T1 <Series>" in lines
    assert "archive: 1 x report: not tried yet" in lines
    next_at = f"{at(92):%Y-%m-%d %H:%M:%S} UTC"
    assert f"pacs: 1 x report: not delivered. out of space (attempt 1; next at {next_at})" in lines
    record = json.loads(json.dumps(study_record(view)))
    assert [(one["destination"], one["state"]) for one in record["deliveries"]] == [
        ("archive", "pending"),
        ("pacs", "failed"),
    ]
    assert record["deliveries"][1]["last_status"] == 0xA700


def test_page_says_which_evaluation_took_the_series_for_what(shown: Shown) -> None:
    """The first one's choice lies where earlier versions wrote it; the second one fails without results."""
    (first,) = shown.evaluations.of_study(STUDY_UID)
    store, path = shown.arrivals.store, f"/studies/{STUDY_UID}"
    with shown.served() as client:
        assert "No evaluation got as far as to say what they are" in client.get(path).text
        store.put_result(STUDY_UID, first.evaluation_id, "abc-selection.json", selection_of("old choice"))
        page = client.get(path).text
        assert "old choice" in page
        assert "As evaluation" not in page

        shown.arrivals.whole("more", 40, series=2)
        second = shown.evaluations.begin(STUDY_UID, None, at(50))
        assert second is not None
        page = client.get(path).text
        assert "old choice" in page
        assert "As evaluation 1 took them" in page

        for run, kind in ((1, "first run"), (2, "second run")):
            store.put_result(STUDY_UID, second.evaluation_id, f"{run}-selection.json", selection_of(kind))
        shown.evaluations.fail(second.evaluation_id, "The disk is full.", at(60))
        page = client.get(path).text
        assert "first run" in page, "a run that was not begun has left nothing"
        assert "As evaluation" not in page, "it is the latest one that got so far"
        shown.evaluations.retry(STUDY_UID, at(70))
        assert "second run" in client.get(path).text


def test_pages_say_how_each_part_is_and_the_list_which_one_needs_somebody(shown: Shown) -> None:
    health = Health(["store", "database", "receiver"])
    health.opened("store", lambda: Strain("only 1 MB free: see `csvd-node remove`"))
    health.opened("database", lambda: "sqlite answers")

    def check() -> str:
        raise PartStoppedError("receiver")

    health.opened("receiver", check)
    with shown.served(health) as client:
        listed, page = client.get("/").text, client.get("/health").text
        for text in (listed, page):
            assert "only 1 MB free: see <code>csvd-node remove</code>" in text
            assert str(PartStoppedError("receiver")) in text
        assert "Not ready" in page
        assert "sqlite answers" in page
        assert "sqlite answers" not in listed, "what is well needs nobody"
        health.opened("receiver")
        assert "Ready: every part" in client.get("/health").text, "strain is no fault"


def test_page_of_the_models_says_which_are_left_out_and_whether_they_are_open_yet(shown: Shown) -> None:
    with shown.served() as client:
        page = client.get("/engines").text
        assert "Cerebral microbleed: no model" in page
        assert "White matter hyperintensity: no model" not in page
    health = Health(["engines"])
    health.opening("engines", "tensorrt cannot be used: there is no NVIDIA driver")
    with shown.served(health, engines=()) as client:
        page = client.get("/engines").text
        assert "No model is open yet: tensorrt cannot be used" in page
        assert "does not evaluate" not in page, "it will"
    with shown.served(engines=()) as client:
        assert "This process does not evaluate" in client.get("/engines").text


def test_index_that_is_away_is_said_with_what_follows_and_what_to_do(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> StudyPage:
        raise IndexUnavailableError("connection refused")

    monkeypatch.setattr(StudyViews, "page", away)
    with shown.served() as client:
        answer = client.get("/")
    assert answer.status_code == 503
    for words in ("Service Unavailable (503)", "connection refused", "takes no Instance", 'href="/health"'):
        assert words in answer.text


def test_what_is_not_there_is_said_on_a_page(shown: Shown) -> None:
    with shown.served() as client:
        for path, words in (
            ("/studies/1.2.3.4", "Study 1.2.3.4: not in the index, since it never came or was removed"),
            ("/nowhere", "Not Found"),
            (f"/studies/{STUDY_UID}/overlays.png", "There is no picture of this Study"),
        ):
            answer = client.get(path)
            assert answer.status_code == 404
            assert words in answer.text
            assert answer.headers["content-type"].startswith("text/html")


def test_page_of_a_removed_study_says_when_and_by_whom(shown: Shown) -> None:
    with shown.database.writing() as connection:
        remember(shown.database, connection, "1.2.3.4", "retention.days, which is 30", at(0))
    with shown.served() as client:
        answers = client.get("/studies/1.2.3.4"), client.get("/", params={"uid": "1.2.3.4"})
        assert "No Study is of this choice." in client.get("/", params={"uid": "1.2.3.5"}).text
    assert [answer.status_code for answer in answers] == [404, 200]
    for answer in answers:
        assert "since it was removed at 2024-01-15 09:00:00 UTC by retention.days" in answer.text


def test_study_that_came_again_is_not_called_absent_where_it_is_in_another_state(shown: Shown) -> None:
    here = str(uid_from("study", 1))
    with shown.database.writing() as connection:
        remember(shown.database, connection, here, "retention.days, which is 30", at(0))
    with shown.served() as client:
        answer = client.get("/", params={"uid": here, "state": "failed"}).text
    assert "No Study is of this choice." in answer
    assert "removed" not in answer


def test_what_a_visitor_types_is_not_taken_for_markup(shown: Shown) -> None:
    with shown.served() as client:
        answer = client.get("/", params={"uid": '"><script>', "state": "<b>"})
    assert "<script>" not in answer.text
    assert "<b>" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_what_is_no_uid_names_no_study(shown: Shown) -> None:
    """PostgreSQL takes no NUL in a text."""
    with shown.served() as client:
        assert client.get("/studies/%00").status_code == 404
        assert client.get("/studies/%00/overlays.png").status_code == 404
        assert client.get("/?uid=%00").status_code == 200


def test_pages_need_no_script_and_nothing_from_elsewhere(shown: Shown) -> None:
    with shown.served() as client:
        for path in ("/", f"/studies/{STUDY_UID}", "/engines"):
            text = client.get(path).text
            assert "<script" not in text
            assert "http://" not in text
            assert "https://" not in text


def test_button_takes_up_a_study_only_from_a_page_of_ours(shown: Shown) -> None:
    path = f"/studies/{STUDY_UID}"

    def run() -> int:
        return shown.evaluations.of_study(STUDY_UID)[-1].run

    with shown.served(allow_retry=True) as client:
        assert client.post(f"{path}/retry", data={"token": "guessed"}).status_code == 403
        assert client.post(f"{path}/retry").status_code == 403
        page = client.get(path)
        token = page.text.split('name="token" value="')[1].split('"')[0]
        assert "samesite=strict" in page.headers["set-cookie"].lower()
        assert client.post(f"{path}/retry", data={"token": "another"}).status_code == 403
        assert run() == 1
        done = client.post(f"{path}/retry", data={"token": token})
        assert (done.status_code, done.headers["location"]) == (303, path)
    assert run() == 2
    assert shown.evaluations.of_study(STUDY_UID)[-1].state is EvaluationState.WAITING


def test_button_sends_again_what_was_delivered(shown: Shown) -> None:
    path, deliveries = f"/studies/{STUDY_UID}", Deliveries(shown.database)
    (evaluation,) = shown.evaluations.of_study(STUDY_UID)
    deliveries.queue(evaluation.evaluation_id, "pacs", ["1.2.3"], at(31))
    with shown.served(allow_retry=True) as client:
        assert "Send again" not in client.get(path).text, "nothing was delivered yet"
        (queued,) = deliveries.due(at(31))
        deliveries.record_attempt(queued, DeliveryState.DELIVERED, 0, "", at(32), None)
        page = client.get(path).text
        assert "Send again" in page
        token = page.split('name="token" value="')[1].split('"')[0]
        assert client.post(f"{path}/resend", data={"token": "guessed"}).status_code == 403
        assert deliveries.due(at(1000)) == []
        assert client.post(f"{path}/resend", data={"token": token}).status_code == 303
        assert [each.destination for each in deliveries.due(at(1000))] == ["pacs"]
        again = client.post(f"{path}/resend", data={"token": token})
    assert (again.status_code, "nothing of it was delivered" in again.text) == (409, True)


def test_button_is_off_unless_it_is_allowed(shown: Shown) -> None:
    with shown.served() as client:
        assert "Take up again" not in client.get(f"/studies/{STUDY_UID}").text
        client.cookies.set("csvd_form", "token")
        for action in ("retry", "resend"):
            answer = client.post(f"/studies/{STUDY_UID}/{action}", data={"token": "token"})
            assert answer.status_code == 403
            assert "web.allow_retry" in answer.text


def test_pages_ask_for_a_password_where_one_is_set_and_probes_do_not(shown: Shown) -> None:
    with shown.served(**SIGN_ON) as client:
        assert client.get("/").status_code == 401
        assert client.get("/").headers["www-authenticate"].startswith("Basic")
        assert client.get("/", auth=("ward", "wrong")).status_code == 401
        assert client.get("/", auth=("other", "secret words")).status_code == 401
        assert client.get("/", auth=("ward", "secret words")).status_code == 200
        assert client.get("/health/live").status_code == 200
        assert client.get("/metrics").status_code == 200


def test_wrong_password_is_counted_and_told_without_what_was_typed(shown: Shown) -> None:
    with capture_logs() as logs, shown.served(**SIGN_ON) as client:
        client.get("/")
        client.get("/", auth=("guessed name", "guessed words"))
        assert "csvd_sign_ons_refused_total 1.0" in client.get("/metrics").text
    told = [line for line in logs if line["event"] == "web.sign_on_refused"]
    assert [line["peer"] for line in told] == [LOOPBACK]
    assert "guessed" not in str(logs)


def test_nobody_guesses_fast_and_who_signed_on_waits_no_more(shown: Shown) -> None:
    right, wrong = ("ward", "secret words"), ("ward", "wrong")

    def took_s(auth: tuple[str, str]) -> float:
        began = time.monotonic()
        client.get("/", auth=auth)
        return time.monotonic() - began

    with shown.served(**SIGN_ON) as client:
        assert took_s(wrong) >= SIGN_ON_PAUSE_S
        assert took_s(right) >= SIGN_ON_PAUSE_S, "an answer that comes sooner would tell a right guess"
        assert min(took_s(right) for _ in range(3)) < SIGN_ON_PAUSE_S
        assert took_s(wrong) >= SIGN_ON_PAUSE_S, "who signed on does not guess fast either"
        with httpx.Client(base_url=client.base_url) as another:
            assert another.get("/", auth=wrong).status_code == 401
        assert min(took_s(right) for _ in range(3)) < SIGN_ON_PAUSE_S, "all have one address behind a proxy"
        client.cookies.set(SIGNED_ON, f"00.{'00' * 32}")
        assert took_s(right) >= SIGN_ON_PAUSE_S, "a pass that the node did not make is none"


@pytest.mark.parametrize(("password", "counts"), [("secret words", True), ("new words", False)])
def test_pass_counts_at_each_process_that_shows_the_pages_until_the_password_is_changed(
    shown: Shown, password: str, *, counts: bool
) -> None:
    """Behind the one address of a Kubernetes Service, connections go to any of them."""
    with shown.served(**SIGN_ON) as client:
        client.get("/", auth=("ward", "secret words"))
        given = client.cookies[SIGNED_ON]
    with shown.served(**{**SIGN_ON, "password": password}) as client:
        client.cookies.set(SIGNED_ON, given)
        answer = client.get("/", auth=("ward", password))
    assert answer.status_code == 200
    assert (SIGNED_ON not in answer.cookies) is counts, "who had to wait gets another pass"


WRONG = HTTPBasicCredentials(username="ward", password=str(MOST_WAITING))


async def answers_to(sign_on: SignOn, attempts: Sequence[tuple[str, HTTPBasicCredentials]]) -> list[int]:
    """Try to sign on from these addresses at once, and return the statuses."""
    requests = [
        Request({"type": "http", "client": (address, 4711), "headers": []}) for address, _ in attempts
    ]
    checks = [sign_on.check(request, given) for request, (_, given) in zip(requests, attempts, strict=True)]
    answers = await asyncio.gather(*checks, return_exceptions=True)
    return [error.status_code if isinstance(error, HTTPException) else 200 for error in answers]


def test_attempts_to_sign_on_keep_only_so_many_connections_waiting() -> None:
    refused: list[int] = []
    sign_on = SignOn(WebSettings.model_validate(SIGN_ON), lambda: refused.append(1), pause_s=0.1)
    for _ in range(2):
        answers = asyncio.run(answers_to(sign_on, [("192.0.2.1", WRONG)] * (MOST_WAITING + 2)))
        assert answers == [401] * MOST_WAITING + [429] * 2
    assert len(refused) == 2 * MOST_WAITING


def test_who_guesses_from_one_address_makes_room_for_those_from_others() -> None:
    sign_on = SignOn(WebSettings.model_validate(SIGN_ON), lambda: None, pause_s=0.1)
    right = HTTPBasicCredentials(username=SIGN_ON["user"], password=SIGN_ON["password"])
    flood = [("192.0.2.1", WRONG)] * (2 * MOST_WAITING)
    honest = [(f"192.0.2.{number}", right) for number in (2, 3)]
    answers = asyncio.run(answers_to(sign_on, [*flood, *honest, *flood]))
    assert answers[len(flood) : len(flood) + 2] == [200, 200]
    assert answers.count(401) == MOST_WAITING - 2


def test_user_without_password_is_refused() -> None:
    with pytest.raises(ValidationError, match="belong together"):
        WebSettings(user="ward")
    with pytest.raises(ValidationError, match="belong together"):
        WebSettings(password=SecretStr("secret"))
