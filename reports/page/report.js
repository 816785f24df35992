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
    (floor === null ? '' : ` A/A floor: ${floor.toFixed(1)} % (even against odd rounds of one ` +
      'layer); a smaller change says nothing.');
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
    draw_roofline(rows);
    draw_load(workload.value, Number(tokens.value), at);
    draw_prediction(rows);
    if (step) draw_tiles(step.value);
    draw_failures();
  };
  const workload = picker('Workload', redraw), tokens = picker('Tokens', redraw);
  offer(workload, unique(measured.map(r => r.workload)));
  const tried = new Map();
  for (const t of data.tiles) tried.set(t.step_key, (tried.get(t.step_key) || 0) + 1);
  const keys = unique(data.tiles.filter(t => t.time_us > 0).map(t => t.step_key))
    .sort((a, b) => tried.get(b) - tried.get(a)).slice(0, 200);
  const step = keys.length ? picker('Step', redraw) : null;
  if (step) offer(step, keys);
  by_id('nav').prepend(make('a', {href: '#charts'}, 'Charts'));
  add_cards(['layer_time', 'change', 'breakdown', 'roofline', 'prediction', 'load', 'failures',
    ...(step ? ['tiles', 'convergence', 'parallel'] : [])]);
  redraw();
  return redraw;
}

function show_tables() {
  const loses = data.results.filter(r => r.shared === 'slot' && r.verdict === 'SLOWER');
  const columns = ['workload', 'tokens', 'variant', 'layer_time_us', 'lo_us', 'hi_us',
    'change_percent', 'verdict', 'change_lo', 'change_hi', 'change_us', 'rel_frobenius', 'bound',
    'baseline', 'baseline_us', 'x_floor', 'n', 'p_holm', 'compared_by', 'attempt'];
  add_table('results', 'Results', 'Every measured layer, its error beside its speed. The number ' +
    'of an attempt shows the commands that give it again.', measured, columns);
  add_table('loses', 'Where the slot loses', 'Slot variants that are certainly slower than their ' +
    'baseline.', loses, columns);
  add_table('steps', 'Steps', 'Kernels and tuned tiles of every measured layer.', data.steps);
  add_table('missing', 'Without a result', 'Cases that were refused, failed or have not run.',
    data.results.filter(r => r.layer_time_us === null),
    ['workload', 'tokens', 'variant', 'state', 'reason']);
  add_table('failures', 'Failed attempts', 'Alike ones together.', data.failures);
  add_table('tiles', 'Tiles tried', 'In order; of very many an evenly spaced part.', data.tiles);
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
