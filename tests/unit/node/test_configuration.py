"""Every fault of a configuration is named with its place."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from engines.segments import Segment
from node.configuration import ConfigurationError, load_settings
from node.dicomweb import StowDestinationSettings
from node.outbound import DestinationSettings
from node.roles import Role
from node.settings_reference import list_settings, render_settings
from tests.support.derived_files import CONFIGURATION, REMEDY, with_settings

DOCS = Path(__file__).resolve().parents[3] / "docs"

WHOLE = """\
root: {root}
receiver:
  ae_title: BRAIN
  port: 10400
  calling_aes: [MR1, MR2]
destinations:
  pacs: {{ae_title: PACS, host: 127.0.0.1, port: 104}}
  research: {{ae_title: STORE, host: 127.0.0.1, port: 105}}
routes:
  - {{calling_ae: "MR*", destinations: [pacs]}}
identification:
  rules:
    - kind: our own FLAIR
      series_type: T2_FLAIR
      sequence_name: "^tirm"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "node.yaml"
    path.write_text(text)
    return path


@pytest.fixture(autouse=True)
def _no_variables_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("CSVD_"):
            monkeypatch.delenv(name)


def test_file_is_read(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, WHOLE.format(root=tmp_path / "data")))
    assert settings.receiver.ae_title == "BRAIN"
    assert settings.receiver.calling_aes == ("MR1", "MR2")
    assert settings.destinations["research"].port == 105
    assert settings.identification.rules[0].kind == "our own FLAIR"


def test_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, WHOLE.format(root=tmp_path / "data"))
    monkeypatch.setenv("CSVD_RECEIVER__PORT", "11113")
    settings = load_settings(path)
    assert (settings.receiver.port, settings.receiver.ae_title) == (11113, "BRAIN")


def test_environment_replaces_one_segmentor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_file, of_variable = tmp_path / "file", tmp_path / "variable"
    for folder in (of_file, of_variable):
        folder.mkdir()
        (folder / "manifest.yaml").touch()
    path = write(tmp_path, f"root: {tmp_path}\nsegmentors: {{WMH: {of_file}}}\n")
    before = load_settings(path).segmentors
    assert before[Segment.WMH] == of_file
    monkeypatch.setenv("CSVD_SEGMENTORS__WMH", str(of_variable))
    assert load_settings(path).segmentors == {**before, Segment.WMH: of_variable}


def test_file_is_found_through_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSVD_CONFIG", str(write(tmp_path, WHOLE.format(root=tmp_path / "data"))))
    assert load_settings().receiver.port == 10400


def test_defaults_are_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.receiver.host == "127.0.0.1"
    assert not settings.receiver.accept_any_calling_ae
    assert settings.receiver.calling_aes == ()
    assert settings.index_url == f"sqlite:///{tmp_path}/csvd-data/index.sqlite"


