// Reads a report as JavaScript viewers do; prints its groups as dcmjs and as the adapters have them.
// node read_report.mjs REPORT
import { readFileSync } from 'node:fs';
import { adaptersSR } from '@cornerstonejs/adapters';
import dcmjs from 'dcmjs';

const { DicomMessage, DicomMetaDictionary } = dcmjs.data;

const array = (value) => (Array.isArray(value) ? value : value === undefined ? [] : [value]);
const one = (value) => array(value)[0];
const name = (item) => one(item.ConceptNameCodeSequence)?.CodeMeaning;

function naturalized(file) {
  const { buffer, byteOffset, byteLength } = readFileSync(file);
  const message = DicomMessage.readFile(buffer.slice(byteOffset, byteOffset + byteLength));
  return DicomMetaDictionary.naturalizeDataset(message.dict);
}

/** Return what a group says, by the names of its content items. */
function group(container) {
  const items = array(container.ContentSequence);
  const called = (wanted) => items.find((item) => name(item) === wanted);
  const reference = one(called('Referenced Segment')?.ReferencedSOPSequence);
  return {
    name: called('Tracking Identifier').TextValue,
    uid: called('Tracking Unique Identifier').UID,
    finding: one(called('Finding').ConceptCodeSequence).CodeValue,
    segmentation: reference?.ReferencedSOPInstanceUID,
    segment: reference?.ReferencedSegmentNumber,
    numbers: Object.fromEntries(
      items
        .filter(({ ValueType }) => ValueType === 'NUM')
        .map((item) => [name(item), Number(one(item.MeasuredValueSequence).NumericValue)])
    ),
  };
}

const report = naturalized(process.argv[2]);
const measurements = array(report.ContentSequence).find((item) => name(item) === 'Imaging Measurements');
const annotations = adaptersSR.Cornerstone3D.MeasurementReport.generateToolState(report, {}, { get: () => ({}) });
process.stdout.write(
  JSON.stringify({
    patient: one(report.PatientName)?.Alphabetic ?? null,
    groups: array(measurements?.ContentSequence).map(group),
    annotations: Object.entries(annotations).flatMap(([tool, found]) =>
      found.map(({ TrackingUniqueIdentifier: uid, finding, annotation: { data } }) => ({
        tool,
        uid,
        finding: one(finding).CodeValue,
        label: data.label,
        points: data.handles.points,
      }))
    ),
  })
);
