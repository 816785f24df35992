// The page: what is said above, the choice that the charts follow, the tables, where it comes from.

// The headline is Markdown with two kinds of marks, **bold** and `code`, and escapes.
function show_headline() {
  const plain = text => text.replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&amp;/g, '&')
    .replace(/\\(.)/g, '$1');
  data.headline.split('**').forEach((part, i) => part.split(/(?<!\\)`/).forEach((piece, j) =>
    by_id('headline').append(j % 2 ? make('code', {}, plain(piece)) :
      i % 2 ? make('b', {}, plain(piece)) : plain(piece))));
  by_id('study').textContent = data.study.name;
  if (measured.length === 0) return;
  const floor = data.aa_floor_percent;
  by_id('reading').textContent =
    'Medians of whole layers at their tuned tiles, µs, with 95 % order-statistic intervals. ' +
    `Changes are relative to the baseline named in each row: below 0 is faster. FASTER, SLOWER ` +
    `and SAME: the whole interval lies below, above or inside ±${data.delta_percent} %, after ` +
    `Holm's correction over ${data.comparisons} comparisons.` +
    (floor === null ? '' : ` A/A floor: ${floor.toFixed(1)} % (` + (data.controls > 0 ?
      `${data.controls} layers raced against themselves` : 'even against odd rounds of one layer') +
      '); a smaller change says nothing.') + (data.failed_controls === 0 ? '' :
      ` ${data.failed_controls} of them came out FASTER or SLOWER: nothing in their races is decided.`);
}

function picker(label, change) {
  const select = make('select', {'aria-label': label, id: 'pick-' + label.toLowerCase()});
  select.addEventListener('change', change);
  by_id('pick').append(make('label', {}, label, select));
  return select;
}
// Keeps what was chosen where it is still there.
function offer(select, options) {
  const before = select.value;
  select.replaceChildren(...options.map(o => make('option', {value: o}, o)));
  if (options.includes(before)) select.value = before;
}

function show_charts() {
  const say = text => by_id('charts').append(make('p', {class: 'card note'}, text));
  if (!specs || typeof vega === 'undefined')
    say('This report has its tables only: fselab was built without npm, which brings the charts.');
  else if (measured.length === 0) say('Nothing was measured: no charts.');
  if (measured.length === 0 || !specs || typeof vega === 'undefined') {
    by_id('pick').remove();
    return () => {};
  }
  const redraw = () => {
    const rows = measured.filter(r => r.workload === workload.value);
    offer(tokens, unique(rows.map(r => r.tokens)).sort((a, b) => a - b).map(String));
    const at = rows.filter(r => String(r.tokens) === tokens.value);
    draw_times(rows);
    draw_breakdown(at);
    if (cards.account) draw_account(workload.value, Number(tokens.value));
    draw_roofline(rows);
    draw_load(workload.value, Number(tokens.value), at);
    draw_prediction(rows);
    if (step) draw_tiles(step.value);
    if (data.failures.length) draw_failures();
  };
  const workload = picker('Workload', redraw), tokens = picker('Tokens', redraw);
  offer(workload, unique(measured.map(r => r.workload)));
  // The slowest step first: its tiles matter most. Below a dozen tiles there is no landscape.
  const tried = new Map(), best = new Map();
  for (const t of data.tiles) {
    tried.set(t.step_key, (tried.get(t.step_key) || 0) + 1);
    if (t.time_us > 0) best.set(t.step_key, Math.min(t.time_us, best.get(t.step_key) || Infinity));
  }
  const weight = key => best.get(key) * (tried.get(key) < 12 ? 1e-6 : 1);
  const keys = [...best.keys()].sort((a, b) => weight(b) - weight(a)).slice(0, 200);
  const step = keys.length ? picker('Step', redraw) : null;
  if (step) offer(step, keys);
  by_id('nav').prepend(make('a', {href: '#charts'}, 'Charts'));
  const duels = data.slot_duels.length ? ['account'] : [];
  add_cards(['layer_time', 'change', 'breakdown', ...duels, 'roofline', 'prediction', 'load',
    ...(step ? ['tiles', 'convergence', 'parallel'] : []),
    ...(data.failures.length ? ['failures'] : [])]);
  redraw();
  return redraw;
}

// Two columns that a reader takes for one.
function with_intervals(row) {
  const span = (lo, hi, say) => lo === null || lo === undefined ? null : `[${say(lo)}, ${say(hi)}]`;
  return {...row, interval_us: span(row.lo_us, row.hi_us, four_digits),
    change_interval: span(row.change_lo, row.change_hi, percent)};
}

// With the steps that cost most and those that save most, three each.
function lost_duels() {
  return data.slot_duels.filter(d => d.verdict === 'SLOWER').map(d => {
    const steps = account_of(d).slice(0, -1).filter(s => Math.abs(s.change_us) > d.other_us / 200);
    const words = list => list.slice(0, 3).map(s => `${s.step} ${signed(s.change_us)}`).join(', ');
    return {...with_intervals(d), costs_more: words(steps.filter(s => s.change_us > 0)),
      saves: words(steps.filter(s => s.change_us < 0).reverse())};
  });
}

function show_tables() {
  const columns = ['workload', 'tokens', 'variant', 'layer_time_us', 'interval_us',
    'change_percent', 'change_interval', 'change_us', 'verdict', 'baseline', 'rel_frobenius',
    'bound', 'attempt', 'baseline_us', 'predicted_us', 'x_floor', 'n', 'p_holm', 'compared_by'];
  add_table('results', 'Results', 'Every measured layer, its error beside its speed. The number ' +
    'of an attempt shows the commands that give it again.', measured.map(with_intervals), columns);
  add_table('loses', 'Where the slot loses', 'Token counts at which the fastest slot variant is ' +
    'certainly slower than the fastest variant of any other kind, its baseline here; the chart ' +
    'above has the account of a chosen one, step by step.', lost_duels(), ['workload', 'tokens',
    'slot', 'slot_us', 'other', 'other_us', 'change_percent', 'change_interval', 'change_us',
    'verdict', 'costs_more', 'saves', 'rel_frobenius', 'bound', 'p_holm', 'compared_by', 'attempt',
    'other_attempt']);
  add_table('steps', 'Steps', 'Kernels and tuned tiles of every measured layer.',
    data.steps.map(with_intervals), ['workload', 'tokens', 'variant', 'attempt', 'step', 'time_us',
      'interval_us', 'floor_us', 'kernel', 'tile', 'op', 'bytes', 'flops']);
  add_table('missing', 'Without a result', 'Cases that were refused, failed or have not run.',
    data.results.filter(r => r.layer_time_us === null),
    ['workload', 'tokens', 'variant', 'state', 'reason']);
  add_table('failures', 'Failed attempts', 'Alike ones together.', data.failures);
  add_table('tiles', 'Tiles tried', 'In order; of very many an evenly spaced part.', data.tiles,
    ['attempt', 'time_us', 'status', 'kernel', 'tile', 'step_key']);
  add_table('ceilings', 'Ceilings', 'What the device can do at most: measured in the same run, ' +
    'and as its maker or a publication says.', data.ceilings);
  add_table('environments', 'Environments', 'Device, compilers with driver, and revision.',
    data.environments);
}

function show_provenance() {
  by_id('nav').append(make('a', {href: '#provenance'}, 'Provenance'));
  if (!data.study.name) return by_id('provenance').remove();
  by_id('provenance').append(make('div', {class: 'card'},
    make('h2', {id: 'provenance-title'}, 'Provenance'),
    make('p', {class: 'note'}, `Study ${data.study.name}, created ${data.study.created}, plan ` +
      `${data.study.plan_hash}. Reproduced by:`), make('pre', {tabindex: '0'}, data.study.command),
    make('p', {class: 'note'}, 'with this sweep:'), make('pre', {tabindex: '0'}, data.study.yaml),
    ...data.study.notes.map(text => make('p', {class: 'note'}, text))));
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
