"""The tables of docs/conformance.md, made from what the node does.

Each stands between two comments, ``<!-- table: NAME -->`` and ``<!-- end -->``; a test compares them.
"""

from __future__ import annotations

import ast
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from itertools import pairwise
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.datadict import dictionary_description
from pydicom.sr.coding import Code
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from engines.segments import Segment, SeriesType
from node.commitment_report import (
    ALL_COMMITTED,
    INVALID_ARGUMENT_VALUE,
    NO_SUCH_ARGUMENT,
    NO_SUCH_EVENT_TYPE,
    NO_SUCH_SOP_CLASS,
    NO_SUCH_SOP_INSTANCE,
    PROCESSING_FAILURE,
    SOME_REFUSED,
    SUCCESS,
    report_context,
)
from node.commitment_request import LINGER_S, REQUEST_COMMITMENT
from node.dicomweb import ANSWER, ANSWERED, PART, SOP_CLASS_NOT_SUPPORTED
from node.mask_syntaxes import SMALLER
from node.outbound import DestinationSettings, SenderSettings
from node.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from node.receiver_settings import ReceiverSettings
from node.results import codes
from node.results.build import build_results
from node.results.files import encode
from node.results.segment_concepts import SEGMENT_CONCEPTS
from node.results.source_header import LOSSY, TYPE_2, TYPE_3
from node.sop_classes import (
    CREATED_SOP_CLASSES,
    MR_IMAGE_SOP_CLASSES,
    RECEIVED_TRANSFER_SYNTAXES,
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
    STORAGE_ROOT,
    UNCOMPRESSED,
    VERIFICATION,
    sop_class_name,
    unread_encoding,
)
from tests.support.result_studies import BALLS, SERIES_OF, context, four_series
from tests.support.validators import REMARKS

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "conformance.md"

