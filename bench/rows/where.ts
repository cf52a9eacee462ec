// Where the time of a transfer goes: a sampling profile of the same loads as in `io`, by folder of
// `src/`. The profiler costs something itself, so the rates here are a little below those of `io`.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Arena, type Disk, open } from '../../src/index.ts';
import type { IoCase } from '../io-case.ts';
import { runProcess } from '../peer.ts';
import { profileParts } from '../profile-parts.ts';
import { progressOf } from '../progress.ts';
import { IS_QUICK, printRow } from '../row.ts';
import { summarize } from '../stats.ts';

const FILE_MIBS = IS_QUICK ? 64 : 256;
const SECONDS = IS_QUICK ? 0.5 : 2;
/** Parts below this are told together. */
const LEAST_MICROS = 0.005;

const SMALL = { blockBytes: 4096, write: false };
const CASES: readonly (IoCase & { readonly name: string })[] = [
  { name: 'cached-read-4k-d32', ...SMALL, depth: 32, direct: false },
  { name: 'cached-read-4k-d1', ...SMALL, depth: 1, direct: false },
  { name: 'direct-read-4k-d32', ...SMALL, depth: 32, direct: true },
  { name: 'cached-write-4k-d32', ...SMALL, write: true, depth: 32, direct: false },
  { name: 'direct-write-4k-d32', ...SMALL, write: true, depth: 32, direct: true },
  { name: 'direct-read-1m-d8', blockBytes: 2 ** 20, depth: 8, direct: true, write: false },
];

/** Runs `bench` for so long and gives how many I/Os that were. */
async function run(disk: Disk, memory: Uint8Array, bench: IoCase, seconds: number) {
  const { blockBytes, depth, write } = bench;
  const blocks = Math.floor(disk.size / blockBytes);
  let count = 0;
  let isOver = false;
  setTimeout(() => {
    isOver = true;
  }, seconds * 1000);
  const worker = async (slot: number): Promise<void> => {
    const buffer = memory.subarray(slot * blockBytes, (slot + 1) * blockBytes);
    while (!isOver) {
      const position = Math.floor(Math.random() * blocks) * blockBytes;
      if (write) await disk.write(buffer, { position });
      else await disk.read(buffer, { position });
      count++;
    }
  };
  await Promise.all(Array.from({ length: depth }, (_, slot) => worker(slot)));
  return count;
}

async function measure(path: string, bench: IoCase & { readonly name: string }): Promise<void> {
  progressOf(bench.name)('profile');
  const arena = new Arena({ maxBytes: 64 * 2 ** 20 });
  const memory = arena.alloc(bench.blockBytes * bench.depth);
  const disk = await open(path, { direct: bench.direct, readOnly: !bench.write, arena });
  await run(disk, memory.bytes, bench, SECONDS / 2);
  let count = 0;
  const start = performance.now();
  const parts = await profileParts(async () => {
    count = await run(disk, memory.bytes, bench, SECONDS);
  });
  const wallMicros = (performance.now() - start) * 1000;
  await disk.close();
  memory.release();
  arena[Symbol.dispose]();
  const known = [...parts].map(([part, micros]) => [part, micros / count] as const);
  printRow({
    name: `where-${bench.name}`,
    unit: 'µs an I/O',
    ours: summarize([wallMicros / count]),
    parts: Object.fromEntries(known.filter(([, micros]) => micros >= LEAST_MICROS)),
  });
}

const folder = mkdtempSync(join(tmpdir(), 'biovec-bench-'));
try {
  const path = join(folder, 'where.img');
  const count = `count=${FILE_MIBS}`;
  runProcess('dd', ['if=/dev/urandom', `of=${path}`, 'bs=1M', count, 'conv=fsync']);
  for (const bench of CASES) await measure(path, bench);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
