import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../src/base/errno.ts';
import { BlockDevice } from '../../src/device/block-device.ts';
import { Disk } from '../../src/device/disk.ts';
import type { Engine } from '../../src/engine/contract.ts';
import { openRamEngine } from '../../src/engine/memory/ram-engine.ts';
import type { Limits } from '../../src/limits/limits.ts';
import { Arena } from '../../src/memory/arena.ts';
import type { Request } from '../../src/queue/request.ts';
import { CheckedEngine } from '../../src/testing/simulator/checked-engine.ts';
import {
  DISK_BYTES,
  limitsCases,
  note,
  type OpCase,
  opCases,
  PathModel,
  RUNS,
  seen,
} from './path-cases.ts';
import { randomOf } from './path-rig.ts';
import { type Fate, ScriptedEngine } from './scripted-engine.ts';

const defer = (run: () => void): void => queueMicrotask(run);

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
  note(disk);
  await disk.close();
  model.heap.release();
  arena.assertNothingOutstanding();
  arena[Symbol.dispose]();
}

function randomFate(random: () => number, request: Request, limits: Limits): Fate {
  const dice = random();
  if (dice < 0.03) return { refuse: -Errno.EAGAIN };
  if (dice < 0.08) return { status: -Errno.EIO, bytes: Math.floor(random() * request.bytes) };
  if (dice > 0.3) return {};
  const blocks = request.bytes / limits.logical_block_size;
  return { bytes: Math.ceil(random() * blocks * limits.logical_block_size) };
}

/** Transfers may fail; memory and medium that they do not name stay as they are. */
async function runFaults(
  engine: ScriptedEngine,
  cases: readonly (readonly OpCase[])[],
  seed: number,
  sizes: Pools,
): Promise<void> {
  const arena = new Arena({ maxBytes: 8 * 2 ** 20, label: 'path', places: false });
  const disk = new Disk(new BlockDevice({ engine, arena, ...sizes }));
  const model = new PathModel(arena, seed);
  for (const batch of cases) {
    await model.runFailing(disk, model.plan(batch), () => engine.disk);
    disk.assertNothingOutstanding();
    assert.equal(Buffer.compare(engine.disk, model.disk), 0, 'the disk is wrong');
  }
  note(disk);
  await disk.close();
  model.heap.release();
  arena.assertNothingOutstanding();
  arena[Symbol.dispose]();
}

const batches = fc.array(opCases, { minLength: 1, maxLength: 4 });
const pools = fc.record({ bios: fc.constantFrom(0, 1, 8, 64), splits: fc.constantFrom(0, 1, 64) });

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
      { numRuns: Math.ceil(RUNS / 4) },
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

  test('nothing is lost when the device fails, ends short, refuses and overtakes', async () => {
    await fc.assert(
      fc.asyncProperty(
        limitsCases([512, 1024, 4096]),
        batches,
        pools,
        fc.integer({ min: 1, max: 5 }),
        fc.nat(),
        async (limits, cases, sizes, room, seed) => {
          const random = randomOf(seed);
          const fate = (request: Request): Fate => randomFate(random, request, limits);
          const engine = new ScriptedEngine({ sizeBytes: DISK_BYTES, limits, room, random, fate });
          await runFaults(engine, cases, seed, sizes);
        },
      ),
      { numRuns: RUNS },
    );
  });

  test('every way was taken', { skip: RUNS < 1000 }, () => {
    const names = ['detachable', 'asked', 'offset', 'length', 'address', 'segments', 'gap'];
    for (const name of [...names, 'mapped', 'splits', 'merges', 'readBeforeWrite', 'requeues']) {
      assert.ok((seen[name] ?? 0) > 0, `no random transfer had ${name}`);
    }
  });
});
