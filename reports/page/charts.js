// Charts: the specifications of charts/*.vl.json, bound to data by name.
const cards = {};

function theme_config() {
  const style = getComputedStyle(document.documentElement);
  const color = name => style.getPropertyValue(name).trim();
  return {background: 'transparent', font: style.fontFamily, view: {stroke: null},
    range: {category: ['#1f6feb', '#e08a00', '#12a57a', '#c2418f', '#7b61d9', '#5a6775']},
    text: {color: color('--soft')},
    axis: {labelColor: color('--soft'), titleColor: color('--soft'), gridColor: color('--line'),
      domainColor: color('--line'), tickColor: color('--line'), titleFontWeight: 400,
      labelOverlap: 'greedy'},
    legend: {labelColor: color('--ink'), titleColor: color('--soft'), labelLimit: 220}};
}

// Ticks of a logarithmic axis: 1, 2, 5 of each decade, or even steps where that gives too few.
function log_ticks(lo, hi) {
  const ticks = [];
  for (let e = Math.floor(Math.log10(lo)); e <= Math.ceil(Math.log10(hi)); ++e)
    for (const m of [1, 2, 5]) ticks.push(m * 10 ** e);
  const inside = ticks.filter(t => t >= lo && t <= hi);
  if (inside.length > 9) return inside.filter(t => /^1/.test(t.toExponential()));
  if (inside.length > 2) return inside;
  const step = 10 ** Math.floor(Math.log10((hi - lo) / 2));
  const wide = [1, 2, 5, 10].map(m => m * step).find(s => (hi - lo) / s <= 6);
  const even = [];
  for (let i = Math.ceil(lo / wide); i * wide <= hi; ++i)
    even.push(Number((i * wide).toPrecision(6)));
  return even;
}

// Sets domain and ticks of every log scale of one channel to what holds these values.
function fit_log(spec, channel, values) {
  const [lo, hi] = [Math.min(...values) / 1.08, Math.max(...values) * 1.08];
  for (const part of [spec, ...(spec.layer || [])]) {
    const field = part.encoding && part.encoding[channel];
    if (!field || !field.scale || field.scale.type !== 'log') continue;
    Object.assign(field.scale, {domain: [lo, hi], nice: false});
    if (field.axis) field.axis.values = log_ticks(lo, hi);
  }
}
const fit_tokens = (spec, rows) => {
  spec.encoding.x.axis.values = unique(rows.map(r => r.tokens)).sort((a, b) => a - b);
};

// All cards before the first chart: a chart is as wide as its card, and that depends on the others.
function add_cards(names) {
  for (const name of names) {
    const spec = specs[name], wide = ['breakdown', 'parallel'].includes(name) ? ' wide' : '';
    const card = cards[name] = {
      chart: make('div', {class: 'chart', id: 'chart-' + name, role: 'img',
        'aria-label': spec.title + '. ' + spec.description}),
      said: make('p', {class: 'said', 'aria-live': 'polite'}),  // what the chart says, in words
      command: make('details', {class: 'how'})};
    by_id('charts').append(make('section', {class: 'card' + wide}, make('h2', {}, spec.title),
      make('p', {class: 'note'}, spec.description), card.said, card.chart, card.command));
  }
}

// The same colour for the same way to run the shared expert, in every chart.
const kSharedColors = {mlp: '#1f6feb', mlp_overlapped: '#e08a00', slot: '#12a57a', none: '#5a6775'};
function color_shared(spec, datasets) {
  const present = unique(Object.values(datasets).flat().map(r => r.shared))
    .filter(s => s in kSharedColors);
  for (const layer of spec.layer || [])
    if (layer.encoding.color && layer.encoding.color.field === 'shared')
      layer.encoding.color.scale = {domain: present, range: present.map(s => kSharedColors[s])};
}

// `command` gives the numbers of the chart; `adjust` fits the specification to its data.
function draw(name, datasets, command, adjust) {
  const {chart, command: how} = cards[name];
  how.replaceChildren(make('summary', {}, 'Command'), command_line(command));
  chart.replaceChildren();
  if (Object.values(datasets).every(rows => rows.length === 0))
    return chart.append(make('p', {class: 'empty'}, 'No data for this choice.'));
  const full = structuredClone(specs[name]);
  delete full.title;
  const width = Math.max(220, chart.clientWidth - 4);
  Object.assign(full, {datasets, config: theme_config(), width,
    autosize: {type: 'fit-x', contains: 'padding'}});
  color_shared(full, datasets);
  if (adjust) adjust(full, width);
  new vega.View(vega.parse(vegaLite.compile(full).spec),
    {renderer: 'svg', container: chart, hover: true}).runAsync();
}

// The fastest variant of each `shared` at every token count.
function shared_best(rows) {
  const best = new Map();
  for (const r of rows) {
    const key = r.shared + ' ' + r.tokens;
    if (!best.has(key) || r.layer_time_us < best.get(key).layer_time_us) best.set(key, r);
  }
  return [...best.values()].sort((a, b) => a.tokens - b.tokens);
}

