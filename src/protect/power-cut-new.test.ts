import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import { RUNS } from '../base/runs.fuzz.ts';
import { BioOp } from '../bio/bio-op.ts';
import { PowerHistory } from '../testing/simulator/power-history.ts';
import { SeededRandom } from '../testing/simulator/seeded-random.ts';
import { CutWorkload, mendAndRead } from './power-cut.fuzz.ts';
import { blankMedia, type Media, openRig, type RigOptions, rigArena } from './protect-rig.fuzz.ts';

// A store that the opening itself makes, as `copy --protect` does: until something is flushed it
// may be lost as a whole; from then on it is judged as any other.

const BLOCK = 4096;
const OUTCOMES = Math.max(1, Math.round(RUNS.numRuns / 1000));
/** What a store says that is not there, or only in part. */
const LOST: ReadonlySet<string> = new Set(['EINVAL', 'EILSEQ']);

type Mended = Awaited<ReturnType<typeof mendAndRead>>;

async function mendOrRefuse(left: Media, rig: RigOptions, at: number): Promise<Mended | null> {
  try {
    return await mendAndRead(left, rig, at);
  } catch (error) {
    if (error instanceof BlockError && LOST.has(error.code)) return null;
    throw error;
  }
}

for (const [name, rig, sectorBytes] of [
  ['blocks that a disk writes as a whole', {}, BLOCK],
  ['blocks that tear, and a small log', { format: { logBytes: 16384 } }, 512],
  ['records before their data', { ordered: true }, 512],
  ['many stretches', { format: { stretchPages: 1, intervalBytes: 512 }, knowsHoles: true }, 512],
  ['no flush at the close', { flushesAtClose: false, boot: new Uint8Array(16).fill(7) }, BLOCK],
] as const) {
  test(`a cut at every write to a new store: ${name}`, async () => {
    const options: RigOptions = { depth: 4, makesStore: true, ...rig };
    const format = { ...options.format };
    const blockBytes = format.intervalBytes ?? BLOCK;
    const media = blankMedia({ dataBytes: 64 * BLOCK, format });
    const work = new CutWorkload({
      seed: 12,
      media,
      blockBytes,
      steps: 25,
      rig: options,
      sessions: 2,
    });
    await work.run();
    const random = new SeededRandom(3);
    let lost = 0;
    let mended = 0;
    for (const at of [0, ...work.history.writeTimes, work.history.now]) {
      for (let i = 0; i < OUTCOMES; i++) {
        const left = work.mediaAt(at, random, sectorBytes);
        const after = { ...options, boot: null, makesStore: false };
        const result = await mendOrRefuse(left, after, at);
        if (result === null) {
          assert(!work.hasKept(at), 'what was flushed is lost with its store');
          lost++;
          continue;
        }
        work.judge(result.bytes, at, sectorBytes);
        work.judgeTaken(result.recovery, at);
        assert.equal(result.recovery?.badCount ?? 0, 0);
        if (result.recovery !== null) mended++;
      }
    }
    assert(lost > 0 && mended > 40, `${lost} lost, ${mended} mended`);
    rigArena.assertNothingOutstanding();
  });
}

test('a killed process leaves a new store that names what was in flight, and no more', async () => {
  const options: RigOptions = { depth: 4, makesStore: true };
  const media = blankMedia({ dataBytes: 64 * BLOCK });
  const work = new CutWorkload({ seed: 13, media, blockBytes: BLOCK, steps: 40, rig: options });
  await work.run();
  const random = new SeededRandom(6);
  let refused = 0;
  for (const at of work.history.writeTimes) {
    const result = await mendOrRefuse(work.mediaAfterKill(at, random), {}, at);
    if (result === null) {
      refused++;
      continue;
    }
    work.judge(result.bytes, at, BLOCK);
    const { torn = [], unlogged = [] } = result.recovery ?? {};
    const inFlight = work.blocksInFlight(at);
    for (const block of [...torn, ...unlogged]) {
      assert(inFlight.has(block), `block ${block} was not in flight`);
    }
  }
  assert(refused <= 1, 'the superblock is the first write');
  rigArena.assertNothingOutstanding();
});

test('what is mended of a new store over a sparse image are its data, not its holes', async () => {
  const small = 512;
  const format = { intervalBytes: small, logBytes: 65536 } as const;
  const media = blankMedia({ dataBytes: 3000 * small, format });
  const made = await openRig(media, { format, makesStore: true });
  const { layout } = made.engine;
  const bytes = new Uint8Array(BLOCK).fill(0x5a);
  const written = [0, 100 * BLOCK];
  for (const position of written) await made.disk.write(bytes, { position });
  // As a killed process leaves it.
  const left = { data: media.data.slice(), store: media.store.slice() };
  await made.disk.close();
  const pageBytes = layout.tuplesPerPage * small;
  const withData = new Set(written.map((position) => Math.floor(position / pageBytes)));
  const looked = new Set<number>();
  const failsData = (op: BioOp, start: number): number => {
    if (op === BioOp.READ) looked.add(Math.floor(start / pageBytes));
    return 0;
  };
  const rig = await openRig(left, { knowsHoles: true, failsData });
  assert.deepEqual(looked, withData);
  assert(layout.pages > 10 && rig.engine.recovery?.tornCount === 0);
  const { buffer } = await rig.disk.read(new Uint8Array(left.data.length), { position: 0 });
  assert.deepEqual(buffer, left.data);
  await rig.disk.close();
  rigArena.assertNothingOutstanding();
});

