// Opens pages of `shoal report`, `shoal plan` and `shoal compare`, and SVG files of their figures, in
// Chromium, in light and dark themes, at phone, tablet and desktop widths, and in print; see
// check_report.sh. Fails on console messages, requests, axe-core findings, horizontal scrolling, small
// text in plots, and a plan whose figures do not mark its choice. Screenshots are for visual inspection.
import { createRequire } from "node:module";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, screenshots, ...files] = process.argv.slice(2);
if (!files.length) {
  console.error("usage: check_report.mjs NODE_MODULES SCREENSHOTS PAGE...");
  process.exit(2);
}
const require = createRequire(pathToFileURL(join(resolve(modules), "/")));
const { chromium } = require("playwright-core");
const axe = require("axe-core");
mkdirSync(screenshots, { recursive: true });

const WIDTHS = [390, 820, 1280];
const THEMES = ["light", "dark"];
const SMALLEST_TEXT = 9.5; // CSS pixels, as drawn

const profile = mkdtempSync(join(tmpdir(), "check-report-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});
let faults = 0;

async function check(file, theme, width, media) {
  const isImage = file.endsWith(".svg");
  const name = `${basename(file).replace(/\.html$/, "")}-${media === "print" ? media : `${theme}-${width}`}`;
  const page = await browser.newPage();
  const found = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) found.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => found.push(`script: ${error}`));
  const address = pathToFileURL(resolve(file)).href;
  page.on("request", (request) => {
    const url = request.url();
    if (url !== address && !url.startsWith("data:")) found.push(`request: ${url}`);
  });
  await page.setViewportSize({ width, height: 900 });
  await page.emulateMedia({ colorScheme: theme, media });
  // Chromium takes no screenshot of an SVG document.
  if (isImage) await page.setContent(`<body style="margin: 0">${readFileSync(file, "utf8")}</body>`);
  else await page.goto(address);
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wider > 0 && !isImage) found.push(`the page is ${wider} px wider than its window`);
  if (await page.evaluate(() => document.querySelectorAll("script").length)) found.push("the page has a script");
  const choice = await page.evaluate(() => {
    const isPlan = document.querySelector(".kind")?.textContent.endsWith("Plan");
    const isNone = document.querySelector(".lead")?.textContent.startsWith("Nothing fits");
    const marks = [...document.querySelectorAll("svg .s-mark")].filter((mark) => mark.getClientRects().length);
    return { isPlan, isNone, marks: marks.length };
  });
  if (choice.isPlan && choice.isNone !== (choice.marks === 0)) found.push(`${choice.marks} marks of the choice`);
  const texts = await page.evaluate(() =>
    [...document.querySelectorAll("svg text")]
      .filter((text) => text.getClientRects().length)
      .map((text) => ({
        size: parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a,
        text: text.textContent,
        right: text.getBoundingClientRect().right - text.ownerSVGElement.getBoundingClientRect().right,
        left: text.ownerSVGElement.getBoundingClientRect().left - text.getBoundingClientRect().left,
      })),
  );
  for (const { size, text, left, right } of texts) {
    if (size < SMALLEST_TEXT) found.push(`"${text}" is rendered at ${size.toFixed(1)} px`);
    if (Math.max(left, right) > 4) found.push(`"${text}" extends beyond its plot by ${Math.max(left, right).toFixed(0)} px`);
  }
  if (media === "screen" && !isImage) {
    // Also check the collapsed tables of the figures.
    await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
    await page.evaluate(axe.source);
    const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document));
    for (const { id, help, nodes } of violations) {
      found.push(`axe: ${id}: ${help} (${nodes.length}): ${nodes[0].html.slice(0, 160)}`);
    }
    if (!passes.some(({ id }) => id === "color-contrast")) found.push("axe did not check contrast");
    await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = false)));
  }
  await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true });
  await page.close();
  console.log(`${found.length ? "FAULT" : "ok   "} ${name}`);
  for (const fault of found) console.log(`      ${fault}`);
  faults += found.length;
}

for (const file of files) {
  const isImage = file.endsWith(".svg");
  const widths = isImage ? [WIDTHS.at(-1)] : WIDTHS;
  for (const theme of THEMES) for (const width of widths) await check(file, theme, width, "screen");
  if (!isImage) await check(file, "dark", 794, "print");
}
await browser.close();
rmSync(profile, { recursive: true, force: true });
if (faults) {
  console.error(`${faults} faults`);
  process.exit(1);
}
console.log(`${files.length} pages, in ${THEMES.join(" and ")} at ${WIDTHS.join(", ")} px and printed: no faults`);
