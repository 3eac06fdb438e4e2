// How pages come out in a browser: what lies out of sight, what is hard to read, where the Tab key leads.
// Takes {pages: [url], widths: [px]} as JSON; prints one line of JSON for each page, width and colour scheme.
import { chromium } from 'playwright-core';

const { pages, widths } = JSON.parse(process.argv[2]);
const HEIGHT = 900;

/** Look at the page that is open; runs in the browser. */
function look() {
  const root = document.documentElement;
  const words = (node) => [...node.childNodes].some((one) => one.nodeType === Node.TEXT_NODE && one.textContent.trim());
  const spoken = [...document.querySelectorAll('body *')].filter((node) => words(node));

  /** Relative luminance (WCAG 2.2). */
  const luminance = ([red, green, blue]) => {
    const linear = [red, green, blue].map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
  const ground = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const colour = parts(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const contrast = (node) => {
    const [one, other] = [parts(getComputedStyle(node).color), ground(node)].map(luminance);
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  };
  const text = (node) => node.textContent.trim().slice(0, 60);
  return {
    scrolls: root.scrollWidth > root.clientWidth,
    outOfSight: spoken.filter((node) => node.getBoundingClientRect().right > root.clientWidth + 1).map(text),
    leastContrast: Math.min(...spoken.map(contrast)),
  };
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [...(process.getuid() === 0 ? ['--no-sandbox'] : []), '--disable-dev-shm-usage', '--disable-gpu'],
});
for (const width of widths) {
  for (const colorScheme of ['light', 'dark']) {
    const context = await browser.newContext({ viewport: { width, height: HEIGHT }, colorScheme });
    const page = await context.newPage();
    for (const url of pages) {
      await page.goto(url);
      const seen = await page.evaluate(look);
      await page.keyboard.press('Tab');
      const first = await page.evaluate(() => {
        const { left } = document.activeElement.getBoundingClientRect();
        return { href: document.activeElement.getAttribute('href'), shown: left >= 0 };
      });
      process.stdout.write(`${JSON.stringify({ url, width, colorScheme, ...seen, first })}\n`);
    }
    await context.close();
  }
}
await browser.close();
