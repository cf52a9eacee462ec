import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkLinuxMap, MAP_PATH, NAMES_PATH } from './linux-map.ts';
import { Tree } from './tree.ts';

const CODE =
  'export class Mapping {\n  finish() {}\n}\nexport function getUserSg() {}\nlet hidden;';

function faults(names: string, ...rows: string[]): string[] {
  const head = '| Linux name | Ours | Test | Note |\n|---|---|---|---|\n';
  const tree = new Tree({
    [NAMES_PATH]: `# a group\n${names}\n`,
    [MAP_PATH]: head + rows.join('\n'),
    'src/map/mapping.ts': CODE,
    'src/map/mapping.test.ts': '',
  });
  return checkLinuxMap(tree).map(({ path, line, sentence }) => `${path}:${line}: ${sentence}`);
}

function row(symbol: string, test = '`src/map/mapping.test.ts`'): string {
  return `| bio_x / bio_y | ${symbol} | ${test} | |`;
}

test('a symbol that is exported, or a reason, passes', () => {
  const good = [
    row('`getUserSg` in `src/map/mapping.ts`'),
    row('`getUserSg`, `Mapping.finish` in `src/map/mapping.ts`'),
    row('`Mapping` in `src/map/mapping.ts`; `getUserSg()` in `src/map/mapping.ts`'),
    row('absent because a device needs no page lock here', ''),
  ];
  for (const text of good) assert.deepEqual(faults('bio_x / bio_y', text), [], text);
});

test('a missing, double or unknown row fails', () => {
  assert.deepEqual(faults('bio_x / bio_y'), [
    "docs/linux-names.txt:2: 'bio_x / bio_y' has no row in docs/linux-map.md",
  ]);
  const absent = row('absent because of a reason');
  const twice = [
    "docs/linux-map.md:4: 'bio_x / bio_y' stands twice or not at all in docs/linux-names.txt",
  ];
  assert.deepEqual(faults('bio_x / bio_y', absent, absent), twice);
  assert.equal(faults('bio_z', absent).length, 2);
});

test('a row must lead to what exists', () => {
  const at = 'docs/linux-map.md:3: ';
  const cases: [string, string][] = [
    [row('`gone` in `src/map/mapping.ts`'), 'src/map/mapping.ts does not export gone'],
    [row('`hidden` in `src/map/mapping.ts`'), 'src/map/mapping.ts does not export hidden'],
    [row('`Mapping.go` in `src/map/mapping.ts`'), 'src/map/mapping.ts does not export Mapping.go'],
    [row('`Mapping` in `src/map/gone.ts`'), 'the file src/map/gone.ts does not exist'],
    [row('`Mapping` in `src/map/mapping.ts`', ''), "'bio_x / bio_y' names no test file"],
    [row('`Mapping` in `src/map/mapping.ts`', '`a.test.ts`'), 'the test a.test.ts does not exist'],
    [
      row('absent because  ', ''),
      "'bio_x / bio_y' has neither `symbol` in `file` nor 'absent because …'",
    ],
    [row('absent because no', ''), "'bio_x / bio_y' is absent without a reason"],
    [row(''), "'bio_x / bio_y' has neither `symbol` in `file` nor 'absent because …'"],
  ];
  for (const [text, sentence] of cases) {
    assert.deepEqual(faults('bio_x / bio_y', text), [at + sentence], text);
  }
});

test('both files must exist', () => {
  assert.equal(checkLinuxMap(new Tree({})).length, 1);
  assert.equal(checkLinuxMap(new Tree({ [NAMES_PATH]: 'a' })).length, 1);
});
