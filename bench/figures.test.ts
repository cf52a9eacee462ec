import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseBenchArguments } from './arguments.ts';
import { ratioChart } from './chart.ts';
import { intoMarks, markdownTables, noiseText, numberText, rowText } from './figures.ts';
import { partsOf } from './profile-parts.ts';
import { cpuVerdictOf, type Row, verdictOf } from './row.ts';

function summary(median: number, spread = 0.1): Row['ours'] {
  return { median, min: median * 0.9, max: median * 1.1, spread, rounds: 3 };
}

const ROW: Row = {
  name: 'cached|read',
  unit: 'I/O/s',
  ours: summary(123456),
  peer: { name: 'fio', figure: summary(100000) },
  ratio: summary(1.234),
  target: 1.1,
  cpu: { ours: 2.4, peer: 2, unit: 'µs per I/O', target: 1.15 },
  rssMib: { ours: 100, peer: 30 },
  noise: summary(10, 0.04),
};

test('The ratio is held against the target, where there is one, else the figure', () => {
  assert.equal(verdictOf(ROW), 'meets');
  assert.equal(verdictOf({ ...ROW, target: 1.3 }), 'short');
  const alone: Row = { name: 'growth', unit: 'exponent', ours: summary(1.05), lessIsBetter: true };
  assert.equal(verdictOf(alone), 'none');
  assert.equal(verdictOf({ ...alone, target: 1.1 }), 'meets');
  assert.equal(verdictOf({ ...alone, target: 1 }), 'short');
  const { peer: _peer, ratio: _ratio, ...without } = ROW;
  const missing = { ...without, notes: { peer: 'none: no fio here' } };
  assert.equal(verdictOf(missing), 'none', 'a target of a ratio without a peer');
});

test('CPU above 1.15 of the peer is over', () => {
  assert.equal(cpuVerdictOf(ROW), 'short', '2.4 / 2 = 1.2');
  assert.equal(
    cpuVerdictOf({ ...ROW, cpu: { ours: 2.3, peer: 2, unit: 'µs per I/O', target: 1.15 } }),
    'meets',
  );
  assert.equal(cpuVerdictOf({ ...ROW, cpu: { ours: 2, unit: 'µs per I/O', target: 1 } }), 'none');
});

test('The terminal and the table say the same, and a bar in a name stays in its cell', () => {
  assert.deepEqual([0.5, 12.345, 123.4, 9999.5].map(numberText), [
    '0.50',
    '12.35',
    '123',
    '10,000',
  ]);
  const text = rowText(ROW);
  for (const part of ['123,456 ±5 %', 'fio 100,000', 'ratio 1.23', 'meets 1.10', '2.40 : 2.00']) {
    assert.ok(text.includes(part), part);
  }
  assert.match(text, /OVER 1.15.*RSS 100 : 30 MiB.*machine ±2 %/);
  const [heading, , line] = markdownTables([ROW]).split('\n');
  const cells = (row = ''): number => row.replaceAll('\\|', '').split('|').length;
  assert.equal(cells(line), cells(heading));
  assert.equal(
    line,
    '| `cached\\|read` | 123,456 ±5 % I/O/s | fio 100,000 ±5 % | 1.23 ±5 % | 1.10: met | ' +
      '2.40 : 2.00 µs per I/O = 1.20, at most 1.15: **short** | 100 : 30 |',
  );
});

test('Parts are a table of their own, a column each, the largest sum first', () => {
  const base = { unit: 'µs', ours: summary(3) };
  const rows: Row[] = [
    { ...base, name: 'a', parts: { 'map/': 1, kernel: 2 } },
    { ...base, name: 'b', parts: { kernel: 2.5, 'bio/': 0.25 } },
  ];
  assert.deepEqual(markdownTables(rows).split('\n'), [
    '| Row | All | kernel | map/ | bio/ |',
    '|---|---|---|---|---|',
    '| `a` | 3.00 µs | 2.00 | 1.00 |  |',
    '| `b` | 3.00 µs | 2.50 |  | 0.25 |',
  ]);
  assert.equal(markdownTables([...rows, ROW]).split('\n\n').length, 2);
});

