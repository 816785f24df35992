'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const specs = JSON.parse(document.getElementById('specs').textContent);
const by_id = id => document.getElementById(id);

// Every text of the report goes through textContent: a name never becomes markup.
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  for (const child of children) node.append(child);
  return node;
}
const unique = values => [...new Set(values)];
const measured = data.results.filter(r => r.layer_time_us !== null);
const short_number = v => v === 0 ? '0' : Math.abs(v) >= 1e6 || Math.abs(v) < 1e-3 ?
  v.toExponential(2) : Number(v.toPrecision(4)).toString();

// The headline is Markdown with one kind of mark: **bold**, and escapes.
function show_headline() {
  const plain = text => text.replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&amp;/g, '&')
    .replace(/\\(.)/g, '$1');
  data.headline.split('**').forEach((part, i) =>
    by_id('headline').append(i % 2 ? make('b', {}, plain(part)) : plain(part)));
  by_id('study').textContent = data.study.name;
  const floor = data.aa_floor_percent;
  by_id('reading').textContent =
    'Medians of whole layers at their tuned tiles, µs, with 95 % order-statistic intervals. ' +
    `Changes are relative to the baseline named in each row: below 0 is faster. FASTER, SLOWER ` +
    `and SAME: the whole interval lies below, above or inside ±${data.delta_percent} %, after ` +
    `Holm's correction over ${data.comparisons} comparisons.` +
    (floor === null ? '' : ` A/A floor: ${floor.toFixed(1)} % (even against odd rounds of one ` +
      'layer); a smaller change says nothing.');
}

// ---- tables: sorted by a click on a title, filtered by words that must all occur
function table_cell(column, value, numeric) {
  const text = value === null ? '–' : typeof value === 'number' ?
    (column === 'attempt' || Number.isInteger(value) ? String(value) : short_number(value)) : value;
  const cell = make('td', {class: numeric ? 'number' : 'text'}, text);
  if (!numeric) cell.title = text;
  if (column === 'verdict' || column === 'state') cell.classList.add(text.replace(/\W/g, '') || 'none');
  return cell;
}

function add_table(id, title, note, rows, columns) {
  const box = make('div', {class: 'table', id: id}, make('h2', {}, title),
    make('p', {class: 'note'}, note));
  by_id('tables').append(box);
  by_id('nav').append(make('a', {href: '#' + id}, title));
  if (rows.length === 0) return box.append(make('p', {class: 'empty'}, 'None.'));
  const shown_columns = columns || Object.keys(rows[0]);
  const numeric = Object.fromEntries(shown_columns.map(c =>
    [c, rows.every(r => r[c] === null || typeof r[c] === 'number')]));
  const search = make('input', {type: 'search', placeholder: 'Filter: words, tokens>4',
    'aria-label': 'Filter ' + title});
  const count = make('span', {class: 'count', 'aria-live': 'polite'});
  const head = make('tr'), body = make('tbody');
  let sorted_by = null, direction = 1;
  const kLimit = 500;

  // "tokens>4" compares a column; any other word must occur somewhere in the row.
  function keeps(row, words) {
    return words.every(word => {
      const m = word.match(/^([a-z_0-9]+)(>=|<=|=|>|<)(.+)$/);
      if (m && m[1] in row) {
        const [a, b] = [row[m[1]], numeric[m[1]] ? Number(m[3]) : m[3]];
        if (a === null) return false;
        return {'>=': a >= b, '<=': a <= b, '>': a > b, '<': a < b, '=': a === b}[m[2]];
      }
      return shown_columns.some(c => String(row[c]).toLowerCase().includes(word.toLowerCase()));
    });
  }
  function fill() {
    const words = search.value.split(/\s+/).filter(Boolean);
    const kept = rows.filter(r => keeps(r, words));
    if (sorted_by) kept.sort((a, b) => {
      const [x, y] = [a[sorted_by], b[sorted_by]];
      if (x === null || y === null) return (x === null) - (y === null);
      return direction * (numeric[sorted_by] ? x - y : String(x).localeCompare(String(y)));
    });
    body.replaceChildren(...kept.slice(0, kLimit).map(row => make('tr', {},
      ...shown_columns.map(c => table_cell(c, row[c], numeric[c])))));
    count.textContent = `${kept.length} of ${rows.length} rows` +
      (kept.length > kLimit ? `, the first ${kLimit} shown` : '');
  }
  for (const column of shown_columns) {
    const button = make('button', {type: 'button'}, column);
    const cell = make('th', {scope: 'col', class: numeric[column] ? 'number' : ''}, button);
    button.addEventListener('click', () => {
      direction = sorted_by === column ? -direction : 1;
      sorted_by = column;
      for (const other of head.children) {
        other.removeAttribute('aria-sort');
        other.firstChild.textContent = other.firstChild.textContent.replace(/ [▲▼]$/, '');
      }
      cell.setAttribute('aria-sort', direction > 0 ? 'ascending' : 'descending');
      button.textContent = column + (direction > 0 ? ' ▲' : ' ▼');
      fill();
    });
    head.append(cell);
  }
  search.addEventListener('input', fill);
  box.append(make('div', {class: 'tools'}, search, count),
    make('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': title},
      make('table', {}, make('thead', {}, head), body)));
  fill();
}

