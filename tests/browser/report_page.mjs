// Opens HTML reports in headless Chromium as a reader does.
//   node report_page.mjs CHROMIUM PLAYWRIGHT_CORE FOLDER
// FOLDER holds what report_pages wrote. Fails on any console error or warning, network request,
// dialog of a script, chart without its marks, table that neither sorts nor filters, page wider
// than its window, or a name that did not stay text. Screenshots are left beside the pages.
import {readFileSync, statSync} from 'node:fs';
import {createRequire} from 'node:module';
import path from 'node:path';

const [chromium_path, playwright, folder] = process.argv.slice(2);
const {chromium} = createRequire(import.meta.url)(path.resolve(playwright));
const browser = await chromium.launch({executablePath: chromium_path, args: ['--no-sandbox']});
let failures = 0;
const check = (holds, what) => {
  if (holds) return;
  ++failures;
  console.log('FAILED: ' + what);
};

// What each page must show: charts with at least so many marks; all others must be empty or absent.
const kCharts = {layer_time: 3, change: 3, breakdown: 10, account: 10, roofline: 5, load: 5,
  prediction: 3, tiles: 10, parallel: 50, convergence: 50, failures: 3};
const pages = {
  empty: {rows: 0, charts: {}, says: 'holds no study yet'},
  unmeasured: {rows: 0, charts: {}, says: 'Nothing was measured'},
  one: {rows: 1, charts: {layer_time: 1, breakdown: 10, roofline: 5, load: 5, prediction: 1},
    says: 'the baseline itself'},
  quickstart: {rows: 71, charts: kCharts, says: 'FASTER'},
  many: {rows: 71, charts: kCharts, says: 'FASTER'},
  hostile: {rows: 4, charts: {...kCharts, change: 1, parallel: 30, convergence: 30},
    says: '<img src=x onerror=alert(2)>'},
};

async function open(name, options) {
  const page = await browser.newPage(options);
  page.on('console', m => check(m.type() !== 'error' && m.type() !== 'warning',
    `${name}: console: ${m.text()}`));
  page.on('pageerror', e => check(false, `${name}: ${e.message}`));
  page.on('dialog', d => (check(false, `${name}: a dialog: ${d.message()}`), d.dismiss()));
  page.on('request', r => check(/^(file|data):/.test(r.url()), `${name}: asks for ${r.url()}`));
  await page.goto('file://' + path.resolve(folder, name + '.html'));
  await page.waitForSelector('html[data-ready=yes]');
  return page;
}

// Marks are what Vega draws of data: points, bars, lines; axes and legends do not count.
const marks_of = (page, chart) => page.locator(['symbol', 'rect', 'line', 'rule']
  .map(m => `#chart-${chart} svg .mark-${m}.role-mark > *`).join(',')).count();

const is_whole = (box, room) =>
  box && box.height > 100 && box.width > 200 && box.width <= room.width;

// Of the drawing and its place. Vega draws anew when the page is laid out, and on a busy machine it
// may be caught in between: what it settles on within 10 s counts.
async function settled_boxes(page, chart) {
  for (let tries = 0; ; ++tries) {
    const box = await page.locator(`#chart-${chart} svg`).boundingBox({timeout: 1000})
      .catch(() => null);
    const room = await page.locator(`#chart-${chart}`).boundingBox();
    if (is_whole(box, room) || tries === 100) return [box, room];
    await page.waitForTimeout(100);
  }
}

async function check_charts(page, name, wanted) {
  for (const [chart, least] of Object.entries(wanted)) {
    await page.waitForSelector(`#chart-${chart} svg`, {timeout: 10000}).catch(() => 0);
    const [box, room] = await settled_boxes(page, chart);
    const marks = await marks_of(page, chart);
    check(marks >= least, `${name}: chart ${chart} has ${marks} marks, expected ${least} or more`);
    check(is_whole(box, room),
      `${name}: chart ${chart} is squashed or cut: ${JSON.stringify([box, room])}`);
  }
  const drawn = await page.locator('.chart svg').count();
  check(drawn === Object.keys(wanted).length, `${name}: ${drawn} charts are drawn`);
}

