// One browser for many Studies: reads one JSON request a line, answers with one JSON line.
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';
import {
  hideDecoration,
  listSeries,
  readReport,
  readSegmentation,
  reformat,
  settle,
  showPoint,
  showSlice,
} from './page.mjs';

const TIMEOUT_MS = 90_000;
const WINDOW = { width: 1000, height: 720 };
const OPTIONS = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  // rendering in software: the same pixels with and without a graphics card
  args: [
    // the sandbox needs a user of its own
    ...(process.getuid() === 0 ? ['--no-sandbox'] : []),
    '--disable-dev-shm-usage',
    '--use-gl=angle',
    '--use-angle=swiftshader',
    '--enable-unsafe-swiftshader',
  ],
};

/** Let some Series come late: each once the viewer has so many Series of images. */
async function holdBack(page, late) {
  for (const { series, images } of late) {
    await page.route(
      ({ pathname }) => pathname.endsWith(`/series/${series}/metadata`),
      async (route) => {
        await page.waitForFunction(
          (count) =>
            window.services.displaySetService.getActiveDisplaySets().filter(({ Modality }) => Modality === 'MR')
              .length >= count,
          images
        );
        await route.continue();
      }
    );
  }
}

/** Open the Study and wait until the source Series is displayed. */
async function openStudy(page, url) {
  await page.goto(url);
  await page.waitForFunction(() => {
    const viewports = window.cornerstone?.getRenderingEngines?.()?.[0]?.getViewports?.();
    return viewports?.[0]?.getImageIds?.()?.length > 0;
  });
}

/** Open a Series as a reader does, by its thumbnail. */
async function openSeries(page, seriesUid) {
  const displaySet = await page.waitForFunction(
    (uid) =>
      window.services.displaySetService.getDisplaySetsBy((set) => set.SeriesInstanceUID === uid)[0]
        ?.displaySetInstanceUID,
    seriesUid
  );
  const thumbnail = page.locator(`[id="thumbnail-${await displaySet.jsonValue()}"]`);
  await thumbnail.scrollIntoViewIfNeeded();
  await thumbnail.dblclick();
}

/** Open a Segmentation and answer the viewer's question with Yes. */
async function acceptSegmentation(page, seriesUid, { instance }) {
  await openSeries(page, seriesUid);
  await page.locator('[data-cy="yes-hydrate-btn"]').click();
  // the viewer displays the Series that the Segmentation refers to, whichever it displayed before
  await page.waitForFunction(
    (uid) =>
      window.cornerstoneTools.segmentation.state.getSegmentations()[0]?.representationData.Labelmap &&
      window.cornerstone
        .getRenderingEngines()[0]
        .getViewports()[0]
        .getImageIds()
        .some((id) => id.includes(`/instances/${uid}/`)),
    instance
  );
}

/** Take what a viewport shows twice, without and with the overlay. */
async function photograph(page, viewport, range, file) {
  const pictures = {};
  let place;
  for (const kind of ['plain', 'overlay']) {
    place = await page.evaluate(settle, { viewport, range, overlay: kind === 'overlay' });
    pictures[kind] = `${file}-${kind}.png`;
    await page.screenshot({ path: pictures[kind], clip: place.canvas });
  }
  return { ...pictures, corners: place.corners };
}

/** Accept a Segmentation, photograph slices and planes, read it out. */
async function inspectSegmentation(page, { segmentation: seriesUid, slices, points, range, folder }) {
  await acceptSegmentation(page, seriesUid, slices[0]);
  await page.screenshot({ path: `${folder}/page.png` });
  await page.addStyleTag({ content: hideDecoration });
  const shots = [];
  for (const [place, slice] of slices.entries()) {
    const viewport = await page.evaluate(showSlice, slice);
    shots.push({ ...slice, ...(await photograph(page, viewport, range, `${folder}/slice${place}`)) });
  }
  const segmentation = await page.evaluate(readSegmentation);
  for (const viewport of points.length > 0 ? await page.evaluate(reformat) : []) {
    for (const [place, point] of points.entries()) {
      await page.evaluate(showPoint, { viewport, point });
      shots.push(await photograph(page, viewport, range, `${folder}/${viewport}${place}`));
    }
  }
  return { series: await page.evaluate(listSeries), segmentation, shots };
}

/** Open a report and read out what the viewer made of it, once it displays the first group's image. */
async function inspectReport(page, { report: seriesUid, folder }) {
  await openSeries(page, seriesUid);
  await page.waitForFunction(
    (uid) => {
      const [set] = window.services.displaySetService.getDisplaySetsBy((each) => each.SeriesInstanceUID === uid);
      const [viewport] = window.cornerstone.getRenderingEngines()[0].getViewports();
      const shown = viewport?.getCurrentImageId?.();
      return set.isLoaded && shown && set.measurements[0]?.imageId === shown;
    },
    seriesUid
  );
  await page.locator('.viewport-wrapper svg text').first().waitFor();
  await page.screenshot({ path: `${folder}/report.png` });
  return page.evaluate(readReport, seriesUid);
}

/** Open a Series of pictures and read out the pixels of the first one that the viewer displays. */
async function inspectPicture(page, { picture: seriesUid, instance, folder }) {
  await openSeries(page, seriesUid);
  const pixels = await page.waitForFunction((uid) => {
    const viewport = window.cornerstone.getRenderingEngines()[0].getViewports()[0];
    const shown = viewport?.getCurrentImageId?.();
    const image = shown?.includes(`/instances/${uid}/`) && window.cornerstone.cache.getImage(shown);
    return image && { rows: image.rows, columns: image.columns, values: Array.from(image.getPixelData()) };
  }, instance);
  await page.screenshot({ path: `${folder}/picture.png` });
  return pixels.jsonValue();
}

function inspectorOf(request) {
  if (request.picture) return inspectPicture;
  return request.report ? inspectReport : inspectSegmentation;
}

async function inspect(context, request) {
  const { url, folder } = request;
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  const faults = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('response', (answer) => {
    if (answer.status() >= 400) faults.push(`${answer.status()} ${answer.url()}`);
  });
  try {
    await holdBack(page, request.late ?? []);
    await openStudy(page, url);
    const seen = await inspectorOf(request)(page, request);
    return { ...seen, faults };
  } catch (error) {
    // a page that hangs cannot be photographed either
    await page.screenshot({ path: `${folder}/failure.png`, timeout: 10_000 }).catch(() => {});
    throw new Error(`${error.message}\nfaults of the page: ${faults.join('; ') || 'none'}`);
  } finally {
    await page.close();
  }
}

const browser = await chromium.launch(OPTIONS);
const context = await browser.newContext({ viewport: WINDOW });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    process.stdout.write(`${JSON.stringify(await inspect(context, JSON.parse(line)))}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ error: error.message })}\n`);
  }
}
await browser.close();