@pytest.mark.parametrize(
    ("text", "place", "fault"),
    [
        pytest.param(
            "receiver:\n  prot: 1\n",
            "node.yaml:2: receiver.prot",
            "no such setting; is it port?",
            id="unknown key",
        ),
        pytest.param("recv: {}\n", "node.yaml:1: recv", "no such setting", id="unknown section"),
        pytest.param(
            "destinations:\n  pacs: {ae_titel: PACS, host: here, port: 104}\n",
            "node.yaml:2: destinations.pacs.ae_titel",
            "no such setting; is it ae_title?",
            id="unknown key below a name",
        ),
        pytest.param(
            "destinations:\n  pacs: {ae_title: A, host: a, port: 104}\n"
            "  pacs: {ae_title: B, host: b, port: 104}\n",
            "node.yaml:3: pacs",
            "stands in line 2 already",
            id="a name twice",
        ),
        pytest.param("log: {level: INFO, level: DEBUG}\n", "node.yaml:1: level", "already", id="a key twice"),
        pytest.param(
            "receiver: {port: 0104}\n", "node.yaml:1", "for another one: write it without", id="octal port"
        ),
        pytest.param(
            "sender: {connect_timeout_s: 1:30}\n",
            "node.yaml:1",
            "for another one: write it without",
            id="base 60",
        ),
        pytest.param(
            "1: 2\n", "node.yaml:1: 1", "a name must be text: put it in quotes", id="number as a key"
        ),
        pytest.param("receiver: {port: 1_0}\n", "node.yaml:1", "for another one: write it without", id="1_0"),
        pytest.param(
            "receiver: {port: yes}\n", "node.yaml:1: receiver.port", "must be a whole number", id="port yes"
        ),
        pytest.param(
            "receiver: {port: true}\n", "node.yaml:1: receiver.port", "must be a whole number", id="port true"
        ),
        pytest.param(
            "receiver: {port: 1.5}\n",
            "node.yaml:1: receiver.port",
            "must be a whole number",
            id="half a port",
        ),
        pytest.param(
            "sender: {connect_timeout_s: on}\n",
            "node.yaml:1: sender.connect_timeout_s",
            "must be a number",
            id="seconds on",
        ),
        pytest.param(
            "web: {allow_retry: maybe}\n", "web.allow_retry", "must be true or false", id="neither on nor off"
        ),
        pytest.param(
            "root: ~no-such-user/data\n",
            "node.yaml:1: root",
            "~no-such-user is no home folder here: write the whole path",
            id="home of nobody",
        ),
        pytest.param("? [a]\n: b\n", "node.yaml:1", "a name must be text", id="list as a key"),
        pytest.param("log: &log {level: *log}\n", "node.yaml", "within itself", id="alias of itself"),
        pytest.param(
            "log: {level: !!int x}\n", "node.yaml", "not of its own type", id="number without digits"
        ),
        pytest.param(
            "receiver: {port: 1}\nReceiver: {port: 2}\n",
            "node.yaml:2: Receiver",
            "no such setting; is it receiver?",
            id="section in capitals",
        ),
        pytest.param(
            "_env_prefix: X\n", "node.yaml:1: _env_prefix", "no such setting", id="no setting of ours"
        ),
        pytest.param(
            "receiver: {calling_aes: MR1}\n", "receiver.calling_aes", "must be a list", id="text for a list"
        ),
        pytest.param(
            "receiver:\n", "node.yaml:1: receiver", "must hold keys and values", id="a section without keys"
        ),
        pytest.param(
            "receiver: {calling_aes: ['MR1 ']}\n",
            "receiver.calling_aes.0",
            "is no AE title: 1 to 16 printable ASCII characters",
            id="AE title with a blank",
        ),
        pytest.param(
            "destinations: {pacs: {ae_title: 4711, host: here, port: 104}}\n",
            "destinations.pacs.ae_title",
            "must be text: put it in quotes",
            id="AE title that YAML takes for a number",
        ),
        pytest.param(
            "receiver:\n  port: 70000\n", "node.yaml:2: receiver.port", "less than or equal", id="port"
        ),
        pytest.param(
            "receiver:\n\n  ae_title: A TITLE THAT IS TOO LONG\n",
            "node.yaml:3: receiver.ae_title",
            "16",
            id="AE title",
        ),
        pytest.param(
            "destinations:\n  pacs: {ae_title: PACS, host: here}\n",
            "node.yaml:2: destinations.pacs.port",
            "required",
            id="missing field",
        ),
        pytest.param(
            "destinations:\n  web: {commitment: true, stow: {url: 'http://here'}}\n",
            "node.yaml:2: destinations.web",
            "commitment is for destinations with ae_title, host and port; STOW-RS has none",
            id="commitment over STOW-RS",
        ),
        pytest.param(
            "sender: {ae_title: SCU}\n"
            "destinations:\n  pacs: {ae_title: PACS, host: here, port: 104, commitment: true}\n",
            "configuration",
            "destinations.pacs.commitment: the archive reports to the AE that asks it: give "
            "sender.ae_title (SCU) and receiver.ae_title (CSVD) the same value",
            id="commitment that nobody would hear of",
        ),
        pytest.param(
            "routes:\n  - {calling_ae: X, destinations: [nowhere]}\n",
            "configuration",
            "routes.0: no destination is named nowhere",
            id="route to nowhere",
        ),
        pytest.param("- a\n", "node.yaml", "must hold keys and values", id="a list"),
        pytest.param("a: [\n", "node.yaml", "is not YAML", id="broken YAML"),
        pytest.param(
            "segmentors:\n  WMH: /no/such/bundle\n", "segmentors.WMH", "no model bundle at", id="bundle path"
        ),
        pytest.param(
            "segmentors:\n  TUMOUR: /x\n", "segmentors.TUMOUR", "Input should be", id="unknown segment"
        ),
        pytest.param(
            "root: /dev/null/data\n",
            "root",
            "/dev/null/data cannot be made or written: /dev/null is no folder",
            id="root below a file",
        ),
    ],
)
def test_fault_is_named_with_its_place(tmp_path: Path, text: str, place: str, fault: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_settings(write(tmp_path, text))
    message = str(raised.value)
    assert place in message
    assert fault in message


STOW = "destinations:\n  pacs:\n    stow:\n      url: http://here\n      basic:\n        user: us\n"


@pytest.mark.parametrize(
    "password",
    [
        "*Hunter2",
        "!Hunter2",
        "!x!Hunter2",
        "&Hunter2",
        '"Hunter2',
        "'Hunter'2",
        "Hunter2: x",
        "[Hunter2",
        "07411",
    ],
)
def test_fault_does_not_repeat_a_password(tmp_path: Path, password: str) -> None:
    with pytest.raises(ConfigurationError, match=r"node\.yaml:[78]: ") as raised:
        load_settings(write(tmp_path, f"{STOW}        password: {password}\n"))
    assert "Hunter" not in str(raised.value)
    assert "7411" not in str(raised.value)


def test_date_is_the_text_that_is_written(tmp_path: Path) -> None:
    """No setting is a date, and a password may look like one that is none."""
    path = write(tmp_path, f"root: {tmp_path}\n{STOW}        password: 2026-13-45\n")
    destination = load_settings(path).destinations["pacs"]
    assert isinstance(destination, StowDestinationSettings)
    assert destination.stow.basic is not None
    assert destination.stow.basic.password.get_secret_value() == "2026-13-45"


@pytest.mark.parametrize(
    ("written", "expected"),
    [("yes", True), ("true", True), ("On", True), ("no", False), ("False", False), ("off", False)],
)
def test_word_is_what_its_setting_takes_it_for(tmp_path: Path, written: str, expected: bool) -> None:
    """YAML alone would make false of an AE title or a destination that is called NO."""
    text = f"web: {{allow_retry: {written}}}\ndestinations:\n  no: {{ae_title: NO, host: here, port: 104}}\n"
    settings = load_settings(write(tmp_path, f"root: {tmp_path}\n{text}"))
    assert settings.web.allow_retry is expected
    assert [(name, str(one)) for name, one in settings.destinations.items()] == [("no", "NO@here:104")]


def test_every_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CSVD_CONFIG", "~/node.yaml")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "manifest.yaml").touch()
    write(
        tmp_path,
        "root: ~/data\n"
        "engines: {cache: ~/plans}\n"
        "segmentors: {WMH: ~/bundle}\n"
        "receiver: {tls: {certificate: ~/a.pem, key: ~/a.key, ca: ~/ca.pem}}\n"
        "destinations:\n"
        "  pacs: {ae_title: A, host: a, port: 1, tls: {certificate: ~/a.pem, key: ~/a.key, ca: ~/ca.pem}}\n"
        "  web: {stow: {url: 'https://a', certificate: ~/a.pem, key: ~/a.key, ca: ~/ca.pem}}\n",
    )
    settings = load_settings()
    assert (settings.root, settings.engine_folder) == (tmp_path / "data", tmp_path / "plans")
    assert settings.segmentors[Segment.WMH] == tmp_path / "bundle"
    files = tmp_path / "a.pem", tmp_path / "a.key", tmp_path / "ca.pem"
    pacs, web = settings.destinations["pacs"], settings.destinations["web"]
    assert isinstance(pacs, DestinationSettings)
    assert isinstance(web, StowDestinationSettings)
    for used in (settings.receiver.tls, pacs.tls, web.stow):
        assert used is not None
        assert (used.certificate, used.key, used.ca) == files


def test_keys_can_be_taken_over_from_another_section(tmp_path: Path) -> None:
    text = "destinations:\n  a: &all {ae_title: A, host: here, port: 104}\n  b: {<<: *all, ae_title: B}\n"
    settings = load_settings(write(tmp_path, f"root: {tmp_path}\n{text}"))
    assert [str(one) for one in settings.destinations.values()] == ["A@here:104", "B@here:104"]


def test_fault_in_what_two_sections_share_is_named_once(tmp_path: Path) -> None:
    text = "destinations:\n  a: &all {ae_title: A, host: here, port: 0104}\n  b: *all\n"
    with pytest.raises(ConfigurationError) as raised:
        load_settings(write(tmp_path, text))
    assert len(raised.value.faults) == 1


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_settings(write(tmp_path, "receiver:\n  port: -1\nsender:\n  ae_title: ''\n"))
    assert len(raised.value.faults) == 2


def test_fault_of_the_environment_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CSVD_RECEIVER__PORT", "many")
    with pytest.raises(ConfigurationError, match=r"environment CSVD_RECEIVER__PORT: receiver\.port"):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value", "fault"),
    [
        pytest.param("CSVD_ROLES", "work", 'must be JSON: ["a", "b"] for a list', id="list"),
        pytest.param("CSVD_RECEIVER__CALLING_AES", "MR1", "must be JSON", id="list in a section"),
        pytest.param("CSVD_LOG", "Hunter2", "must be JSON", id="section"),
        pytest.param(
            "CSVD_DESTINATIONS__pacs", "x", "destinations.pacs: must hold keys", id="name of our own"
        ),
    ],
)
def test_variable_that_holds_no_list_or_section_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, fault: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as raised:
        load_settings()
    assert f"environment {variable}: {fault}" in str(raised.value)
    assert value == "x" or value not in str(raised.value).removeprefix(f"environment {variable}")


