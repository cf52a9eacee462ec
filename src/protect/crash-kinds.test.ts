import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RUNS } from '../base/runs.fuzz.ts';
import { PowerHistory } from '../testing/simulator/power-history.ts';
import { SeededRandom } from '../testing/simulator/seeded-random.ts';
import { CutWorkload, mendAndRead } from './power-cut.fuzz.ts';
import { makeMedia, openRig, type RigOptions, rigArena } from './protect-rig.fuzz.ts';

// Crashes of other kinds: during a recovery, again and again, of the process alone, and after a
// close that did not wait for the medium.

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

test('a cut during the recovery from a cut changes nothing', async () => {
  const options: RigOptions = { depth: 4, format: { logBytes: 16384 } };
  const work = await workload(11, 60, options);
  const random = new SeededRandom(5);
  let cuts = 0;
  for (const at of work.history.writeTimes) {
    if (!random.chance(0.6 * OUTCOMES)) continue;
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

test('closed without a flush: whole in this run of the host, mended in the next', async () => {
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

test('cut, mended, used and cut again, many times: what was before is whole too', async () => {
  const options: RigOptions = { depth: 4, format: { logBytes: 16384 } };
  const random = new SeededRandom(31);
  for (let chain = 0; chain < 12 * OUTCOMES; chain++) {
    let media = await makeMedia({ dataBytes: 64 * BLOCK, format: { logBytes: 16384 } });
    for (let generation = 0; generation < 5; generation++) {
      const seed = 100 * chain + generation;
      const work = new CutWorkload({ seed, media, blockBytes: BLOCK, steps: 25, rig: options });
      await work.run();
      const at = random.pick(work.history.writeTimes);
      media = work.mediaAt(at, random, 512);
      const { bytes, recovery } = await mendAndRead(media, options, at);
      work.judge(bytes, at, 512);
      work.judgeTaken(recovery, at);
    }
  }
  rigArena.assertNothingOutstanding();
});

test('looked at read-only after a cut: right, and both media stay as they are', async () => {
  const options: RigOptions = { depth: 4, format: { logBytes: 16384 } };
  const work = await workload(23, 60, options);
  const random = new SeededRandom(5);
  let mended = 0;
  for (const at of work.history.writeTimes) {
    const left = work.mediaAt(at, random, BLOCK);
    const before = { data: left.data.slice(), store: left.store.slice() };
    const { disk, engine } = await openRig(left, { readOnly: true, seed: at });
    const { buffer } = await disk.read(new Uint8Array(left.data.length), { position: 0 });
    await disk.close();
    work.judge(buffer, at, BLOCK);
    if (engine.recovery !== null) mended++;
    assert.equal(Buffer.compare(left.data, before.data), 0);
    assert.equal(Buffer.compare(left.store, before.store), 0);
  }
  assert(mended > 50);
  rigArena.assertNothingOutstanding();
});
