'use strict';
// What the other parts of the page share. Every text of the report goes through textContent: a name
// never becomes markup.
const data = JSON.parse(document.getElementById('data').textContent);
const specs = JSON.parse(document.getElementById('specs').textContent);
const by_id = id => document.getElementById(id);

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
// Four digits, zeros at the end too: numbers of one column are read against each other.
const four_digits = v => Math.abs(v) >= 1e4 ? Math.round(v).toString() :
  Math.abs(v) < 1e-3 ? short_number(v) : v.toPrecision(4);
const percent = v => v === null ? '–' : (v > 0 ? '+' : '') + v.toFixed(1);
const signed = v => v === null ? '–' : (v > 0 ? '+' : '') + short_number(v);

// What all workloads share is said once; a table's cell holds what tells them apart.
const workload_words = unique(data.results.map(r => r.workload)).map(w => w.split(' '));
const shared_words = workload_words.length < 2 ? [] :
  workload_words[0].slice(1).filter(w => workload_words.every(words => words.includes(w)));
const short_workload = text => text.split(' ').filter(w => !shared_words.includes(w)).join(' ');

// One word of a shell's command line, whatever it holds.
const shell_word = text =>
  /^[\w@%+=:,./-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\''") + "'";

// A command with the database it asks, and a button that copies it.
function command_line(command) {
  const text = `${command} --db ${shell_word(data.db)}`;
  const copy = make('button', {type: 'button'}, 'Copy');
  copy.addEventListener('click', () => {
    const box = make('textarea', {readonly: ''});
    box.value = text;
    copy.after(box);
    box.select();
    document.execCommand('copy');  // navigator.clipboard does not exist for files
    box.remove();
    copy.textContent = 'Copied';
  });
  return make('div', {class: 'command'}, make('code', {}, text), copy);
}
const results_command = () =>
  `fselab report --study ${shell_word(data.study.name)} --format csv`;
