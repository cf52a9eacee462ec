import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PowerHistory } from '../testing/simulator/power-history.ts';
import { SeededRandom } from '../testing/simulator/seeded-random.ts';
import { CutWorkload, mendAndRead } from './power-cut.fuzz.ts';
import { makeMedia, type RigOptions, rigArena } from './protect-rig.fuzz.ts';

const BLOCK = 512;
const BLOCKS = 1300;

for (const [name, guard] of [
  ['16-byte tuples', 'crc64'],
  ['8-byte tuples', 'crc16'],
] as const) {
  test(`a cut at every write: many stretches, a small log, a small cache, ${name}`, async () => {
    const format = { intervalBytes: BLOCK, guard, stretchPages: 1, logBytes: 16384 } as const;
    const rig: RigOptions = { depth: 2, cachePages: 1 };
    const media = await makeMedia({ dataBytes: BLOCKS * BLOCK, format });
    const options = { seed: 21, media, blockBytes: BLOCK, steps: 60, blocksMax: 30, rig };
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
    // Only open stretches are looked at, so not all blocks each time.
    const cuts = work.history.writes;
    assert(cuts > 90 && blocksChecked > 0 && blocksChecked < 0.9 * cuts * BLOCKS);
    rigArena.assertNothingOutstanding();
  });
}

test('more open stretches than pages in memory: mended in parts', async () => {
  const format = { intervalBytes: BLOCK, stretchPages: 1, logBytes: 65536 } as const;
  const rig: RigOptions = { depth: 1, cachePages: 1, format };
  const media = await makeMedia({ dataBytes: 3000 * BLOCK, format });
  const options = { seed: 5, media, blockBytes: BLOCK, steps: 60, blocksMax: 20, rig };
  const work = new CutWorkload(options);
  await work.run();
  const random = new SeededRandom(3);
  const last = work.history.writeTimes.slice(-60, -10);
  for (let i = 0; i < 10; i++) {
    const at = random.pick(last);
    const left = work.mediaAt(at, random, BLOCK);
    const copy = { data: left.data.slice(), store: left.store.slice() };
    const history = new PowerHistory();
    work.judge((await mendAndRead(left, { ...rig, history }, at)).bytes, at, BLOCK);
    for (let cut = 0; cut < 4; cut++) {
      const second = random.pick(history.writeTimes);
      const how = { random, sectorBytes: BLOCK };
      const media2 = { data: copy.data.slice(), store: history.cut(1, second, how) };
      const { bytes, recovery } = await mendAndRead(media2, rig, at);
      work.judge(bytes, at, BLOCK);
      work.judgeTaken(recovery, at);
    }
  }
  rigArena.assertNothingOutstanding();
});