function draw_times(rows) {
  const best = shared_best(rows), command = results_command();
  const floors = unique(best.map(r => r.tokens)).map(tokens => ({tokens,
    floor_us: Math.min(...best.filter(r => r.tokens === tokens && r.floor_us > 0)
      .map(r => r.floor_us))})).filter(f => isFinite(f.floor_us));
  draw('layer_time', {shared_best: best, floors}, command, spec => {
    fit_tokens(spec, best);
    fit_log(spec, 'y', best.flatMap(r => [r.layer_time_us, r.lo_us, r.hi_us])
      .concat(floors.map(f => f.floor_us)).filter(v => v > 0));
  });
  const changes = best.filter(r => r.change_percent !== null);
  draw('change', {shared_best: changes, break_even: break_even(changes)}, command,
    spec => fit_tokens(spec, changes));
}

// Where a line crosses zero, straight in log(tokens).
function break_even(rows) {
  return unique(rows.map(r => r.shared)).flatMap(shared => {
    const line = rows.filter(r => r.shared === shared);
    return line.slice(1).flatMap((b, i) => {
      const a = line[i];
      if (!(a.change_percent * b.change_percent < 0)) return [];
      const share = a.change_percent / (a.change_percent - b.change_percent);
      const tokens = a.tokens * (b.tokens / a.tokens) ** share;
      return [{shared, tokens, change_percent: 0,
        label: `${shared}: about ${tokens.toPrecision(2)} tokens`}];
    });
  });
}

const steps_command = row => row ? `fselab db steps ${row.attempt}` : 'fselab db ls';
const fastest_of = rows =>
  rows.reduce((a, b) => a && a.layer_time_us <= b.layer_time_us ? a : b, null);

function draw_breakdown(rows) {
  const fastest = fastest_of(rows);
  const baseline = fastest && (rows.find(r => r.variant === fastest.baseline) ||
    rows.find(r => r.is_baseline));
  const order = [], shown = unique([baseline, fastest].filter(Boolean));
  const name_of = r => r.variant + (r === baseline ? ' (baseline)' : '');
  const bars = shown.flatMap(r => {
    const name = name_of(r);
    const all = data.steps.filter(s => s.attempt === r.attempt && s.time_us !== null)
      .map(s => ({...s, variant: name}));
    const rest = r.layer_time_us - all.reduce((t, s) => t + s.time_us, 0);
    if (all.length && rest > 0) all.push({variant: name, step: 'launches and waits', time_us: rest});
    for (const s of all) {
      if (s.kernel && !order.includes(s.step)) order.push(s.step);
      s.order = s.kernel ? order.indexOf(s.step) : 1000;
    }
    return all.sort((a, b) => a.order - b.order);
  });
  const layers = shown.map(r => ({variant: name_of(r), layer_time_us: r.layer_time_us}));
  draw('breakdown', {breakdown: bars, layers}, steps_command(fastest), (spec, width) => {
    spec.height = 24 + 44 * shown.length;
    spec.layer[0].encoding.color.legend.columns = Math.max(2, Math.floor(width / 190));
    spec.encoding.y.axis.labelLimit = Math.min(240, width * 0.3);
  });
}

// What a layer changes against another, step by step: what costs more first, what saves most last,
// then what no step accounts for, then the whole.
function account_of(duel) {
  const steps = new Map();
  const time_of = id => measured.find(r => r.attempt === id).layer_time_us;
  const whole = {slot_us: time_of(duel.steps_attempt), other_us: time_of(duel.other_steps_attempt)};
  const sum = {...whole};
  const add = (attempt, side) => {
    for (const s of data.steps.filter(s => s.attempt === attempt && s.time_us !== null)) {
      if (!steps.has(s.step)) steps.set(s.step, {step: s.step, slot_us: 0, other_us: 0});
      steps.get(s.step)[side] += s.time_us;
      sum[side] -= s.time_us;
    }
  };
  add(duel.other_steps_attempt, 'other_us');
  add(duel.steps_attempt, 'slot_us');
  if (steps.size === 0) return [];
  const change = row => ({...row, change_us: row.slot_us - row.other_us,
    kind: row.slot_us > row.other_us ? 'costs more' : 'saves'});
  return [...[...steps.values()].map(change).sort((a, b) => b.change_us - a.change_us),
    change({step: 'launches and waits', ...sum}),
    {...change({step: 'whole layer', ...whole}), kind: 'whole layer'}];
}

