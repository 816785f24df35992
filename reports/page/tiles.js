// Charts of one step's search: the landscape of its tiles, every tile as a line, its convergence.
const axes_of = tile =>
  Object.fromEntries(tile.split(' ').filter(Boolean).map(a => a.split('=')));

// The values each axis took among these tiles, the widest axis first; axes with one value say
// nothing.
function axis_values(tried) {
  const values = new Map();
  for (const t of tried)
    for (const [axis, value] of Object.entries(axes_of(t.tile))) {
      if (!values.has(axis)) values.set(axis, new Set());
      values.get(axis).add(Number(value));
    }
  return [...values].map(([axis, set]) => [axis, [...set].sort((a, b) => a - b)])
    .filter(([, set]) => set.length > 1).sort((a, b) => b[1].length - a[1].length);
}

function landscape(same, winner, x, y) {
  const cells = new Map();
  for (const t of same) {
    const axes = axes_of(t.tile), key = axes[x] + ' ' + axes[y];
    const cell = cells.get(key) || {x: Number(axes[x]), y: Number(axes[y]), time_us: null,
      tried: 0, failed: 0, why: null};
    ++cell.tried;
    if (t.status !== 'measured') {
      ++cell.failed;
      cell.why = t.status;
    } else if (cell.time_us === null || t.time_us < cell.time_us)
      Object.assign(cell, {time_us: t.time_us, tile: t.tile, attempt: t.attempt});
    cells.set(key, cell);
  }
  const all = [...cells.values()], at = axes_of(winner.tile);
  return {tile_cells: all.filter(c => c.time_us !== null),
    tile_failed: all.filter(c => c.time_us === null),
    tile_winner: [{...winner, x: Number(at[x]), y: Number(at[y])}]};
}

// Each tile crosses every axis at the height of its value. Of very many the fastest are drawn.
function parallel_lines(same, winner, axes) {
  const kMeasured = 120, kFailed = 40;
  const ok = same.filter(t => t.time_us > 0 && t !== winner)
    .sort((a, b) => a.time_us - b.time_us).slice(0, kMeasured);
  const failed = same.filter(t => t.status !== 'measured').slice(0, kFailed);
  const points = t => axes.map(([axis, values]) => {
    const value = Number(axes_of(t.tile)[axis]);
    return {...t, axis, value, height: values.indexOf(value) / (values.length - 1)};
  });
  const labels = axes.flatMap(([axis, values]) => values.map((value, i) =>
    ({axis, value: String(value), height: i / (values.length - 1)})));
  return {lines: ok.reverse().flatMap(points), failed_lines: failed.flatMap(points),
    winner_line: points(winner), labels};
}

function draw_tiles(step_key) {
  const tried = data.tiles.filter(t => t.step_key === step_key);
  const ok = tried.filter(t => t.status === 'measured' && t.time_us > 0);
  const command = 'fselab db sql ' + shell_word('SELECT id, kernel, tile, status, median_us FROM ' +
    `attempt WHERE step_key = '${step_key.replaceAll("'", "''")}' ORDER BY id`);
  let best = Infinity;
  const all = tried.map((t, i) => ({...t, trial: i + 1}));
  const trials = all.filter(t => t.status === 'measured' && t.time_us > 0)
    .map(t => ({...t, best_us: best = Math.min(best, t.time_us)}));
  const top = Math.max(0, ...ok.map(t => t.time_us));
  const failed_trials = all.filter(t => t.status !== 'measured')
    .map(t => ({...t, time_us: top * 1.05}));
  draw('convergence', {trials, failed_trials}, command,
    spec => fit_log(spec, 'y', ok.map(t => t.time_us).concat(top * 1.05)));
  const winner = ok.find(t => t.time_us === best);
  const same = winner ? tried.filter(t => t.kernel === winner.kernel) : [];
  const axes = axis_values(same);
  if (axes.length === 0) {
    draw('tiles', {}, command);
    return draw('parallel', {}, command);
  }
  const [x, y] = [axes[0][0], (axes[1] || axes[0])[0]];
  draw('tiles', landscape(same, winner, x, y), command, spec => {
    spec.layer[0].encoding.x.title = x;
    spec.layer[0].encoding.y.title = y;
  });
  draw('parallel', parallel_lines(same, winner, axes), command, spec => {
    for (const layer of spec.layer) layer.encoding.x.sort = axes.map(([axis]) => axis);
  });
}
