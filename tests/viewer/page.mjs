// What runs inside the viewer's page. Each function stands alone: the browser gets its text.

/** What the viewer draws over the picture besides the segmentation; notices come and go. */
export const hideDecoration = `
  [data-cy^="viewport-overlay"], [data-cy$="Menu-btn"], .ViewportOrientationMarkers, .viewport-wrapper svg,
  .ViewportActionCorners, [class*="viewportCorner"], [class*="ViewportActionCorner"], [data-sonner-toaster],
  [data-sonner-toaster] *, [aria-label="Image navigation scrollbar"],
  [aria-label="Image navigation scrollbar"] * { visibility: hidden !important; }`;

/** Scroll to an image. */
export async function showSlice({ instance, frame }) {
  const viewport = window.cornerstone.getRenderingEngines()[0].getViewports()[0];
  const end = `/instances/${instance}/frames/${frame}`;
  const index = viewport.getImageIds().findIndex((id) => id.endsWith(end));
  if (index < 0) throw new Error(`the viewer displays no image ${end}`);
  await viewport.setImageIdIndex(index);
  return viewport.id;
}

/** Move one plane of the reformatted volume through a point of patient space. */
export function showPoint({ viewport, point }) {
  window.cornerstone.getRenderingEngines()[0].getViewport(viewport).jumpToWorld(point);
}

/** Set the window, show or hide the overlay, wait until the picture stands still, tell where it lies. */
export async function settle({ viewport: id, range: [lower, upper], overlay }) {
  const viewport = window.cornerstone.getRenderingEngines()[0].getViewport(id);
  const { segmentation } = window.cornerstoneTools;
  const { segmentationId } = segmentation.state.getSegmentations()[0];
  segmentation.config.visibility.setSegmentationRepresentationVisibility(
    id,
    { segmentationId, type: 'Labelmap' },
    overlay
  );
  viewport.render();
  let before;
  for (let quiet = 0; quiet < 2; ) {
    // an image that arrives late comes with the window of its own header
    const { voiRange } = viewport.getProperties();
    if (voiRange?.lower !== lower || voiRange?.upper !== upper) {
      viewport.setProperties({ voiRange: { lower, upper } });
      viewport.render();
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
    const now = viewport.canvas.toDataURL();
    quiet = now === before ? quiet + 1 : 0;
    before = now;
  }
  const { x, y, width, height } = viewport.canvas.getBoundingClientRect();
  const corners = [[0, 0], [1, 0], [0, 1]].map((point) => Array.from(viewport.canvasToWorld(point)));
  return { canvas: { x, y, width, height }, corners };
}

/** Read names, colours and every voxel of the labelmaps as the viewer holds them. */
export function readSegmentation() {
  const viewport = window.cornerstone.getRenderingEngines()[0].getViewports()[0];
  const { segmentation } = window.cornerstoneTools;
  const { segmentationId, label, segments, representationData } = segmentation.state.getSegmentations()[0];
  const { labelmaps, segmentBindings } = representationData.Labelmap;
  const base64 = (bytes) => {
    let text = '';
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return btoa(text);
  };
  // segments that overlap lie in several images over one image of the source
  const images = Object.values(labelmaps).flatMap((layer) =>
    layer.imageIds.map((imageId) => {
      const image = window.cornerstone.cache.getImage(imageId);
      const [, instance, frame] = image.referencedImageId.match(/\/instances\/([^/]+)\/frames\/(\d+)/);
      const { rows, columns } = image;
      const values = base64(Uint8Array.from(image.voxelManager.getScalarData()));
      return { labelmap: layer.labelmapId, instance, frame: Number(frame), rows, columns, values };
    })
  );
  return {
    label,
    images,
    fill: segmentation.config.style.getStyle({ type: 'Labelmap' }).fillAlpha,
    segments: Object.values(segments).map(({ segmentIndex, label: name, cachedStats }) => ({
      number: segmentIndex,
      name,
      colour: Array.from(
        segmentation.config.color.getSegmentIndexColor(viewport.id, segmentationId, segmentIndex)
      ).slice(0, 3),
      labelmap: segmentBindings[segmentIndex].labelmapId,
      value: segmentBindings[segmentIndex].labelValue,
      counted: cachedStats?.namedStats?.count?.value ?? null,
    })),
  };
}

/** Read each group of a report as the viewer holds it: what it says, and where. */
export function readReport(seriesUid) {
  const { displaySetService } = window.services;
  const [report] = displaySetService.getDisplaySetsBy((set) => set.SeriesInstanceUID === seriesUid);
  const { annotation } = window.cornerstoneTools;
  return {
    groups: report.measurements.map((group) => ({
      name: group.TrackingIdentifier,
      uid: group.TrackingUniqueIdentifier,
      series: displaySetService.getDisplaySetByUID(group.displaySetInstanceUID)?.SeriesInstanceUID ?? null,
      labels: group.labels.map(({ label, value }) => [label, value]),
      point: Array.from(
        annotation.state.getAnnotation(group.TrackingUniqueIdentifier)?.data.handles.points[0] ?? []
      ),
    })),
    texts: Array.from(document.querySelectorAll('.viewport-wrapper svg text'), (text) => text.textContent),
  };
}

/** Tell which Series the viewer lists. */
export function listSeries() {
  return window.services.displaySetService
    .getActiveDisplaySets()
    .map(({ SeriesInstanceUID, Modality }) => ({ uid: SeriesInstanceUID, modality: Modality }));
}

/** Reformat the Series along three planes; tell the viewports once the volume and its overlay are there. */
export async function reformat() {
  window.commandsManager.runCommand('toggleHangingProtocol', { protocolId: 'mpr' });
  const { cornerstone, cornerstoneTools } = window;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const viewports = cornerstone.getRenderingEngines()[0]?.getViewports() ?? [];
    const ready = viewports.filter(
      ({ id, type }) =>
        type === 'orthographic' &&
        cornerstoneTools.segmentation.state.getSegmentationRepresentations(id).length > 0
    );
    const volumes = cornerstone.cache.getVolumes();
    if (ready.length === 3 && volumes.every(({ loadStatus }) => loadStatus?.loaded !== false)) {
      return ready.map(({ id }) => id);
    }
  }
}
