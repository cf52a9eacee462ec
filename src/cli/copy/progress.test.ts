import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MIB } from '../../base/units.ts';
import { barLine, formatTime, Progress, type ProgressState } from './progress.ts';

const HALF: ProgressState = {
  phase: 'copy',
  bytes: 32 * MIB,
  total: 64 * MIB,
  seconds: 2,
  rate: 16 * MIB,
  etaSeconds: 2,
};

test('a bar fits its terminal and says rate and time left', () => {
  const bar = `${'█'.repeat(15)}${'░'.repeat(15)}`;
  assert.equal(barLine(HALF, 80), `copy  50 % ${bar} 32 MiB of 64 MiB  16 MiB/s  0:02 left`);
  for (const columns of [20, 50, 80, 200]) {
    const line = barLine(HALF, columns);
    assert.ok(line.length <= Math.max(columns, 60), `${line.length} of ${columns}`);
  }
  assert.equal(barLine({ ...HALF, total: null }, 80), 'copy  32 MiB  16 MiB/s');
});

test('times are hours, minutes and seconds', () => {
  assert.deepEqual([0.2, 75, 4000].map(formatTime), ['0:01', '1:15', '1:06:40']);
});

test('no terminal, no bar', () => {
  const said: string[] = [];
  {
    using progress = new Progress('auto', { write: (text) => said.push(text) });
    progress.start('copy', 100);
    progress.advance(100);
  }
  assert.deepEqual(said, []);
});
