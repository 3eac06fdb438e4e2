"""The page of findings as an Encapsulated PDF.

Source: PS3.3 A.45.1 (Encapsulated PDF IOD), C.24.2.
"""

from __future__ import annotations

from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from engines.findings import StudyFindings
from engines.segments import SeriesType
from node.results import codes
from node.results.context import EvaluationContext
from node.results.equipment import stamp
from node.results.forms import PDF_ROLE
from node.results.identity_lines import burned_in_annotation, identity_lines
from node.results.macros import code_item, reference_item
from node.results.references import instances_of
from node.results.report_page import TITLE, report_page
from node.results.result_object import ResultObject
from node.results.segmentations import SourceSeries
from node.results.texts import NOT_REVIEWED
from node.results.uids import result_instance_uid, result_series_uid

SERIES_NUMBER = 9042


def encapsulated_pdf(
    findings: StudyFindings, series: SourceSeries, context: EvaluationContext
) -> ResultObject:
    """Encapsulate the page.

    Args:
        findings: of one Study.
        series: what they lie on.
        context: of the evaluation.
    """
    header = series.headers[next(kind for kind in SeriesType if kind in series.headers)]
    identity = identity_lines(header.patient_and_study, context.names_patient)
    page = report_page(findings, series.volumes, identity, context)
    dataset = Dataset()
    dataset.SOPClassUID = EncapsulatedPDFStorage
    dataset.SOPInstanceUID = result_instance_uid(context, PDF_ROLE)
    dataset.StudyInstanceUID = context.study_uid
    dataset.SeriesInstanceUID = result_series_uid(context, PDF_ROLE)
    dataset.Modality, dataset.ConversionType = "DOC", "WSD"
    dataset.SeriesNumber, dataset.InstanceNumber = SERIES_NUMBER, 1
    dataset.SeriesDescription = f"CSVD findings, PDF ({NOT_REVIEWED})"
    dataset.AcquisitionDateTime = None
    dataset.BurnedInAnnotation = burned_in_annotation(series.headers.values(), context.names_patient)
    dataset.SourceInstanceSequence = [
        reference_item(instance.sop_class_uid, instance.sop_instance_uid)
        for source in series.volumes.values()
        for instance in instances_of(source)
    ]
    dataset.DocumentTitle = f"{TITLE} ({NOT_REVIEWED})"
    dataset.ConceptNameCodeSequence = [code_item(codes.MEASUREMENT_REPORT)]
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocumentLength = len(page)
    dataset.EncapsulatedDocument = page + b"\0" * (len(page) % 2)
    stamp(dataset, header, context, dict.fromkeys(found.model for found in findings.findings))
    return ResultObject(PDF_ROLE, dataset)