// ---- charts: specifications bound to data by name
const cards = {};
function theme_config() {
  const style = getComputedStyle(document.documentElement);
  const color = name => style.getPropertyValue(name).trim();
  const font = style.fontFamily;
  return {background: 'transparent', font: font, view: {stroke: null},
    range: {category: ['#1f6feb', '#e08a00', '#12a57a', '#c2418f', '#7b61d9', '#5a6775']},
    axis: {labelColor: color('--soft'), titleColor: color('--soft'), gridColor: color('--line'),
      domainColor: color('--line'), tickColor: color('--line'), titleFontWeight: 400},
    legend: {labelColor: color('--ink'), titleColor: color('--soft')}};
}

function draw(name, datasets, titles = {}) {
  const spec = specs[name];
  if (!cards[name]) {
    const chart = make('div', {class: 'chart', id: 'chart-' + name, role: 'img'});
    cards[name] = make('div', {class: 'card' + (name === 'breakdown' ? ' wide' : '')},
      make('h2', {}, spec.title), make('p', {class: 'note'}, spec.description), chart);
    by_id('charts').append(cards[name]);
  }
  const chart = cards[name].lastChild;
  chart.setAttribute('aria-label', spec.title + '. ' + spec.description);
  if (Object.values(datasets).every(rows => rows.length === 0))
    return chart.replaceChildren(make('p', {class: 'empty'}, 'No data for this choice.'));
  const full = structuredClone(spec);
  delete full.title;
  Object.assign(full, {datasets, config: theme_config(), width: Math.max(220, chart.clientWidth - 8),
    autosize: {type: 'fit-x', contains: 'padding'}});
  if (titles.x) {
    full.layer[0].encoding.x.title = titles.x;
    full.layer[0].encoding.y.title = titles.y;
  }
  chart.replaceChildren();
  return new vega.View(vega.parse(vegaLite.compile(full).spec), {renderer: 'svg', container: chart,
    hover: true}).runAsync();
}

// The fastest variant of each `shared` at every token count.
function shared_best(rows) {
  const best = new Map();
  for (const r of rows) {
    const key = r.shared + ' ' + r.tokens;
    if (!best.has(key) || r.layer_time_us < best.get(key).layer_time_us) best.set(key, r);
  }
  return [...best.values()];
}