test('a hole with a record in the log is looked at', async () => {
  const media = blankMedia();
  const made = await openRig(media, { makesStore: true });
  await made.disk.write(new Uint8Array(BLOCK).fill(0x5a), { position: 3 * BLOCK });
  // The record came to the medium and the data did not.
  const left = { data: new Uint8Array(media.data.length), store: media.store.slice() };
  await made.disk.close();
  const mended = await mendAndRead(left, { knowsHoles: true }, 3);
  assert.equal(mended.recovery?.settled, 1);
  assert.deepEqual(mended.bytes, left.data);
  rigArena.assertNothingOutstanding();
});

test('the first durable write keeps the store it is in', async () => {
  const random = new SeededRandom(4);
  for (let seed = 1; seed <= 10; seed++) {
    const media = blankMedia({ dataBytes: 64 * BLOCK });
    const history = new PowerHistory();
    const rig = await openRig(media, { makesStore: true, history, seed });
    const bytes = new Uint8Array(BLOCK).fill(seed);
    await rig.disk.write(bytes, { position: 3 * BLOCK, fua: true });
    const at = history.now;
    await rig.disk.close();
    const how = { random, sectorBytes: 512 };
    const left = { data: history.cut(0, at, how), store: history.cut(1, at, how) };
    const mended = await mendAndRead(left, {}, seed);
    assert.deepEqual(mended.bytes.subarray(3 * BLOCK, 4 * BLOCK), bytes);
  }
  rigArena.assertNothingOutstanding();
});

test('a new store that is mended in parts, and cut meanwhile, stays open as a whole', async () => {
  const small = 512;
  const format = { intervalBytes: small, stretchPages: 1, logBytes: 65536 } as const;
  const rig: RigOptions = { depth: 1, cachePages: 1, format };
  const media = blankMedia({ dataBytes: 3000 * small, format });
  const made = await openRig(media, { ...rig, cachePages: 64, makesStore: true });
  const { layout } = made.engine;
  const stretchBytes = layout.stretchPages * layout.tuplesPerPage * small;
  const bytes = new Uint8Array(small).fill(0x5a);
  const places = [0, 1, 2, 3, 4, 5, 11].map((stretch) => stretch * stretchBytes);
  for (const position of places) await made.disk.write(bytes, { position });
  // All of it came to the medium, but for the last record.
  const left = { data: media.data.slice(), store: media.store.slice() };
  left.store.fill(0, layout.logStart + 6 * small, layout.logStart + layout.logBytes);
  await made.disk.close();
  const history = new PowerHistory();
  const whole = { data: left.data.slice(), store: left.store.slice() };
  const first = await mendAndRead(whole, { ...rig, history }, 1);
  assert.deepEqual(first.recovery?.unlogged, [11 * layout.tuplesPerPage]);
  const random = new SeededRandom(3);
  let cuts = 0;
  for (const at of history.writeTimes) {
    const store = history.cut(1, at, { random, sectorBytes: small });
    const again = await mendAndRead({ data: left.data.slice(), store }, rig, at);
    assert.equal(again.recovery?.badCount ?? 0, 0);
    for (const position of places) assert.equal(again.bytes[position], 0x5a);
    cuts++;
  }
  assert(cuts > 5);
  rigArena.assertNothingOutstanding();
});

test('nothing is flushed before the first one that is asked for', async () => {
  const media = blankMedia();
  const flushed: string[] = [];
  const note = (what: string) => (op: number) => {
    if (op === BioOp.FLUSH) flushed.push(what);
    return 0;
  };
  const rig = await openRig(media, {
    makesStore: true,
    failsData: note('data'),
    failsStore: note('store'),
    flushesAtClose: false,
    boot: new Uint8Array(16).fill(9),
  });
  await rig.disk.write(new Uint8Array(8 * BLOCK).fill(1), { position: 0 });
  assert.deepEqual(flushed, []);
  await rig.disk.write(new Uint8Array(BLOCK).fill(2), { position: 0, fua: true });
  assert.deepEqual(flushed, ['store'], 'a durable write needs the store, once');
  await rig.disk.write(new Uint8Array(BLOCK).fill(3), { position: BLOCK, fua: true });
  await rig.disk.close();
  assert.deepEqual(flushed, ['store']);
  rigArena.assertNothingOutstanding();
});
