// Opens HTML reports in headless Chromium as a reader does.
//   node report_page.mjs CHROMIUM PLAYWRIGHT_FOLDER SCREENSHOT_FOLDER REPORT.html...
// Fails on any console error, network request, missing chart, or a table that neither sorts nor
// filters. Screenshots at desktop and phone width are left in SCREENSHOT_FOLDER.
import {createRequire} from 'node:module';
import path from 'node:path';

const [chromium_path, playwright_folder, screenshots, ...reports] = process.argv.slice(2);
const {chromium} = createRequire(path.resolve(playwright_folder) + '/')('playwright-core');
const browser = await chromium.launch({executablePath: chromium_path, args: ['--no-sandbox']});
let failures = 0;
const check = (holds, what) => {
  if (holds) return;
  ++failures;
  console.log('FAILED: ' + what);
};

async function open(report, options) {
  const page = await browser.newPage(options);
  const name = path.basename(report);
  page.on('console', m => check(m.type() !== 'error' && m.type() !== 'warning',
    `${name}: console: ${m.text()}`));
  page.on('pageerror', e => check(false, `${name}: ${e.message}`));
  page.on('dialog', d => (check(false, `${name}: a dialog: ${d.message()}`), d.dismiss()));
  page.on('request', r => check(/^(file|data):/.test(r.url()), `${name}: asks for ${r.url()}`));
  await page.goto('file://' + path.resolve(report));
  await page.waitForSelector('html[data-ready=yes]');
  await page.waitForTimeout(600);
  return page;
}

async function check_charts(page, name) {
  const results = await page.evaluate(() => measured.length);
  const charts = await page.evaluate(() => specs !== null);
  if (results === 0 || !charts) return;
  for (const chart of ['layer_time', 'change', 'breakdown', 'roofline', 'load']) {
    const has_data = await page.locator(`#chart-${chart} .empty`).count() === 0;
    const marks = await page.locator(`#chart-${chart} svg g[role=graphics-symbol] path,` +
      `#chart-${chart} svg [role=graphics-symbol]`).count();
    check(!has_data || marks > 0, `${name}: chart ${chart} has no marks`);
  }
}

async function check_tables(page, name) {
  const rows = page.locator('#results tbody tr');
  const before = await rows.count();
  if (before < 2) return;
  const column = page.locator('#results th', {hasText: 'layer_time_us'});
  const index = await column.evaluate(th => [...th.parentNode.children].indexOf(th));
  const times = () => rows.evaluateAll((all, i) => all.map(r => Number(r.children[i].textContent)),
    index);
  await column.locator('button').press('Enter');
  const up = await times();
  check(up.every((t, i) => i === 0 || up[i - 1] <= t), `${name}: sorts ascending`);
  await column.locator('button').click();
  const down = await times();
  check(down.every((t, i) => i === 0 || down[i - 1] >= t), `${name}: sorts descending`);
  await page.fill('#results input', 'slot tokens<=4');
  const kept = await rows.count();
  check(kept < before, `${name}: filters`);
  await page.fill('#results input', 'no such word');
  check(await rows.count() === 0, `${name}: filters everything out`);
  await page.fill('#results input', '');
}

for (const report of reports) {
  const name = path.basename(report, '.html');
  const page = await open(report, {viewport: {width: 1280, height: 900}, colorScheme: 'light'});
  await check_charts(page, name);
  await page.screenshot({path: `${screenshots}/${name}-desktop.png`, fullPage: name !== 'many'});
  await check_tables(page, name);
  await page.click('#theme');
  check(await page.evaluate(() => document.documentElement.dataset.theme) === 'dark',
    `${name}: the theme changes`);
  await page.waitForTimeout(400);
  await page.screenshot({path: `${screenshots}/${name}-dark.png`});
  await page.close();
  const phone = await open(report, {viewport: {width: 390, height: 844}, isMobile: true});
  const wide = await phone.evaluate(() => document.documentElement.scrollWidth);
  check(wide <= 390, `${name}: ${wide} px wide on a phone of 390`);
  await phone.screenshot({path: `${screenshots}/${name}-phone.png`});
  await phone.close();
  console.log(`${name}: looked at`);
}
await browser.close();
process.exit(failures ? 1 : 0);