function draw_account(workload, tokens) {
  const duel = data.slot_duels.find(d => d.workload === workload && d.tokens === tokens);
  const account = duel ? account_of(duel) : [];
  const variant_of = id => measured.find(r => r.attempt === id).variant;
  cards.account.said.textContent = !duel ? '' : `${duel.slot} against ${duel.other}: ` +
    `${percent(duel.change_percent)} % (${signed(duel.change_us)} µs), ${duel.verdict}.` +
    (duel.steps_attempt === duel.attempt && duel.other_steps_attempt === duel.other_attempt ? '' :
      ` Its account is that of ${variant_of(duel.steps_attempt)} against ` +
      `${variant_of(duel.other_steps_attempt)}, which are several launches.`);
  const command = duel ? `fselab db steps ${duel.steps_attempt}` : 'fselab db ls';
  draw('account', {account}, command, (spec, width) => {
    spec.height = 30 + 22 * account.length;
    // Room for the numbers at both ends of the bars, about 45 pixels of what the labels leave.
    const all = account.map(s => s.change_us).concat(0);
    const [lo, hi] = [Math.min(...all), Math.max(...all)];
    const room = (hi - lo) * 45 / Math.max(60, width - 200);
    spec.layer[0].encoding.x.scale = {nice: false, domain: [lo - room, hi + room]};
  });
}

function ceiling_lines(device, lo, hi) {
  const of = data.ceilings.filter(c => c.device === device);
  return unique(of.map(c => c.kind)).flatMap(kind => {
    const value = what => Math.max(...of.filter(c => c.kind === kind && c.what === what)
      .map(c => c.value));
    const gbs = value('read_gbs'), gflops = value('peak_gflops');
    if (!isFinite(gbs) || !isFinite(gflops)) return [];
    const ridge = gflops / gbs, name = kind === 'measured' ? 'measured' : `${kind} (sourced)`;
    return [lo, ridge, Math.max(hi, 2 * ridge)].map(intensity =>
      ({ceiling: name, intensity, gflops: Math.min(gflops, intensity * gbs)}));
  });
}

function draw_roofline(rows) {
  const fastest = shared_best(rows), ids = new Set(fastest.map(r => r.attempt));
  const points = data.steps.filter(s => ids.has(s.attempt) && s.time_us > 0 && s.flops > 0 &&
    s.bytes > 0).map(s => ({...s, intensity: s.flops / s.bytes, gflops: s.flops / s.time_us / 1e3,
      gbs: s.bytes / s.time_us / 1e3, x_floor: s.floor_us > 0 ? s.time_us / s.floor_us : null}));
  const lo = Math.min(...points.map(p => p.intensity)) / 2;
  const hi = Math.max(...points.map(p => p.intensity)) * 2;
  const roof = points.length ? ceiling_lines(rows[0].device, lo, hi) : [];
  draw('roofline', {roof, roofline_steps: points}, steps_command(fastest[0]), (spec, width) => {
    fit_log(spec, 'x', points.concat(roof).map(p => p.intensity));
    fit_log(spec, 'y', points.concat(roof).map(p => p.gflops));
    spec.layer[1].encoding.color.legend.columns = Math.max(2, Math.floor(width / 150));
  });
}

function draw_load(workload, tokens, rows) {
  const load = data.loads.filter(l => l.workload === workload && l.tokens === tokens)
    .sort((a, b) => b.rows - a.rows).map((l, i) => ({...l, rank: i, rank_end: i + 1}));
  const experts = Math.max(...load.map(l => l.experts), 0);
  const mean = load.length ? [{rows: load.reduce((t, l) => t + l.rows, 0) / experts}] : [];
  const fastest = fastest_of(rows);
  draw('load', {load, mean}, fastest ? 'fselab db sql ' + shell_word(
    `SELECT load_histogram FROM attempt WHERE id = ${fastest.attempt}`) : 'fselab db ls');
}

// By the cost model where the report knows the device; else by the floor, what the layer's declared
// bytes and flops take at the measured rates.
function draw_prediction(rows) {
  const modelled = rows.some(r => r.predicted_us > 0);
  const points = rows.filter(r => (modelled ? r.predicted_us : r.floor_us) > 0).map(r => ({...r,
    expected_us: modelled ? r.predicted_us : r.floor_us,
    off_percent: modelled ? 100 * (r.predicted_us / r.layer_time_us - 1) : null}));
  const ends = points.flatMap(r => [r.expected_us, r.layer_time_us]
    .concat(modelled ? [r.predicted_low, r.predicted_high] : []));
  const line = points.length ? [Math.min(...ends), Math.max(...ends)].map(us =>
    ({expected_us: us, layer_time_us: us})) : [];
  const off = points.map(r => Math.abs(r.off_percent));
  cards.prediction.said.textContent = !points.length ? '' : modelled ?
    `Predicted by the cost model, with 90 % intervals: off by ${(off.reduce((a, b) => a + b) /
      off.length).toFixed(1)} % on average, by ${Math.max(...off).toFixed(1)} % at most.` :
    'No model of this device in configs/devices: the floor stands for the prediction.';
  draw('prediction', {predicted: points, line}, results_command(), spec => {
    for (const channel of ['x', 'y']) fit_log(spec, channel, ends);
  });
}

function draw_failures() {
  draw('failures', {failures: data.failures}, 'fselab db failures ' +
    shell_word('study=' + data.study.name), spec => {
    spec.height = 40 + 30 * unique(data.failures.map(f => f.status)).length;
  });
}
