// Chromium for the scripts of this directory, and everything it complains of.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { chromium } from "playwright-core";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
// Chromium's sandbox refuses to work for root, as whom containers run.
const ARGUMENTS = process.getuid() === 0 ? ["--no-sandbox"] : [];

/** Waiting for a condition that does not come ends a test; it is no measure of anything. */
const PATIENCE_MS = 60_000;

export const DESKTOP = { viewport: { width: 1280, height: 800 } };
export const TABLET = { viewport: { width: 1024, height: 768 }, hasTouch: true };
export const PHONE = {
  viewport: { width: 390, height: 844 },
  hasTouch: true,
  isMobile: true,
  deviceScaleFactor: 2,
};

/**
 * Runs a script: `check(browser, url, ...rest)` with the arguments of the command line, in a browser with further
 * arguments of its own. What it throws is the failure.
 */
export async function run(check, further = []) {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: [...ARGUMENTS, ...further] });
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
 * Runs a script as [`run`] does, in a window whose tabs hide each other: `check(context, url, ...rest)`. A
 * browser that playwright starts itself takes every tab for the one in front.
 */
export async function runInWindow(check) {
  const profile = await mkdtemp(join(tmpdir(), "pushcast-profile-"));
  const window = spawn(
    CHROMIUM,
    [...ARGUMENTS, "--headless", "--remote-debugging-port=0", `--user-data-dir=${profile}`],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const ended = new Promise((done) => window.once("exit", done));
  try {
    // Half of what a script has in all: on a busy machine the default of 30 s is not always enough.
    const browser = await chromium.connectOverCDP(await addressOf(window), { noDefaults: true, timeout: 150_000 });
    await check(browser.contexts()[0], ...process.argv.slice(2));
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
  } finally {
    // In good order, or its other processes would write to the profile a moment longer.
    window.kill("SIGTERM");
    await ended;
    await rm(profile, { recursive: true, force: true, maxRetries: 10 });
  }
}

async function addressOf(window) {
  for await (const line of createInterface({ input: window.stderr })) {
    const listening = line.match(/DevTools listening on (ws:\S+)/);
    if (listening !== null) {
      window.stderr.resume();
      return listening[1];
    }
  }
  throw new Error("the browser ended before it listened");
}

/**
 * Opens the page with these options of a browser context. `complaints` collects what a visitor's console
 * would show: errors, warnings, uncaught exceptions, failed requests.
 */
export async function open(browser, url, options) {
  return openTab(await browser.newContext(options), url);
}

/** Opens the page in one more tab of a browser context. */
export async function openTab(context, url) {
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
