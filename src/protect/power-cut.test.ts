import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RUNS } from '../base/runs.fuzz.ts';
import { SeededRandom } from '../testing/simulator/seeded-random.ts';
import { CutWorkload, mendAndRead } from './power-cut.fuzz.ts';
import { makeMedia, type RigOptions, rigArena } from './protect-rig.fuzz.ts';

// Every write to either medium is a moment at which the power goes. `npm run test:nightly` takes
// several outcomes of each.

const BLOCK = 4096;
const OUTCOMES = Math.max(1, Math.round(RUNS.numRuns / 1000));

async function workload(
  seed: number,
  steps: number,
  rig: RigOptions,
  sessions = 1,
): Promise<CutWorkload> {
  const format = { ...rig.format };
  const media = await makeMedia({ dataBytes: 64 * BLOCK, format });
  const work = new CutWorkload({ seed, media, blockBytes: BLOCK, steps, rig, sessions });
  await work.run();
  return work;
}

for (const [name, rig, sectorBytes] of [
  ['blocks that a disk writes as a whole', {}, BLOCK],
  ['blocks that tear, and a small log', { format: { logBytes: 16384 } }, 512],
  ['records before their data', { ordered: true }, 512],
  ['no flush at the close', { flushesAtClose: false, boot: new Uint8Array(16).fill(7) }, BLOCK],
] as const) {
  test(`a cut at every write leaves old or new, and nothing bad: ${name}`, async () => {
    const options: RigOptions = { depth: 4, ...rig };
    const work = await workload(7, 33, options, 4);
    const random = new SeededRandom(3);
    let settled = 0;
    for (const at of [...work.history.writeTimes, work.history.now]) {
      for (let i = 0; i < OUTCOMES; i++) {
        const left = work.mediaAt(at, random, sectorBytes);
        const { bytes, recovery } = await mendAndRead(left, { ...options, boot: null }, at);
        work.judge(bytes, at, sectorBytes);
        work.judgeTaken(recovery, at);
        assert.equal(recovery?.badCount ?? 0, 0);
        settled += recovery?.settled ?? 0;
      }
    }
    assert(work.history.writes > 150 && settled > 150);
    rigArena.assertNothingOutstanding();
  });
}
