// Reads a Segmentation as JavaScript viewers do; prints the voxels of each segment for both libraries,
// or why a library reads none.
// node read_segmentation.mjs SEGMENTATION SOURCE...
import { readFileSync } from 'node:fs';
import { adaptersSEG } from '@cornerstonejs/adapters';
import { metaData } from '@cornerstonejs/core';
import dcmjs from 'dcmjs';

const { BitArray, DicomMessage, DicomMetaDictionary } = dcmjs.data;

const bytes = (file) => {
  const { buffer, byteOffset, byteLength } = readFileSync(file);
  return buffer.slice(byteOffset, byteOffset + byteLength);
};
const one = (sequence) => (Array.isArray(sequence) ? sequence[0] : sequence);

function naturalized(buffer) {
  const message = DicomMessage.readFile(buffer);
  const dataset = DicomMetaDictionary.naturalizeDataset(message.dict);
  dataset._meta = DicomMetaDictionary.namifyDataset(message.meta);
  return dataset;
}

/** Return what the adapters ask of each frame of the source, by image id. */
function describe(files) {
  const images = new Map();
  for (const file of files) {
    const instance = naturalized(bytes(file));
    const frames = instance.PerFrameFunctionalGroupsSequence ?? [null];
    frames.forEach((own, index) => {
      const shared = one(instance.SharedFunctionalGroupsSequence) ?? {};
      const group = (name) => one(own?.[name]) ?? one(shared[name]) ?? instance;
      const frameNumber = own ? index + 1 : 1;
      images.set(`dicom:${instance.SOPInstanceUID}?frame=${frameNumber}`, {
        ...instance,
        ImagePositionPatient: group('PlanePositionSequence').ImagePositionPatient,
        ImageOrientationPatient: group('PlaneOrientationSequence').ImageOrientationPatient,
        PixelSpacing: group('PixelMeasuresSequence').PixelSpacing,
        frameNumber,
      });
    });
  }
  return images;
}

const cosines = (values) => [values.slice(0, 3).map(Number), values.slice(3).map(Number)];

const MODULES = {
  instance: (image) => image,
  frameModule: ({ SOPInstanceUID, frameNumber }) => ({ sopInstanceUID: SOPInstanceUID, frameNumber }),
  generalImageModule: ({ SOPInstanceUID }) => ({ sopInstanceUID: SOPInstanceUID }),
  generalSeriesModule: ({ SeriesInstanceUID, Modality }) => ({
    seriesInstanceUID: SeriesInstanceUID,
    modality: Modality,
  }),
  imagePixelModule: () => ({ bitsAllocated: 16, bitsStored: 16, samplesPerPixel: 1, pixelRepresentation: 0 }),
  imagePlaneModule: (image) => {
    const [rowCosines, columnCosines] = cosines(image.ImageOrientationPatient);
    const [rowPixelSpacing, columnPixelSpacing] = image.PixelSpacing.map(Number);
    return {
      frameOfReferenceUID: image.FrameOfReferenceUID,
      rows: image.Rows,
      columns: image.Columns,
      imageOrientationPatient: image.ImageOrientationPatient.map(Number),
      imagePositionPatient: image.ImagePositionPatient.map(Number),
      rowCosines,
      columnCosines,
      rowPixelSpacing,
      columnPixelSpacing,
      pixelSpacing: [rowPixelSpacing, columnPixelSpacing],
    };
  },
};

const place = (imageId) => {
  const [, instance, frame] = imageId.match(/^dicom:(.+)\?frame=(\d+)$/);
  return { instance, frame: Number(frame) };
};

/** Return the indices of the values in an array that are a number, or that are not zero. */
function indicesOf(values, wanted) {
  const found = [];
  values.forEach((value, index) => {
    if (wanted === undefined ? value !== 0 : value === wanted) found.push(index);
  });
  return found;
}

/** Let the adapters place the Segmentation on the source images. */
async function readWithAdapters(segmentation, images) {
  const get = (type, imageId) => (images.has(imageId) ? MODULES[type]?.(images.get(imageId)) : undefined);
  metaData.addProvider(get, 100);
  const { labelMapImages, segMetadata } = await adaptersSEG.Cornerstone3D.Segmentation.createFromDICOMSegBuffer(
    [...images.keys()],
    segmentation,
    { metadataProvider: metaData }
  );
  const numbers = segMetadata.data.filter(Boolean).map(({ SegmentNumber }) => Number(SegmentNumber));
  return labelMapImages.flat().flatMap(({ referencedImageId, voxelManager }) =>
    numbers.map((segment) => ({
      segment,
      ...place(referencedImageId),
      voxels: indicesOf(voxelManager.getScalarData(), segment),
    }))
  );
}

function segmentNumbers(dataset) {
  return [dataset.SegmentSequence].flat().map(({ SegmentNumber }) => Number(SegmentNumber));
}

/** Return what a frame holds: the voxels of its one segment, or of each segment of a label map. */
function segmentsIn(voxels, group, numbers) {
  const own = one(group.SegmentIdentificationSequence)?.ReferencedSegmentNumber;
  if (own !== undefined) return [{ segment: Number(own), voxels: indicesOf(voxels) }];
  return numbers.map((segment) => ({ segment, voxels: indicesOf(voxels, segment) }));
}

/** Unpack the frames one after the other, as the Segmentation places them in patient space. */
function readWithDcmjs(buffer) {
  const dataset = naturalized(buffer);
  const stored = one(dataset.PixelData);
  const pixels = dataset.BitsAllocated === 1 ? BitArray.unpack(stored) : new Uint8Array(stored);
  const length = dataset.Rows * dataset.Columns;
  return [dataset.PerFrameFunctionalGroupsSequence].flat().flatMap((group, index) =>
    segmentsIn(pixels.subarray(index * length, (index + 1) * length), group, segmentNumbers(dataset)).map((found) => ({
      ...found,
      position: one(group.PlanePositionSequence).ImagePositionPatient.map(Number),
    }))
  );
}

const [file, ...sources] = process.argv.slice(2);
const result = {
  segments: segmentNumbers(naturalized(bytes(file))),
  dcmjs: readWithDcmjs(bytes(file)),
  adapters: await readWithAdapters(bytes(file), describe(sources)).catch((error) => error.message),
};
process.stdout.write(JSON.stringify(result));
