// `node --expose-gc src/memory/user/pin-user-pages.bench.ts [case]`: millions of pages per second,
// pinned and unpinned (both together count as one page), over 16 MiB of a program's memory, one by
// one and in batches. One process per case: without a name, every case is started in a process of
// its own. Best and median of 31 rounds; bytes allocated per 1,000 pages.

import { spawnSync } from 'node:child_process';
import { argv, execPath } from 'node:process';
import { getHeapStatistics } from 'node:v8';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import { Arena } from '../arena.ts';
import { Protection } from './area.ts';
import { PinFlag, tryPinUserPages } from './pin-user-pages.ts';
import { unpinUserPages } from './unpin-user-pages.ts';
import { UserMemory } from './user-memory.ts';
import type { UserSpace } from './user-space.ts';

const PAGES = 4096;
const ROUNDS = 31;
const PASSES = 20;
const BATCHES = [1, 16, 64, 256];

/** How the frames lie: in no order, in a row, or as folios of 2 MiB. */
const LAYOUTS = ['scattered', 'contiguous', 'huge'] as const;
type Layout = (typeof LAYOUTS)[number];

export interface PinFigure {
  readonly name: string;
  readonly layout: Layout;
  readonly batch: number;
  /** Millions of pages a second, one for each round. */
  readonly rounds: readonly number[];
  readonly bytesPer1000Pages: number;
}

/** Every case as 'scattered 64'. */
export const PIN_CASES = LAYOUTS.flatMap((layout) => BATCHES.map((batch) => `${layout} ${batch}`));

function makeSpace(layout: Layout): { readonly space: UserSpace; readonly addr: number } {
  const memory = new UserMemory({ arena: new Arena({ maxBytes: 64 * 2 ** 20, label: 'bench' }) });
  const space = memory.newSpace('bench');
  const folioOrder = layout === 'huge' ? 9 : 0;
  const bytes = PAGES * PAGE_BYTES;
  const addr = space.mmap({ bytes, protection: Protection.WRITE, folioOrder });
  // The allocator hands out frames in a row: touched in another order they lie scattered.
  const step = layout === 'scattered' ? 1237 : 1;
  for (let i = 0; i < PAGES; i++) {
    space.fault(addr + ((i * step) % PAGES) * PAGE_BYTES, Access.WRITE, 0);
  }
  return { space, addr };
}

function pass(space: UserSpace, addr: number, batch: number, out: Uint32Array): void {
  for (let i = 0; i < PAGES; i += batch) {
    const held = tryPinUserPages(space, addr + i * PAGE_BYTES, batch, PinFlag.WRITE, out, 0);
    if (held !== batch) throw new Error(`bench: ${held} pages of ${batch}`);
    unpinUserPages(out, 0, held);
  }
}

function measure(layout: Layout, batch: number): PinFigure {
  const { space, addr } = makeSpace(layout);
  const out = new Uint32Array(batch);
  const rounds: number[] = [];
  const bytes: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    globalThis.gc?.();
    // Twice, the first time without a page: what the measuring itself allocates is not counted.
    const own = heapGrowth(space, addr, batch, out, 0);
    const start = performance.now();
    const grown = heapGrowth(space, addr, batch, out, PASSES);
    rounds.push((PASSES * PAGES) / (performance.now() - start) / 1000);
    bytes.push(grown - own);
  }
  bytes.sort((a, b) => a - b);
  const bytesPer1000Pages = ((bytes[ROUNDS >> 1] ?? 0) * 1000) / (PASSES * PAGES);
  return { name: `${layout} ${batch}`, layout, batch, rounds, bytesPer1000Pages };
}

/** Bytes on the heap that `passes` passes leave. */
function heapGrowth(
  space: UserSpace,
  addr: number,
  batch: number,
  out: Uint32Array,
  passes: number,
): number {
  const before = getHeapStatistics().used_heap_size;
  for (let i = 0; i < passes; i++) pass(space, addr, batch, out);
  return getHeapStatistics().used_heap_size - before;
}

/** One case, in a process of its own. */
export function measurePins(name: string): PinFigure {
  const args = ['--expose-gc', import.meta.filename, name, '--json'];
  const run = spawnSync(execPath, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (run.status !== 0) throw new Error(`bench: '${name}' failed`);
  return JSON.parse(run.stdout) as PinFigure;
}

function print(figure: PinFigure): void {
  const sorted = [...figure.rounds].sort((a, b) => b - a);
  const [best = 0, middle = 0] = [sorted[0], sorted[ROUNDS >> 1]];
  const columns = [best.toFixed(1), middle.toFixed(1), figure.bytesPer1000Pages.toFixed(1)];
  console.log(`${figure.name.padEnd(18)} ${columns.map((text) => text.padStart(9)).join(' ')}`);
}

if (import.meta.main) {
  const [layout, batch] = (argv[2] ?? '').split(' ');
  if (layout !== '' && batch !== undefined) {
    const figure = measure(layout as Layout, Number(batch));
    if (argv.includes('--json')) console.log(JSON.stringify(figure));
    else print(figure);
  } else {
    console.log(`${'case'.padEnd(18)}   Mpages/s  median  B/1000 pages`);
    for (const name of PIN_CASES) print(measurePins(name));
  }
}
