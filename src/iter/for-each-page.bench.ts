// `node --expose-gc src/iter/for-each-page.bench.ts [case]`: ns per page of the loop and of
// `extract`, over 1 MiB of scattered pages of order 0. One process per case: without a name, every
// case is started in a process of its own. Minimum and median of 31 rounds; bytes allocated a call.

import { spawnSync } from 'node:child_process';
import { argv, execPath } from 'node:process';
import { getHeapStatistics } from 'node:v8';
import { PAGE_BYTES, pagesSpanned } from '../base/units.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import { MappedSpace } from '../memory/address-space.ts';
import { Arena } from '../memory/arena.ts';
import { HoldKind, unpinPages } from '../memory/holds.ts';
import { Protection } from '../memory/user/area.ts';
import { UserMemory } from '../memory/user/user-memory.ts';
import { ForEachPageResult, forEachPage, Verdict } from './for-each-page.ts';
import { IovIter, IterDirection, IterState } from './iov-iter.ts';
import { EXTRACT_ALL, extract } from './iter-extract.ts';

const PAGES = 256;
const BYTES = PAGES * PAGE_BYTES;
const ROUNDS = 31;
const CALLS = 200;

const arena = new Arena({ maxBytes: 64 * 2 ** 20 });
const space = new MappedSpace();
const flat = Array.from({ length: 2 * PAGES }, () => arena.getFolio(0));
for (let i = 0; i < PAGES; i++) space.map(i * PAGE_BYTES, flat[2 * PAGES - 1 - 2 * i] as number);
const buffer = arena.alloc(BYTES);

/** The memory of a process: anonymous pages that were written to, every second one of another. */
const memory = new UserMemory({ arena: new Arena({ maxBytes: 64 * 2 ** 20 }), label: 'bench' });
const process = memory.newSpace('process');
const [mine, other] = [0, 1].map(() => {
  return process.mmap({ bytes: BYTES, protection: Protection.WRITE });
}) as [number, number];
for (let at = 0; at < BYTES; at += PAGE_BYTES) {
  process.write(mine + at, Uint8Array.of(1));
  process.write(other + at, Uint8Array.of(1));
}

const iter = new IovIter();
const state = new IterState();
const table = new BvecTable(PAGES);
const result = new ForEachPageResult();
const drop = (): number => Verdict.DROP;

function armUser(): void {
  iter.initUserRange(IterDirection.DEST, space, 0, BYTES);
}

function armProcess(): void {
  iter.initUserRange(IterDirection.DEST, process, mine, BYTES);
}

function armBytes(): void {
  iter.initView(IterDirection.DEST, buffer.bytes);
}

function walk(batch: number, hold: HoldKind, folioRuns = false): () => void {
  const options = { hold, folioRuns, batch, signal: null };
  return () => {
    forEachPage(iter, BYTES, drop, null, options, result);
  };
}

function take(): void {
  extract(iter, table, 0, PAGES, BYTES, EXTRACT_ALL);
  for (let row = 0; row < iter.rowsOut; row++) {
    unpinPages(table.page[row] as number, pagesSpanned(0, table.len[row] as number));
  }
}

const { PINNED, BORROWED } = HoldKind;
const CASES: Readonly<Record<string, readonly [() => void, () => void]>> = {
  'user, pinned, batch 1': [armUser, walk(1, PINNED)],
  'user, pinned, batch 16': [armUser, walk(16, PINNED)],
  'user, pinned, batch 64': [armUser, walk(64, PINNED)],
  'user, pinned, batch 256': [armUser, walk(256, PINNED)],
  'user, referenced, batch 64': [armUser, walk(64, HoldKind.REFERENCED)],
  'process, pinned, batch 64': [armProcess, walk(64, PINNED)],
  'process, extract': [armProcess, take],
  'user, not held, batch 64': [armUser, walk(64, BORROWED)],
  'arena, not held, batch 64': [armBytes, walk(64, BORROWED)],
  'arena, pinned, batch 64': [armBytes, walk(64, PINNED)],
  'arena, folio runs, batch 64': [armBytes, walk(64, PINNED, true)],
  'user, extract': [armUser, take],
  'arena, extract': [armBytes, take],
};

function measure(name: string): void {
  const [arm, call] = CASES[name] as readonly [() => void, () => void];
  arm();
  iter.save(state);
  const times: number[] = [];
  let allocated = 0;
  for (let round = 0; round < ROUNDS; round++) {
    globalThis.gc?.();
    const before = getHeapStatistics().used_heap_size;
    const start = performance.now();
    for (let i = 0; i < CALLS; i++) {
      iter.restore(state);
      call();
    }
    times.push(((performance.now() - start) * 1e6) / (CALLS * PAGES));
    allocated = getHeapStatistics().used_heap_size - before;
  }
  times.sort((a, b) => a - b);
  const [least = 0, middle = 0] = [times[0], times[ROUNDS >> 1]];
  const columns = [least.toFixed(1), middle.toFixed(1), (allocated / CALLS).toFixed(0)];
  console.log(`${name.padEnd(28)} ${columns.map((text) => text.padStart(8)).join(' ')}`);
}

if (argv[2] !== undefined) {
  measure(argv[2]);
} else {
  console.log(`${'case'.padEnd(28)}  ns/page   median   B/call`);
  for (const name of Object.keys(CASES)) {
    const args = ['--expose-gc', import.meta.filename, name];
    spawnSync(execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  }
}