function breakdown(rows) {
  const fastest = rows.reduce((a, b) => a && a.layer_time_us <= b.layer_time_us ? a : b, null);
  if (!fastest) return [];
  const baseline = rows.find(r => r.variant === fastest.baseline) || rows.find(r => r.is_baseline);
  const order = [];
  return unique([baseline, fastest].filter(Boolean)).flatMap(r => {
    const steps = data.steps.filter(s => s.attempt === r.attempt && s.time_us !== null);
    if (steps.length === 0) return [];
    const sum = steps.reduce((t, s) => t + s.time_us, 0);
    const name = r.variant + (r === baseline ? ' (baseline)' : '');
    const all = steps.map(s => ({variant: name, step: s.step, time_us: s.time_us, kernel: s.kernel,
      tile: s.tile}));
    if (r.layer_time_us > sum) all.push({variant: name, step: 'launches, waits',
      time_us: r.layer_time_us - sum});
    for (const s of all) {
      if (!order.includes(s.step)) order.push(s.step);
      s.order = order.indexOf(s.step);
    }
    return all;
  });
}

function roofline(rows) {
  const fastest = new Set(shared_best(rows).map(r => r.attempt));
  const steps = data.steps.filter(s => fastest.has(s.attempt) && s.time_us > 0 && s.flops > 0 &&
    s.bytes > 0).map(s => ({...s, intensity: s.flops / s.bytes, gflops: s.flops / s.time_us / 1e3,
      gbs: s.bytes / s.time_us / 1e3, x_floor: s.floor_us > 0 ? s.time_us / s.floor_us : null}));
  const e = data.environments.find(x => x.device === rows[0]?.device) || data.environments[0];
  if (!steps.length || !e || !(e.read_gbs > 0) || !(e.peak_gflops > 0))
    return {roof: [], roofline_steps: steps};
  const ridge = e.peak_gflops / e.read_gbs;
  const lo = Math.min(ridge / 4, ...steps.map(s => s.intensity)) / 1.5;
  const hi = Math.max(ridge * 4, ...steps.map(s => s.intensity));
  return {roofline_steps: steps, roof: [{intensity: lo, gflops: lo * e.read_gbs},
    {intensity: ridge, gflops: e.peak_gflops}, {intensity: hi, gflops: e.peak_gflops}]};
}

const axes_of = tile => Object.fromEntries(tile.split(' ').filter(Boolean).map(a => a.split('=')));

function tile_charts(step_key) {
  const tried = data.tiles.filter(t => t.step_key === step_key);
  const ok = tried.filter(t => t.status === 'measured' && t.time_us > 0);
  let best = Infinity;
  const trials = ok.map((t, i) => ({...t, trial: i + 1, best_us: best = Math.min(best, t.time_us)}));
  const winner = ok.find(t => t.time_us === best);
  const same = winner ? tried.filter(t => t.kernel === winner.kernel) : [];
  const values = {};
  for (const t of same)
    for (const [a, v] of Object.entries(axes_of(t.tile))) (values[a] = values[a] || new Set()).add(v);
  const wide = Object.keys(values).sort((a, b) => values[b].size - values[a].size);
  const [x, y] = [wide[0], wide[1] || wide[0]];
  const cells = new Map();
  for (const t of x ? same : []) {
    const axes = axes_of(t.tile), key = axes[x] + ' ' + axes[y];
    const cell = cells.get(key) || {x: Number(axes[x]), y: Number(axes[y]), time_us: null, tried: 0,
      failed: 0};
    ++cell.tried;
    if (t.status !== 'measured') ++cell.failed;
    else if (cell.time_us === null || t.time_us < cell.time_us) Object.assign(cell,
      {time_us: t.time_us, tile: t.tile, kernel: t.kernel});
    cells.set(key, cell);
  }
  const mark = x && winner ? [{...winner, x: Number(axes_of(winner.tile)[x]),
    y: Number(axes_of(winner.tile)[y])}] : [];
  draw('tiles', {tile_cells: x ? [...cells.values()] : [], tile_winner: mark},
    x ? {x: x, y: y} : {});
  draw('convergence', {trials});
}

function picker(label, options, change) {
  const select = make('select', {'aria-label': label}, ...options.map(o => make('option', {value: o}, o)));
  select.addEventListener('change', change);
  by_id('pick').append(make('label', {}, label, select));
  return select;
}