_BLOCK = re.compile(r"(<!-- table: ([a-z-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Write a table in Markdown."""
    names = list(head)
    lines = [names, ["---"] * len(names), *([str(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def _sop_classes(uids: Iterable[UID]) -> Iterator[tuple[str, str]]:
    return ((sop_class_name(uid), str(uid)) for uid in uids)


def received_sop_classes() -> str:
    """What the receiver accepts."""
    rows = [
        *((name, uid, "evaluated", "no", "yes") for name, uid in _sop_classes(MR_IMAGE_SOP_CLASSES)),
        ("each other Storage SOP Class of a Study", f"{STORAGE_ROOT}*", "kept", "no", "yes"),
        ("private SOP Classes", "others than 1.2.840.10008.*", "kept", "no", "yes"),
        *((name, uid, "–", "yes", "yes") for name, uid in _sop_classes([VERIFICATION])),
        *((name, uid, "–", "where asked for", "no") for name, uid in _sop_classes([STORAGE_COMMITMENT])),
    ]
    return table(("SOP Class", "UID", "what becomes of it", "SCU", "SCP"), rows)


def created_sop_classes() -> str:
    """What the node makes and sends."""
    rows = [(sop_class_name(uid), str(uid), what, "yes", "kept") for uid, what in CREATED_SOP_CLASSES.items()]
    return table(("SOP Class", "UID", "what", "SCU", "SCP"), rows)


def received_transfer_syntaxes() -> str:
    """The transfer syntaxes that the receiver accepts, the preferred one first."""
    rows = [
        (syntax.name, str(syntax), "no" if unread_encoding(syntax) else "yes")
        for syntax in RECEIVED_TRANSFER_SYNTAXES
    ]
    return table(("transfer syntax", "UID", "MR images evaluated"), rows)


def sent_transfer_syntaxes() -> str:
    """The transfer syntaxes that results are sent in, and of which results."""
    of_what = {
        DeflatedExplicitVRLittleEndian: "Segmentations and label maps, with `deflate: true`",
        RLELossless: "fractional Segmentations and label maps, with `rle: true`",
    }
    rows = [
        *((name, uid, "all") for name, uid in _sop_classes(UNCOMPRESSED)),
        *((syntax.name, str(syntax), of_what[syntax]) for syntax in SMALLER),
    ]
    return table(("transfer syntax", "UID", "results"), rows)


def stow_transaction() -> str:
    """How an Instance is stored over DICOMweb."""
    statuses = ", ".join(f"{status.value} ({status.phrase})" for status in ANSWERED)
    return table(
        ("STOW-RS, as user agent", "the node"),
        [
            ("resource", "POST {url}/studies"),
            ("Instances in a request", "1"),
            ("request", f'multipart/related; type="{PART}"'),
            ("transfer syntax", f"{ExplicitVRLittleEndian.name}, as it is stored; nothing is negotiated"),
            ("SOP Classes", "those of section 1"),
            ("answer asked for", ANSWER),
            ("statuses whose answer is read", statuses),
            ("Referenced SOP Sequence names the Instance", "delivered; with a Warning Reason: with a remark"),
            (
                "Failed SOP Sequence names it",
                f"not delivered; Failure Reason {SOP_CLASS_NOT_SUPPORTED:04X}: refused",
            ),
            ("anything else, also a redirection", "not delivered"),
            ("requests at a time", "1 a destination, one after the other over kept connections"),
            ("wait for a connection, s", SenderSettings().connect_timeout_s),
            ("wait for an answer, s", SenderSettings().response_timeout_s),
            (
                "authentication",
                "none, HTTP Basic (RFC 7617), or Bearer by OAuth 2.0 client credentials (RFC 6749 4.4)",
            ),
            ("TLS", "certificate by CA and host name; a certificate of the node if the server asks for one"),
        ],
    )


def associations() -> str:
    """What the upper layer says and waits for, by default."""
    receiver, sender = ReceiverSettings(), SenderSettings()
    return table(
        ("", "receiver", "sender"),
        [
            ("Application Context Name", "1.2.840.10008.3.1.1.1", "1.2.840.10008.3.1.1.1"),
            ("Implementation Class UID", IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_CLASS_UID),
            ("Implementation Version Name", IMPLEMENTATION_VERSION_NAME, IMPLEMENTATION_VERSION_NAME),
            ("AE title", receiver.ae_title, sender.ae_title),
            ("port", receiver.port, "none: it listens to nobody"),
            ("maximum PDU received, bytes", receiver.maximum_pdu_bytes, sender.maximum_pdu_bytes),
            ("associations at a time", receiver.maximum_associations, "one a destination"),
            ("asynchronous operations", "none: one outstanding", "none: one outstanding"),
            ("wait for association messages, s", receiver.acse_timeout_s, sender.acse_timeout_s),
            ("silence before an abort, s", receiver.idle_timeout_s, sender.response_timeout_s),
            ("wait for a connection, s", "-", sender.connect_timeout_s),
        ],
    )


def taken_over() -> str:
    """What a result takes over from its source."""
    kinds = ((TYPE_2, "empty"), (TYPE_3, "left out"), (LOSSY, "left out"))
    return table(
        ("attribute", "keyword", "if the source lacks it"),
        (
            (dictionary_description(keyword), keyword, lacking)
            for words, lacking in kinds
            for keyword in words
        ),
    )


def storage_commitment() -> str:
    """How the node asks archives to take responsibility, and what it answers to their reports."""
    context = report_context()
    wait_s = DestinationSettings.model_fields["commitment_wait_s"].default
    syntaxes = ", ".join(UID(syntax).name for syntax in context.transfer_syntax)
    return table(
        ("Storage Commitment, as SCU", "the node"),
        [
            ("SOP Class", f"{STORAGE_COMMITMENT.name} ({STORAGE_COMMITMENT})"),
            ("SOP Instance", STORAGE_COMMITMENT_INSTANCE),
            ("transfer syntaxes", syntaxes),
            ("N-ACTION", f"Action Type {REQUEST_COMMITMENT}, a Transaction UID of its own for each request"),
            ("report in the association of the request", f"taken for {LINGER_S:g} s"),
            ("report in an association of the archive", "taken whenever it comes"),
            ("roles accepted there", f"SCU {_yes(context.scu_role)}, SCP {_yes(context.scp_role)}"),
            ("asked again without a report, s", f"after {wait_s:g}, then twice as long each time"),
            (
                f"answer {SUCCESS:04X}",
                "what is not delivered yet is entered, unless it was sent again or refused since",
            ),
            (
                f"answer {INVALID_ARGUMENT_VALUE:04X}",
                "unknown Transaction UID, another AE, Instances beyond the request, or it contradicts itself",
            ),
            (f"answer {NO_SUCH_ARGUMENT:04X}", "no Transaction UID, or no Instance"),
            (
                f"answer {NO_SUCH_EVENT_TYPE:04X}",
                f"Event Type other than {ALL_COMMITTED}, {SOME_REFUSED}",
            ),
            (f"answer {NO_SUCH_SOP_INSTANCE:04X}", "another SOP Instance"),
            (f"answer {NO_SUCH_SOP_CLASS:04X}", "another SOP Class"),
            (f"answer {PROCESSING_FAILURE:04X}", "the index cannot take it now, or it cannot be read"),
        ],
    )


def _yes(accepted: bool | None) -> str:
    return "yes" if accepted else "no"


def segments() -> str:
    """How each segment is coded."""
    rows = [
        (
            segment.label,
            SERIES_OF[segment].label,
            _code(concept.property_type),
            _code(concept.finding),
            _code(concept.site),
            "#" + bytes(concept.rgb).hex().upper(),
        )
        for segment, concept in SEGMENT_CONCEPTS.items()
    ]
    return table(("segment", "found on", "Segmented Property Type", "Finding", "site", "colour"), rows)


def _code(code: Code) -> str:
    return f"({code.value}, {code.scheme_designator}, {code.meaning})"


def coded_concepts() -> str:
    """Every code of the results, with its context group or the reason why it has none."""
    rows = [
        (code.value, code.scheme_designator, code.meaning, notes.get(name, ""))
        for notes in [_notes()]
        for name, code in vars(codes).items()
        if isinstance(code, Code)
    ]
    return table(("value", "scheme", "meaning", "context group, or reason"), rows)


def _notes() -> dict[str, str]:
    """Read the docstring under each code."""
    body = ast.parse(Path(codes.__file__).read_text(encoding="utf-8")).body
    found = {}
    for statement, following in pairwise(body):
        if isinstance(statement, ast.Assign) and isinstance(following, ast.Expr):
            name, text = statement.targets[0], following.value
            if isinstance(name, ast.Name) and isinstance(text, ast.Constant):
                found[name.id] = " ".join(str(text.value).split())
    return found


def report_content() -> str:
    """The content tree of a report that holds every kind of content item."""
    lesions = {segment: balls for segment, balls in BALLS.items() if segment is not Segment.LACUNE}
    with tempfile.TemporaryDirectory() as folder:
        study = four_series(Path(folder), lesions=lesions, left_out=[SeriesType.T2_STAR])
        report = build_results(study.findings, study.sources, context(selection=("why",)))[-1]
        tree = dcmread(BytesIO(encode(report)))
    rows = dict.fromkeys(_content(tree, 0))
    return table(("nesting", "relationship", "value type", "concept", "template"), rows)


def _content(item: Dataset, depth: int) -> Iterator[tuple[str, ...]]:
    template = item.get("ContentTemplateSequence")
    name = item.ConceptNameCodeSequence[0]
    yield (
        ">" * depth,
        item.get("RelationshipType", ""),
        item.ValueType,
        f"({name.CodeValue}, {name.CodingSchemeDesignator}, {name.CodeMeaning})",
        f"TID {template[0].TemplateIdentifier}" if template else "",
    )
    for child in item.get("ContentSequence", []):
        yield from _content(child, depth + 1)


def validator_remarks() -> str:
    """What validators remark, and why it stays."""
    return table(("validator", "remark", "reason"), ((r.said_by, r.text, r.reason) for r in REMARKS))


TABLES: Mapping[str, Callable[[], str]] = {
    "received-sop-classes": received_sop_classes,
    "created-sop-classes": created_sop_classes,
    "received-transfer-syntaxes": received_transfer_syntaxes,
    "sent-transfer-syntaxes": sent_transfer_syntaxes,
    "stow-transaction": stow_transaction,
    "storage-commitment": storage_commitment,
    "associations": associations,
    "taken-over": taken_over,
    "segments": segments,
    "coded-concepts": coded_concepts,
    "report-content": report_content,
    "validator-remarks": validator_remarks,
}


def blocks(text: str) -> dict[str, str]:
    """Return the tables of a document by name, as they stand there."""
    return {name: body for _, name, body, _ in _BLOCK.findall(text)}


def with_tables(text: str) -> str:
    """Return the document with all tables as they should be."""
    return _BLOCK.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[4]}", text)
