import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runProtectSeed } from './protect-seed.ts';

test('power cuts of a few seeds leave nothing bad, and a seed repeats', async () => {
  let mended = 0;
  for (const seed of [20, 84, 148]) {
    const report = await runProtectSeed(seed, 500);
    assert.equal(report.failure, null, `seed ${seed}: ${report.failure?.stack}`);
    assert.equal(report.tally['protect: power cuts'], 2);
    mended += report.tally['protect: blocks mended'] ?? 0;
    if (seed === 20) assert.deepEqual(await runProtectSeed(seed, 500), report);
  }
  assert.ok(mended > 0, 'nothing was in flight at any cut');
});
