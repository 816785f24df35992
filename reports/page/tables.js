// Tables: sorted by a click on a title, filtered by words that must all occur.

// How a number comes about again: what a click on an attempt's number shows.
function show_commands(attempt) {
  const dialog = by_id('commands');
  const lines = [
    ['The whole row', `fselab db show ${attempt}`],
    ['Its steps, where it is a layer', `fselab db steps ${attempt}`],
    ['Measured again, beside what was measured then', `fselab db rerun ${attempt}`],
  ].flatMap(([what, command]) => [make('p', {class: 'note'}, what), command_line(command)]);
  const close = make('button', {type: 'button'}, 'Close');
  close.addEventListener('click', () => dialog.close());
  dialog.replaceChildren(make('h2', {}, `Attempt ${attempt}`), ...lines, close);
  dialog.showModal();
}

const is_attempt = column => column === 'attempt' || column === 'other_attempt';

function cell_text(column, value) {
  if (value === null) return '–';
  if (typeof value !== 'number') return value;
  if (/percent|^change_(lo|hi)$/.test(column)) return percent(value);
  if (column === 'change_us') return (value > 0 ? '+' : '') + four_digits(value);
  if (/_us$|^x_floor$/.test(column)) return four_digits(value);
  return is_attempt(column) || Number.isInteger(value) ? String(value) : short_number(value);
}

// A name may be broken behind its slashes and underscores where the room is small.
function append_breakable(node, text) {
  for (const piece of text.split(/(?<=[/_])/)) node.append(piece, make('wbr'));
}

function table_cell(column, value, numeric) {
  const text = column === 'workload' ? short_workload(value) : cell_text(column, value);
  const cell = make('td', {class: (numeric ? 'number ' : 'text ') + column});
  if (is_attempt(column) && value !== null) {
    const button = make('button',
      {type: 'button', class: 'link', title: 'How to get it again'}, text);
    button.addEventListener('click', () => show_commands(value));
    cell.append(button);
    return cell;
  }
  append_breakable(cell, text);
  if (!numeric) cell.title = value === null ? '' : value;
  if (column === 'verdict' || column === 'state')
    cell.classList.add(text.replace(/\W/g, '') || 'none');
  return cell;
}

// "tokens>4" compares a column; any other word must occur somewhere in the row.
function keeps(row, columns, words) {
  return words.every(word => {
    const m = word.match(/^([a-z_0-9]+)(>=|<=|=|>|<)(.+)$/);
    if (m && m[1] in row) {
      const a = row[m[1]], b = typeof a === 'number' ? Number(m[3]) : m[3];
      if (a === null) return false;
      return {'>=': a >= b, '<=': a <= b, '>': a > b, '<': a < b, '=': a === b}[m[2]];
    }
    return columns.some(c => String(row[c]).toLowerCase().includes(word.toLowerCase()));
  });
}

function sort_rows(rows, column, numeric, direction) {
  rows.sort((a, b) => {
    const [x, y] = [a[column], b[column]];
    if (x === null || y === null) return (x === null) - (y === null);
    return direction * (numeric ? x - y : String(x).localeCompare(String(y)));
  });
}

function add_table(id, title, note, rows, columns) {
  const box = make('section', {class: 'table', id: id, 'aria-label': title},
    make('h2', {}, title), make('p', {class: 'note'}, note));
  by_id('tables').append(box);
  by_id('nav').append(make('a', {href: '#' + id}, title));
  if (rows.length === 0) return box.append(make('p', {class: 'empty'}, 'None.'));
  // A column that says the same everywhere is said once, above.
  const wanted = columns || Object.keys(rows[0]);
  const same = wanted.filter(c => c === 'workload' && rows.length > 1 &&
    rows.every(r => r[c] === rows[0][c]));
  for (const c of same) box.append(make('p', {class: 'note'}, `${c}: ${rows[0][c]}`));
  if (wanted.includes('workload') && same.length === 0 && shared_words.length)
    box.append(make('p', {class: 'note'}, 'All workloads: ' + shared_words.join(' ')));
  const shown = wanted.filter(c => !same.includes(c));
  const numeric = Object.fromEntries(wanted.map(c =>
    [c, rows.every(r => r[c] === null || typeof r[c] === 'number')]));
  const search = make('input', {type: 'search', placeholder: 'Filter: words, tokens>4',
    'aria-label': 'Filter ' + title});
  const count = make('span', {class: 'count', 'aria-live': 'polite'});
  const head = make('tr'), body = make('tbody');
  let sorted_by = null, direction = 1;
  const kLimit = 500;

  function fill() {
    const words = search.value.split(/\s+/).filter(Boolean);
    const kept = rows.filter(r => keeps(r, wanted, words));
    if (sorted_by) sort_rows(kept, sorted_by, numeric[sorted_by], direction);
    body.replaceChildren(...kept.slice(0, kLimit).map(row => make('tr', {},
      ...shown.map(c => table_cell(c, row[c], numeric[c])))));
    count.textContent = `${kept.length} of ${rows.length} rows` +
      (kept.length > kLimit ? `, the first ${kLimit} shown` : '');
  }
  for (const column of shown) {
    const button = make('button', {type: 'button'}), name = make('span');
    append_breakable(name, column);
    button.append(name, make('span', {class: 'mark'}));
    const cell = make('th', {scope: 'col', class: numeric[column] ? 'number' : ''}, button);
    button.addEventListener('click', () => {
      direction = sorted_by === column ? -direction : 1;
      sorted_by = column;
      for (const other of head.children) {
        other.removeAttribute('aria-sort');
        other.querySelector('.mark').textContent = '';
      }
      cell.setAttribute('aria-sort', direction > 0 ? 'ascending' : 'descending');
      button.querySelector('.mark').textContent = direction > 0 ? ' ▲' : ' ▼';
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