def test_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSVD_RECEIVR__PORT", "1")
    with pytest.raises(ConfigurationError, match="environment CSVD_RECEIVR__PORT: no such setting"):
        load_settings()


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.yaml: cannot be read"):
        load_settings(tmp_path / "nothing.yaml")


def test_one_segmentor_can_be_left_out(tmp_path: Path) -> None:
    settings = load_settings(write(tmp_path, f"root: {tmp_path}\nsegmentors:\n  LACUNE: null\n"))
    assert set(settings.segmentors) == set(Segment) - {Segment.LACUNE}


def test_every_setting_is_documented() -> None:
    undocumented = [setting.place for setting in list_settings() if not setting.meaning]
    assert undocumented == []


def test_process_does_all_there_is_to_do_unless_it_is_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(write(tmp_path, f"root: {tmp_path / 'data'}"))
    assert settings.roles == (Role.RECEIVE, Role.WORK, Role.SEND, Role.WEB)
    assert settings.with_roles(None).roles == settings.roles
    monkeypatch.setenv("CSVD_ROLES", '["work"]')
    assert load_settings(write(tmp_path, "roles: [receive]")).roles == (Role.WORK,)
    assert settings.with_roles([Role.WEB, Role.RECEIVE, Role.WEB]).roles == (Role.WEB, Role.RECEIVE)


@pytest.mark.parametrize("roles", ["[]", "[cook]"])
def test_process_without_a_known_role_is_refused(tmp_path: Path, roles: str) -> None:
    with pytest.raises(ConfigurationError, match=r"node\.yaml:1: roles"):
        load_settings(write(tmp_path, f"roles: {roles}"))


def test_documentation_lists_every_setting_as_it_is() -> None:
    written = CONFIGURATION.read_text(encoding="utf-8")
    assert render_settings() in written
    assert with_settings(written) == written, REMEDY


def test_readme_names_only_settings_that_exist() -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    table = readme.split("| setting | default | meaning |")[1].split("\n\n")[0]
    named = re.findall(r"^\| `([^`]+)` \| ([^|]*) \|", table, re.MULTILINE)
    known = {setting.place: setting.default for setting in list_settings()}
    sections = {place.rsplit(".", 1)[0] for place in known}
    assert named
    for place, default in named:
        bare = place.replace(".<SEGMENT>", "")
        assert known.get(bare) == default or place in sections, place