test('Rows of the same conditions are a table with a column for each', () => {
  const base = { unit: 'ns', ours: summary(3) };
  const rows: Row[] = [
    { ...base, name: 'a', cells: { one: 1, 'two|': '2,000' } },
    { ...base, name: 'b', unit: 'steps', ours: summary(4, 0), cells: { other: 7 } },
    { ...base, name: 'c', cells: { one: 3, 'two|': '4' } },
  ];
  assert.deepEqual(markdownTables(rows).split('\n'), [
    '| Row | ns | one | two\\| |',
    '|---|---|---|---|',
    '| `a` | 3.00 ±5 % | 1 | 2,000 |',
    '| `c` | 3.00 ±5 % | 3 | 4 |',
    '',
    '| Row | steps | other |',
    '|---|---|---|',
    '| `b` | 4.00 | 7 |',
  ]);
  assert.match(rowText(rows[0] as Row), /one: 1, two\|: 2,000/);
});

test('A profile is told by folder, and what is no code of ours by what it is', () => {
  const at = (url: string, functionName = 'f') => ({ url, functionName });
  const nodes = [
    at('', 'memmove'),
    at('', '(idle)'),
    at('', '(garbage collector)'),
    at('file:///x/src/engine/uring/ring.ts'),
    at('file:///x/src/engine/file/slot.ts'),
    at('node:internal/process/promises'),
    at('file:///x/bench/rows/where.ts'),
    at('file:///x/src/nowhere/x.ts'),
  ].map((callFrame, id) => ({ id, callFrame }));
  const samples = [0, 3, 4, 1, 2, 5, 6, 7, 99];
  const timeDeltas = [10, 1, 2, 9, 4, 5, 6, 7, 0.5];
  assert.deepEqual(
    [...partsOf({ nodes, samples, timeDeltas })],
    [
      ['Node', 12],
      ['kernel, C', 10],
      ['asleep', 9],
      ['the program', 6],
      ['collector', 4],
      ['engine/', 3],
      ['else', 0.5],
    ],
  );
});

test('Tables go between the marks, again and again, and nowhere else', () => {
  const begin = '<!-- bench: figures of `npm run bench -- --into`, not written by hand -->\n';
  const page = `# Title\n${begin}\nold\n<!-- bench: end -->\nrest\n`;
  const once = intoMarks(page, 'new\n');
  assert.equal(once, `# Title\n${begin}\nnew\n\n<!-- bench: end -->\nrest\n`);
  assert.equal(intoMarks(once, 'new\n'), once);
  for (const bad of ['', begin, '<!-- bench: end -->\n', page + page]) {
    assert.throws(() => intoMarks(bad, 'new\n'), /these lines once/);
  }
});

test('A noisy machine is told of', () => {
  assert.doesNotMatch(noiseText([ROW]), /NOT QUIET/);
  assert.match(noiseText([ROW, { ...ROW, noise: summary(10, 0.6) }]), /±30 %.*NOT QUIET/);
  assert.match(noiseText([{ ...ROW, noise: undefined } as unknown as Row]), /not measured/);
});

test('The chart has a bar for each ratio and each target, none for rows without', () => {
  const svg = ratioChart([ROW, { name: 'alone', unit: 'x', ours: summary(1) }], 'Title');
  assert.equal(svg.match(/<rect x=/g)?.length, 2);
  assert.ok(svg.includes('cached|read : fio') && !svg.includes('alone'));
});

test('Arguments: unknown rows, flags that exclude each other, the rest', () => {
  const known = ['io', 'copy'];
  const parse = (...argv: string[]) => parseBenchArguments(argv, known);
  assert.match(String(parse('ring')), /no rows ring; there are io, copy/);
  assert.match(String(parse('--fast')), /--fast/);
  assert.match(String(parse('--plot')), /plot/);
  assert.match(String(parse('--json', '--markdown')), /two ways/);
  assert.match(String(parse('--record', '--last')), /nothing to record/);
  assert.deepEqual(parse('io', '--quick', '--plot', 'x.svg'), {
    wanted: ['io'],
    quick: true,
    json: false,
    markdown: false,
    record: false,
    last: false,
    plot: 'x.svg',
    into: null,
  });
});
