// Chromium for the scripts of this directory, and everything it complains of.

import { chromium } from "playwright-core";

/** Waiting for a condition that does not come ends a test; it is no measure of anything. */
const PATIENCE_MS = 60_000;

export const DESKTOP = { viewport: { width: 1280, height: 800 } };
export const PHONE = {
  viewport: { width: 390, height: 844 },
  hasTouch: true,
  isMobile: true,
  deviceScaleFactor: 2,
};

/**
 * Runs a script: `check(browser, url, ...rest)` with the arguments of the command line. What it throws is the
 * failure.
 */
export async function run(check) {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // Chromium's sandbox refuses to work for root, as whom containers run.
    args: process.getuid() === 0 ? ["--no-sandbox"] : [],
  });
  try {
    await check(browser, ...process.argv.slice(2));
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}

/**
 * Opens the page with these options of a browser context. `complaints` collects what a visitor's console
 * would show: errors, warnings, uncaught exceptions, failed requests.
 */
export async function open(browser, url, options) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const complaints = [];
  page.on("console", (line) => {
    if (["error", "warning"].includes(line.type())) complaints.push(`${line.type()}: ${line.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`exception: ${error.stack}`));
  page.on("requestfailed", (request) => {
    // A page that is left or loaded again drops its feed.
    const isLeft = request.url().endsWith("/page/feed") && request.failure().errorText === "net::ERR_ABORTED";
    if (!isLeft) complaints.push(`${request.url()}: ${request.failure().errorText}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400) complaints.push(`${response.url()}: ${response.status()}`);
  });
  await page.goto(url);
  await page.locator("#live[data-state=live]").waitFor();
  await page.locator(".node").first().waitFor();
  return { page, complaints };
}

/** Tells whoever started the script how far it is. */
export function tell(step) {
  console.log(step);
}