function show_charts() {
  if (!specs || typeof vega === 'undefined') {
    by_id('charts').append(make('p', {class: 'card note'},
      'This report has its tables only: fselab was built without npm, which brings the charts.'));
    return () => {};
  }
  if (measured.length === 0) {
    by_id('charts').append(make('p', {class: 'card note'}, 'Nothing was measured: no charts.'));
    return () => {};
  }
  const redraw = () => {
    const rows = measured.filter(r => r.workload === workload.value);
    const at = rows.filter(r => String(r.tokens) === tokens.value);
    draw('layer_time', {shared_best: shared_best(rows)});
    draw('change', {shared_best: shared_best(rows)});
    draw('breakdown', {breakdown: breakdown(at)});
    draw('roofline', roofline(rows));
    const load = data.loads.filter(l => l.workload === workload.value &&
      String(l.tokens) === tokens.value).sort((a, b) => b.rows - a.rows)
      .map((l, i) => ({...l, rank: i, rank_end: i + 0.9}));
    draw('load', {load});
    if (step) tile_charts(step.value);
  };
  const workload = picker('Workload', unique(measured.map(r => r.workload)), redraw);
  const tokens = picker('Tokens', unique(measured.map(r => r.tokens)).sort((a, b) => a - b)
    .map(String), redraw);
  const keys = unique(data.tiles.filter(t => t.time_us > 0).map(t => t.step_key));
  const tried = key => data.tiles.filter(t => t.step_key === key).length;
  const step = keys.length ? picker('Step', keys.sort((a, b) => tried(b) - tried(a)).slice(0, 200),
    redraw) : null;
  redraw();
  return redraw;
}

function show_tables() {
  const loses = data.results.filter(r => r.shared === 'slot' && r.verdict === 'SLOWER');
  const columns = ['workload', 'tokens', 'variant', 'layer_time_us', 'lo_us', 'hi_us', 'n',
    'baseline', 'baseline_us', 'change_percent', 'change_lo', 'change_hi', 'change_us', 'verdict',
    'p_holm', 'rel_frobenius', 'bound', 'x_floor', 'attempt'];
  add_table('results', 'Results', 'Every measured layer, its error beside its speed. ' +
    `"fselab db show ATTEMPT --db ${data.db}" shows a number's whole row.`, measured, columns);
  add_table('loses', 'Where the slot loses', 'Slot variants that are certainly slower than their ' +
    'baseline.', loses, columns);
  add_table('steps', 'Steps', 'Kernels and tuned tiles of every measured layer.', data.steps);
  add_table('missing', 'Without a result', 'Cases that were refused, failed or have not run.',
    data.results.filter(r => r.layer_time_us === null),
    ['workload', 'tokens', 'variant', 'state', 'reason']);
  add_table('failures', 'Failed attempts', 'Alike ones together.', data.failures);
  add_table('tiles', 'Tiles tried', 'In order; of very many an evenly spaced part.', data.tiles);
}

function show_provenance() {
  const box = by_id('provenance');
  by_id('nav').append(make('a', {href: '#provenance'}, 'Provenance'));
  add_table('environments', 'Environments', 'The two rates were measured in the same runs.',
    data.environments);
  box.append(make('div', {class: 'card'}, make('h2', {id: 'provenance-title'}, 'Provenance'),
    make('p', {class: 'note'}, `Study ${data.study.name}, created ${data.study.created}, plan ` +
      `${data.study.plan_hash}. Reproduced by:`), make('pre', {tabindex: '0'}, data.study.command),
    make('p', {class: 'note'}, 'with this sweep:'), make('pre', {tabindex: '0'}, data.study.yaml)));
}

const dark = matchMedia('(prefers-color-scheme: dark)');
document.documentElement.dataset.theme = dark.matches ? 'dark' : 'light';
show_headline();
show_tables();
show_provenance();
const redraw = show_charts();
by_id('theme').addEventListener('click', () => {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === 'dark' ? 'light' : 'dark';
  redraw();
});
let resized = 0;
addEventListener('resize', () => {
  clearTimeout(resized);
  resized = setTimeout(redraw, 150);
});
document.documentElement.dataset.ready = 'yes';
