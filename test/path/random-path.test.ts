import { after, describe, test } from 'node:test';
import fc from 'fast-check';
import { BlockDevice } from '../../src/device/block-device.ts';
import { Disk } from '../../src/device/disk.ts';
import type { Engine } from '../../src/engine/contract.ts';
import { openRamEngine } from '../../src/engine/memory/ram-engine.ts';
import type { Limits } from '../../src/limits/limits.ts';
import { Arena } from '../../src/memory/arena.ts';
import { CheckedEngine } from '../../src/testing/simulator/checked-engine.ts';
import { DISK_BYTES, limitsCases, type OpCase, opCases, PathModel, RUNS } from './path-cases.ts';
import { ScriptedEngine } from './scripted-engine.ts';

const defer = (run: () => void): void => queueMicrotask(run);

/** Small numbers from a seed, for engines. */
function randomOf(seed: number): () => number {
  let state = (seed * 2654435761) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Some list of own pages is a block that one request can have. */
function canCarryBlock(limits: Limits): boolean {
  const { logical_block_size: block, virt_boundary_mask: virt } = limits;
  const window = Math.min(limits.max_segment_size, limits.seg_boundary_mask + 1);
  const folio = 2 ** Math.floor(Math.log2(window));
  if (folio >= block) return true;
  return block / folio <= limits.max_segments && (virt === 0 || folio % (virt + 1) === 0);
}

interface Pools {
  readonly bios: number;
  readonly splits: number;
}

async function runPath(
  engine: Engine,
  batches: readonly (readonly OpCase[])[],
  seed: number,
  pools: Pools,
): Promise<void> {
  const arena = new Arena({ maxBytes: 8 * 2 ** 20, label: 'path', places: false });
  const disk = new Disk(new BlockDevice({ engine, arena, ...pools }));
  const model = new PathModel(arena, seed);
  for (const batch of batches) {
    await model.run(disk, model.plan(batch));
    disk.assertNothingOutstanding();
  }
  await model.checkDisk(disk);
  disk.assertNothingOutstanding();
  PathModel.note(disk);
  await disk.close();
  model.heap.release();
  arena.assertNothingOutstanding();
  arena[Symbol.dispose]();
}

const batches = fc.array(opCases, { minLength: 1, maxLength: 4 });
const pools = fc.record({ bios: fc.constantFrom(0, 1, 8, 64), splits: fc.constantFrom(0, 1, 64) });

after(()=>console.log(PathModel.seen));
describe('random transfers, a model of every byte', () => {
  test('ram: under any limits, every request obeys them', async () => {
    await fc.assert(
      fc.asyncProperty(
        limitsCases([512, 512, 1024, 2048, 4096]),
        batches,
        pools,
        fc.nat(),
        (limits: Limits, cases, sizes, seed) => {
          const engine = openRamEngine({ sizeBytes: DISK_BYTES, limits, defer });
          return runPath(new CheckedEngine(engine), cases, seed, sizes);
        },
      ),
      { numRuns: RUNS },
    );
  });

  test('blocks above the page, wherever segments can carry one', async () => {
    await fc.assert(
      fc.asyncProperty(
        limitsCases([8192, 16384, 32768]).filter(canCarryBlock),
        batches,
        pools,
        fc.nat(),
        (limits, cases, sizes, seed) => {
          const engine = openRamEngine({ sizeBytes: DISK_BYTES, limits, defer });
          return runPath(new CheckedEngine(engine), cases, seed, sizes);
        },
      ),
      { numRuns: RUNS / 4 },
    );
  });

  test('an engine that finishes in any order, much later, and takes few at once', async () => {
    await fc.assert(
      fc.asyncProperty(
        limitsCases([512, 1024, 4096]),
        batches,
        pools,
        fc.integer({ min: 1, max: 5 }),
        fc.nat(),
        (limits, cases, sizes, room, seed) => {
          const random = randomOf(seed);
          const engine = new ScriptedEngine({ sizeBytes: DISK_BYTES, limits, room, random });
          return runPath(engine, cases, seed, sizes);
        },
      ),
      { numRuns: RUNS },
    );
  });
});
