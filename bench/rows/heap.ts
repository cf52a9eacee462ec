// Heap growth per 1,000 bios in steady state: 0 on memory engines; node:fs allocates its own
// request and promise objects, so for `file` the figure is what is left after a collection.

import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Bio } from '../../src/bio/bio.ts';
import { addSegment } from '../../src/bio/bio-add.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { BlockDevice } from '../../src/device/block-device.ts';
import type { Engine } from '../../src/engine/contract.ts';
import { openFileEngine } from '../../src/engine/file/open-file-engine.ts';
import { openNullEngine } from '../../src/engine/memory/null-engine.ts';
import { openRamEngine } from '../../src/engine/memory/ram-engine.ts';
import { validateLimits } from '../../src/limits/validate.ts';
import { Arena } from '../../src/memory/arena.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import { nodeEnv } from '../../src/node/node-env.ts';
import { SimClock } from '../../src/testing/simulator/sim-clock.ts';
import { SimEngine } from '../../src/testing/simulator/sim-engine.ts';
import { printRow, SCALE } from '../row.ts';
import { summarize } from '../stats.ts';

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');
const defer = (run: () => void): void => void setImmediate(run);
const DISK_BYTES = 8 * 1024 * 1024;
const BATCH = 32;

/** `clock`: of a simulated engine, whose time only passes when it is told to. */
async function measure(
  name: string,
  engine: Engine,
  bios: number,
  clock?: SimClock,
): Promise<void> {
  const arena = new Arena({ maxBytes: 16 * 1024 * 1024 });
  const device = new BlockDevice({ engine, arena, defer: clock?.defer ?? defer });
  const page = arena.alloc(BATCH * 4096).page;
  let done = 0;
  let wake: (() => void) | null = null;
  const end = (bio: Bio): void => {
    done++;
    if (bio.status !== 0) throw new Error(`${name}: a read failed with ${bio.status}`);
    device.bios.release(bio);
    if (done % BATCH === 0) wake?.();
  };
  const run = async (count: number): Promise<void> => {
    for (let sent = 0; sent < count; sent += BATCH) {
      device.queue.startPlug();
      for (let i = 0; i < BATCH; i++) {
        const bio = device.bios.acquire(BioOp.READ, ((sent + i * 7) % 2048) * 8, 1) as Bio;
        addSegment(bio, page + i, 0, 4096, HoldKind.BORROWED);
        bio.endIo = end;
        device.submitBio(bio);
      }
      device.queue.finishPlug();
      device.poll();
      while (device.bios.busyCount > 0 && clock?.step() === true) device.poll();
      if (device.bios.busyCount === 0) continue;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  await run(bios);
  const grown: number[] = [];
  const dirty: number[] = [];
  for (let round = 0; round < 5; round++) {
    collect();
    const before = process.memoryUsage().heapUsed;
    await run(bios);
    dirty.push(((process.memoryUsage().heapUsed - before) / bios) * 1000);
    collect();
    grown.push(((process.memoryUsage().heapUsed - before) / bios) * 1000);
  }
  await device.close();
  const notes = { 'before collection': Math.round(summarize(dirty).median), bios };
  const ours = summarize(grown);
  printRow({ name: `heap-${name}`, unit: 'bytes/1000 bios', ours, lessIsBetter: true, notes });
}

const many = Math.ceil(512_000 * SCALE);
await measure('ram', openRamEngine({ sizeBytes: DISK_BYTES, defer }), many);
await measure('null', openNullEngine({ sizeBytes: DISK_BYTES, defer }), many);
const clock = new SimClock();
const simulator = new SimEngine({
  seed: 1,
  clock,
  limits: validateLimits({}),
  sizeBytes: DISK_BYTES,
  depth: 64,
});
await measure('simulator', simulator, Math.ceil(many / 8), clock);
const folder = mkdtempSync(join(tmpdir(), 'biovec-bench-'));
try {
  const path = join(folder, 'heap.img');
  writeFileSync(path, '');
  truncateSync(path, DISK_BYTES);
  const file = await openFileEngine(path, { env: nodeEnv() });
  await measure('file', file, Math.ceil(64_000 * SCALE));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
