import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RUNS } from '../base/runs.fuzz.ts';
import { PowerHistory } from '../testing/simulator/power-history.ts';
import { SeededRandom } from '../testing/simulator/seeded-random.ts';
import { CutWorkload, mendAndRead } from './power-cut.fuzz.ts';
import { makeMedia, openRig, type RigOptions, rigArena } from './protect-rig.fuzz.ts';

// Every write to either medium is a moment at which the power goes. `npm run test:nightly` takes
// several outcomes of each.

const BLOCK = 4096;
const OUTCOMES = Math.max(1, Math.round(RUNS.numRuns / 1000));

async function workload(seed: number, steps: number, rig: RigOptions): Promise<CutWorkload> {
  const format = { ...rig.format };
  const media = await makeMedia({ dataBytes: 64 * BLOCK, format });
  const work = new CutWorkload({ seed, media, blockBytes: BLOCK, steps, rig });
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
    const work = await workload(7, 130, options);
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

test('a cut during the recovery from a cut changes nothing', async () => {
  const options: RigOptions = { depth: 4, format: { logBytes: 16384 } };
  const work = await workload(11, 60, options);
  const random = new SeededRandom(5);
  let cuts = 0;
  for (const at of work.history.writeTimes) {
    if (!random.chance(0.3 * OUTCOMES)) continue;
    const first = work.mediaAt(at, random, 512);
    const history = new PowerHistory();
    await mendAndRead(first, { ...options, history }, at);
    for (const second of history.writeTimes) {
      const cut = { random, sectorBytes: 512 };
      const left = { data: history.cut(0, second, cut), store: history.cut(1, second, cut) };
      work.judge((await mendAndRead(left, options, at)).bytes, at, 512);
      cuts++;
    }
  }
  assert(cuts > 100);
  rigArena.assertNothingOutstanding();
});

test('a killed process: only what was in flight is taken as it is', async () => {
  const work = await workload(13, 100, { depth: 4 });
  const random = new SeededRandom(6);
  for (const at of work.history.writeTimes) {
    const left = work.mediaAfterKill(at, random);
    const { bytes, recovery } = await mendAndRead(left, {}, at);
    work.judge(bytes, at, BLOCK);
    const inFlight = work.blocksInFlight(at);
    const taken = [...(recovery?.torn ?? []), ...(recovery?.unlogged ?? [])];
    for (const block of taken) assert(inFlight.has(block), `block ${block} was not in flight`);
  }
  rigArena.assertNothingOutstanding();
});

test('a killed process with records before data: every block fits one', async () => {
  const work = await workload(17, 100, { depth: 4, ordered: true });
  const random = new SeededRandom(8);
  for (const at of work.history.writeTimes) {
    const left = work.mediaAfterKill(at, random);
    const { bytes, recovery } = await mendAndRead(left, { ordered: true }, at);
    work.judge(bytes, at, BLOCK);
    assert.equal((recovery?.tornCount ?? 0) + (recovery?.unloggedCount ?? 0), 0);
    assert.equal(recovery?.badCount ?? 0, 0);
  }
  rigArena.assertNothingOutstanding();
});

test('closed without a flush: whole in the same run of the host, as it was before in the next', async () => {
  const boot = new Uint8Array(16).fill(9);
  const media = await makeMedia();
  const rig = await openRig(media, { boot, flushesAtClose: false });
  const bytes = new Uint8Array(8 * BLOCK).fill(0x5a);
  await rig.disk.write(bytes, { position: 0 });
  await rig.disk.close();
  const same = await openRig(media, { boot });
  assert.equal(same.engine.recovery, null);
  const { buffer } = await same.disk.read(new Uint8Array(8 * BLOCK), { position: 0 });
  assert.deepEqual(buffer, bytes);
  await same.disk.close();
  const next = await openRig(media, { boot: new Uint8Array(16).fill(1) });
  assert.notEqual(next.engine.recovery, null);
  const again = await next.disk.read(new Uint8Array(8 * BLOCK), { position: 0 });
  assert.deepEqual(again.buffer, bytes);
  await next.disk.close();
  rigArena.assertNothingOutstanding();
});