async function check_table(page, name, rows) {
  const all = page.locator('#results tbody tr');
  check(await all.count() === rows, `${name}: ${await all.count()} results, expected ${rows}`);
  if (rows < 2) return;
  const column = page.locator('#results th', {hasText: 'layer_time_us'});
  const index = await column.evaluate(th => [...th.parentNode.children].indexOf(th));
  const times = () => all.evaluateAll((trs, i) => trs.map(r => Number(r.children[i].textContent)),
    index);
  await column.locator('button').press('Enter');
  const up = await times();
  check(up.every((t, i) => i === 0 || up[i - 1] <= t), `${name}: sorts ascending`);
  await column.locator('button').click();
  const down = await times();
  check(down.every((t, i) => i === 0 || down[i - 1] >= t), `${name}: sorts descending`);
  check(await column.getAttribute('aria-sort') === 'descending', `${name}: says how it is sorted`);
  await page.fill('#results input', 'slot tokens<=4');
  const kept = await all.count();
  check(kept > 0 && kept < rows, `${name}: filters ${rows} rows down to ${kept}`);
  await page.fill('#results input', 'no such word');
  check(await all.count() === 0, `${name}: filters everything out`);
  await page.fill('#results input', '');
}

async function check_commands(page, name) {
  await page.locator('#results td button').first().click();
  const text = await page.locator('#commands').innerText();
  check(/fselab db show \d+ --db /.test(text), `${name}: shows how to get a number: ${text}`);
  await page.locator('#commands >> text=Close').click();
  const bare = await page.locator('#charts section:not(:has(.how code))').count();
  check(bare === 0, `${name}: ${bare} charts do not say how to get their numbers`);
}

const width_of = page => page.evaluate(() => document.documentElement.scrollWidth);

async function look_at_desktop(name, {rows, charts, says}) {
  const page = await open(name, {viewport: {width: 1280, height: 900}, colorScheme: 'light'});
  await check_charts(page, name, charts);
  check((await page.locator('#headline').innerText()).includes(says), `${name}: says "${says}"`);
  check(await width_of(page) <= 1280, `${name}: ${await width_of(page)} px wide, not 1280`);
  await page.screenshot({path: path.join(folder, name + '-desktop.png'), fullPage: true});
  await check_table(page, name, rows);
  if (rows > 0) await check_commands(page, name);
  const scripts = await page.locator('script:not([type])').count();
  check(scripts === 2, `${name}: ${scripts} scripts, expected its own two`);
  check(await page.locator('img').count() === 0, `${name}: a name became an image`);
  await page.click('#theme');
  check(await page.evaluate(() => document.documentElement.dataset.theme) === 'dark',
    `${name}: the theme changes`);
  await check_charts(page, name, charts);
  await page.screenshot({path: path.join(folder, name + '-dark.png')});
  await page.close();
}

async function look_at_phone(name, {charts}) {
  const page = await open(name, {viewport: {width: 390, height: 844}, isMobile: true});
  await check_charts(page, name, charts);
  check(await width_of(page) <= 390, `${name}: ${await width_of(page)} px wide on a phone of 390`);
  await page.screenshot({path: path.join(folder, name + '-phone.png'), fullPage: true});
  await page.close();
}

// On paper: A4, landscape, nothing to click and nothing cut off at the right.
async function look_at_paper(name, {rows}) {
  const page = await open(name, {viewport: {width: 1047, height: 718}, colorScheme: 'dark'});
  await page.emulateMedia({media: 'print'});
  const wide = await page.evaluate(() => [...document.querySelectorAll('table')]
    .filter(t => t.offsetParent && t.getBoundingClientRect().right > innerWidth)
    .map(t => t.closest('section').id));
  check(wide.length === 0, `${name}: on paper these tables are cut: ${wide}`);
  for (const hidden of ['#theme', 'nav', '.tools', '#tiles'])
    for (const part of await page.locator(hidden).all())
      check(!(await part.isVisible()), `${name}: ${hidden} is printed`);
  const paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  check(paper === 'rgb(255, 255, 255)', `${name}: the paper is ${paper}`);
  if (rows > 0) await page.pdf({path: path.join(folder, name + '.pdf'), preferCSSPageSize: true});
  await page.close();
}

for (const [name, expected] of Object.entries(pages)) {
  const file = path.join(folder, name + '.html');
  const bytes = statSync(file).size;
  check(bytes <= 5e6, `${name}: ${bytes} bytes, expected at most 5 MB`);
  check(!readFileSync(file, 'utf8').includes('<script>alert'), `${name}: markup in the file`);
  await look_at_desktop(name, expected);
  await look_at_phone(name, expected);
  await look_at_paper(name, expected);
  console.log(`${name}: looked at`);
}
await browser.close();
process.exit(failures ? 1 : 0);
