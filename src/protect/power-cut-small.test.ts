import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SeededRandom } from '../testing/simulator/seeded-random.ts';
import { CutWorkload, mendAndRead } from './power-cut.fuzz.ts';
import { makeMedia, type RigOptions, rigArena } from './protect-rig.fuzz.ts';

const BLOCK = 512;
const BLOCKS = 1300;

for (const [name, guard] of [
  ['16-byte tuples', 'crc64'],
  ['8-byte tuples', 'crc16'],
] as const) {
  test(`a cut at every write: many regions, a small log, a small cache, ${name}`, async () => {
    const format = { intervalBytes: BLOCK, guard, regionPages: 1, logBytes: 16384 } as const;
    const rig: RigOptions = { depth: 2, cachePages: 1 };
    const media = await makeMedia({ dataBytes: BLOCKS * BLOCK, format });
    const options = { seed: 21, media, blockBytes: BLOCK, steps: 100, blocksMax: 30, rig };
    const work = new CutWorkload(options);
    await work.run();
    const random = new SeededRandom(3);
    let blocksChecked = 0;
    for (const at of work.history.writeTimes) {
      const left = work.mediaAt(at, random, BLOCK);
      const { bytes, recovery } = await mendAndRead(left, rig, at);
      work.judge(bytes, at, BLOCK);
      work.judgeTaken(recovery, at);
      blocksChecked += recovery?.blocksChecked ?? 0;
    }
    // Only open regions are looked at, so not all blocks each time.
    const cuts = work.history.writes;
    assert(cuts > 150 && blocksChecked > 0 && blocksChecked < 0.9 * cuts * BLOCKS);
    rigArena.assertNothingOutstanding();
  });
}
