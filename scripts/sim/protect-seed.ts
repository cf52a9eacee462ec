import assert from 'node:assert/strict';
import { CutWorkload, mendAndRead } from '../../src/protect/power-cut.fuzz.ts';
import { makeMedia, type RigOptions, rigArena } from '../../src/protect/protect-rig.fuzz.ts';
import { PowerHistory } from '../../src/testing/simulator/power-history.ts';
import type { RunReport } from '../../src/testing/simulator/run-world.ts';
import { SeededRandom } from '../../src/testing/simulator/seeded-random.ts';

/** A cut costs an opening, a recovery and a reading of all blocks: many steps of other worlds. */
const STEPS_PER_CUT = 2500;
const OPERATIONS_MAX = 60;

interface Choice {
  readonly seed: number;
  readonly random: SeededRandom;
  readonly rig: RigOptions;
  readonly blockBytes: number;
  readonly blocks: number;
  /** What the disks write as a whole. */
  readonly sectorBytes: number;
}

/**
 * A protected image over two disks whose volatile caches lose, reorder and tear: random work, and
 * the power goes at random writes, also of the recovery. Who reads afterwards is judged by a model
 * that knows nothing of tuples. `steps` is how long it may take, in steps of other worlds.
 */
export async function runProtectSeed(
  seed: number,
  steps: number,
): Promise<Omit<RunReport, 'kind' | 'lines'>> {
  const choice = choose(seed);
  const tally = { 'protect: operations': 0, 'protect: power cuts': 0, 'protect: blocks mended': 0 };
  let failure: Error | null = null;
  try {
    const work = await runWork(choice, steps);
    tally['protect: operations'] = work.history.writes;
    for (let left = Math.max(Math.floor(steps / STEPS_PER_CUT), 2); left > 0; left--) {
      const at = choice.random.pick(work.history.writeTimes);
      tally['protect: blocks mended'] += await cutAt(work, choice, at);
      tally['protect: power cuts']++;
    }
    rigArena.assertNothingOutstanding();
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error));
  }
  const done = tally['protect: operations'] + tally['protect: power cuts'];
  return { seed, steps: done, tally, failure };
}

function choose(seed: number): Choice {
  const random = new SeededRandom(seed);
  const blockBytes = random.pick([512, 4096, 4096]);
  const guard = random.pick(['crc64', 'crc64', 'crc16'] as const);
  const logBytes = random.pick([16384, 65536]);
  const isSmall = random.chance(0.4);
  const format = { intervalBytes: blockBytes, guard, logBytes };
  const rig: RigOptions = {
    format: isSmall ? { ...format, stretchPages: 1 } : format,
    depth: random.pick([1, 2, 4, 8]),
    ordered: random.chance(0.25),
    ...(isSmall ? { cachePages: 1 } : {}),
  };
  const blocks = blockBytes === 512 ? random.between(200, 1300) : random.between(32, 96);
  return { seed, random, rig, blockBytes, blocks, sectorBytes: random.pick([512, blockBytes]) };
}

async function runWork(choice: Choice, steps: number): Promise<CutWorkload> {
  const { seed, random, rig, blockBytes, blocks } = choice;
  const format = rig.format ?? {};
  const media = await makeMedia({ dataBytes: blocks * blockBytes, format, seed });
  const sessions = random.between(1, 3);
  const each = Math.max(Math.floor(Math.min(steps, OPERATIONS_MAX) / sessions), 4);
  const blocksMax = random.pick([2, 6, 20]);
  const options = { seed, media, blockBytes, steps: each, rig, sessions, blocksMax };
  const work = new CutWorkload(options);
  await work.run();
  assert(work.history.writes > 0, 'sim: the work wrote nothing');
  return work;
}

/** Cuts the power at event `at`, and now and then once more while that is mended. */
async function cutAt(work: CutWorkload, choice: Choice, at: number): Promise<number> {
  const { random, rig, sectorBytes } = choice;
  const left = work.mediaAt(at, random, sectorBytes);
  const copy = { data: left.data.slice(), store: left.store.slice() };
  const history = new PowerHistory();
  const settled = await mend(work, choice, left, { ...rig, history }, at);
  const { writeTimes } = history;
  if (writeTimes.length === 0 || !random.chance(0.3)) return settled;
  // The recovery writes to the store alone.
  const store = history.cut(1, random.pick(writeTimes), { random, sectorBytes });
  return settled + (await mend(work, choice, { data: copy.data, store }, rig, at));
}

async function mend(
  work: CutWorkload,
  { sectorBytes }: Choice,
  media: { readonly data: Uint8Array; readonly store: Uint8Array },
  rig: RigOptions,
  at: number,
): Promise<number> {
  const { bytes, recovery } = await mendAndRead(media, rig, at);
  work.judge(bytes, at, sectorBytes);
  work.judgeTaken(recovery, at);
  assert.equal(recovery?.badCount ?? 0, 0, 'sim: a block that nobody damaged is bad');
  return recovery?.settled ?? 0;
}
