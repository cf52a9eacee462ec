import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { factsText, lastRun, recordRow, runFacts } from './record.ts';
import type { Row } from './row.ts';

const ours = { median: 1, min: 1, max: 1, spread: 0, rounds: 1 };

test('Rows of the newest run come back in order, older ones stay in the file', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'biovec-record-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'history.ndjson');
  assert.deepEqual(lastRun(path), [], 'no history yet');
  const facts = runFacts(true);
  const row = (name: string): Row => ({ name, unit: 'x', ours });
  recordRow({ ...facts, run: '2026-01-02T00:00:00.000Z' }, row('new'), path);
  recordRow({ ...facts, run: '2026-01-01T00:00:00.000Z' }, row('old'), path);
  recordRow({ ...facts, run: '2026-01-02T00:00:00.000Z' }, row('newer'), path);
  assert.deepEqual(
    lastRun(path).map((line) => line.row.name),
    ['new', 'newer'],
  );
  const lines = readFileSync(path, 'utf8').split('\n');
  assert.equal(lines.length, 4, 'three lines, each ended');
  for (const line of lines.slice(0, 3)) {
    const { machine, commit, isQuick, ...rest } = JSON.parse(line);
    assert.equal(isQuick, true);
    assert.ok(/^([0-9a-f]{12}|unknown)$/.test(commit), commit);
    assert.deepEqual(Object.keys(machine), ['cpu', 'cores', 'memoryGib', 'kernel', 'node']);
    assert.ok(rest.row.ours.median === 1 && typeof rest.loadBefore === 'number');
  }
});

test('The facts of a run are one sentence', () => {
  const machine = { cpu: 'X', cores: 2, memoryGib: 24, kernel: '6.18', node: 'v26.1.0' };
  const run = '2026-01-02T03:04:05.000Z';
  const facts = { run, commit: 'abc', isDirty: true, isQuick: false, loadBefore: 0.25, machine };
  assert.equal(
    factsText(facts),
    '2026-01-02, commit abc with changes: 2 cores (X), 24 GiB, Linux 6.18, Node 26.1.0, ' +
      'load 0.3 before it',
  );
});
