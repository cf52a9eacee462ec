import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runSeed } from '../run-world.ts';
import { Tally } from '../tally.ts';
import { TupleWorld } from './tuple-world.ts';

const STEPS = 500;

test('worlds with tuples run, and every kind of thing happens in them', async () => {
  const tally = new Tally();
  for (let seed = 1; seed <= 40; seed++) {
    const report = await runSeed({ kind: 'tuples', seed, steps: STEPS });
    const again = `npm run sim -- --world tuples --seed ${seed} --steps ${STEPS}`;
    assert.equal(report.failure, null, `${again}: ${report.failure?.stack}`);
    tally.merge(report.tally);
  }
  for (const [what, least] of [
    ['tuples: bio, automatic', 100],
    ['tuples: transfer, automatic', 100],
    ['tuples: transfer, own metadata', 100],
    ['tuples: stacked, own metadata', 60],
    ['tuples: clones sent again', 10],
    ['tuples: mismatches that were found', 50],
    ['tuples: stored records compared', 2000],
    ['tuples: raced, copied', 20],
    ['fault: lost or misdirected', 20],
    ['process: gone, with memory in flight', 20],
  ] as const) {
    assert.ok(tally.of(what) >= least, `${what}: ${tally.of(what)} of ${least}`);
  }
});

test('a seed replays its run, and its steps alone replay it too', async () => {
  const once = await runSeed({ kind: 'tuples', seed: 17, steps: 300 });
  assert.deepEqual(await runSeed({ kind: 'tuples', seed: 17, steps: 300 }), once);
});

for (const what of ['data', 'record'] as const) {
  test(`damage that nobody told the model of is found: ${what}`, async () => {
    let found = 0;
    for (let seed = 1; seed <= 10; seed++) {
      const world = new TupleWorld({ seed, settings: {} });
      try {
        for (let i = 0; i < 100; i++) world.step(i);
        const { medium, records } = world.engine;
        const disk = what === 'data' ? medium : records?.medium;
        assert.ok(disk !== undefined);
        const [byte = 0] = disk.peek(100, 1);
        disk.poke(100, Uint8Array.of(byte ^ 4));
        for (let i = 100; i < 200; i++) world.step(i);
        world.finish();
      } catch (error) {
        assert.match(String(error), /sim: /);
        found++;
      }
      world.abandon();
    }
    // A write over it makes it good again.
    assert.ok(found >= 7, `found in ${found} of 10 worlds`);
  });
}
