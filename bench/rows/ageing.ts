// Copies of 1 MiB through own pages of an arena that is old and nearly full: how many find pages,
// in how many segments, and which orders of folios were missing. Beside it the same with single
// pages, as kernels do it, and with one linear buffer.

import { assert } from '../../src/base/assert.ts';
import { Errno } from '../../src/base/errno.ts';
import { MIB, PAGE_BYTES } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { BioPool } from '../../src/bio/bio-pool.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { validateLimits } from '../../src/limits/validate.ts';
import { PassthroughChain } from '../../src/map/passthrough/bio-chain.ts';
import { mapUser } from '../../src/map/passthrough/map-user.ts';
import { OpenFileReserve, RESERVE_BYTES } from '../../src/map/passthrough/open-file-reserve.ts';
import { PassthroughContext } from '../../src/map/passthrough/passthrough-context.ts';
import { PASSTHROUGH_RULES } from '../../src/map/passthrough/passthrough-rules.ts';
import { unmapUser } from '../../src/map/passthrough/unmap-user.ts';
import { MappedSpace } from '../../src/memory/address-space.ts';
import { Arena } from '../../src/memory/arena.ts';
import { printRow, SCALE } from '../row.ts';
import { summarize } from '../stats.ts';

const ARENA_BYTES = 64 * MIB;
const PAGES = ARENA_BYTES / PAGE_BYTES;
const BYTES = MIB;
const LIMITS = validateLimits({ max_hw_sectors: 4096, max_segments: 128 });
/**
 * How the arena aged, and percent of it that others use. 'churned': folios of 1 to 16 pages come
 * and go. 'scattered': it was full of single pages, of which some were given back by chance, which
 * is as bad as it gets: at 90 % one pair of pages in a hundred is free.
 */
const CASES = [
  ['churned', [50, 80, 90, 95, 97, 98]],
  ['scattered', [50, 80, 85, 90, 95]],
] as const;
type Ageing = (typeof CASES)[number][0];
/** Seeds, and copies of each. */
const SEEDS = 5;
const COPIES = Math.ceil(200 * SCALE);

/** Numbers in [0, 1) from a seed: the same ones every time (Marsaglia's xorshift). */
function randomOf(seed: number): () => number {
  let state = seed * 2654435761 + 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Others who take folios and give them back. */
class Tenants {
  readonly #arena: Arena;
  readonly #random: () => number;
  readonly #ordersMax: number;
  #pagesWanted: number;
  readonly #heads: number[] = [];
  readonly #orders: number[] = [];
  #pages = 0;

  constructor(arena: Arena, ageing: Ageing, percent: number, random: () => number) {
    this.#arena = arena;
    this.#random = random;
    this.#ordersMax = ageing === 'churned' ? 5 : 1;
    this.#pagesWanted = ageing === 'churned' ? Math.floor((PAGES * percent) / 100) : PAGES;
    for (let age = 0; age < 20; age++) this.churn(PAGES / 8);
    this.#pagesWanted = Math.floor((PAGES * percent) / 100);
    this.#give(this.#heads.length, this.#pagesWanted);
  }

  /** Gives `count` folios back, chosen by chance, and takes others until as much is in use. */
  churn(count: number): void {
    this.#give(count, 0);
    this.#take();
  }

  #give(count: number, pagesLeft: number): void {
    for (let i = 0; i < count && this.#pages > pagesLeft; i++) {
      const at = Math.floor(this.#random() * this.#heads.length);
      const [head = 0, order = 0] = [this.#heads[at], this.#orders[at]];
      this.#heads[at] = this.#heads.at(-1) ?? 0;
      this.#orders[at] = this.#orders.at(-1) ?? 0;
      this.#heads.pop();
      this.#orders.pop();
      this.#arena.putFolio(head);
      this.#pages -= 2 ** order;
    }
  }

  #take(): void {
    while (this.#pages < this.#pagesWanted) {
      let order = Math.floor(this.#random() ** 3 * this.#ordersMax);
      let head = this.#arena.getFolio(order);
      while (head < 0 && order > 0) head = this.#arena.getFolio(--order);
      assert(head >= 0, 'ageing: the arena is smaller than its tenants');
      this.#heads.push(head);
      this.#orders.push(order);
      this.#pages += 2 ** order;
    }
  }
}

interface Found {
  copies: number;
  chunks: number;
  segments: number;
  single: number;
  linear: number;
  reserve: number;
  readonly missing: number[];
}

/** One copy through `context`: its segments, or 0 without pages for it. */
function copySegments(context: PassthroughContext, space: MappedSpace): number {
  const chain = new PassthroughChain(BioOp.WRITE);
  const iter = new IovIter();
  iter.initUserRange(IterDirection.SOURCE, space, 0, BYTES);
  const result = mapUser(chain, iter, { context, copy: 'always' });
  if (result !== 0) {
    assert(result === -Errno.ENOMEM || result === -Errno.EINVAL, 'ageing: another error');
    return 0;
  }
  const { segments } = chain;
  assert(segments <= LIMITS.max_segments, 'ageing: more segments than the device takes');
  unmapUser(chain.bio, context, { transferredBytes: 0 });
  return segments;
}

function run(ageing: Ageing, percent: number, seed: number, found: Found): void {
  const arena = new Arena({ maxBytes: ARENA_BYTES, label: 'aged', places: false });
  const tenants = new Tenants(arena, ageing, percent, randomOf(seed));
  const contextOf = (ownPages: 'chunks' | 'single'): PassthroughContext => {
    const rules = { ...PASSTHROUGH_RULES.biovec, ownPages };
    const bios = new BioPool({ bios: 8, rows: 2048 });
    return new PassthroughContext({ limits: LIMITS, folios: arena, bios, rules });
  };
  const [chunks, single] = [contextOf('chunks'), contextOf('single')];
  for (let i = 0; i < COPIES; i++) {
    tenants.churn(64);
    const before = arena.stats().failuresByOrder;
    const segments = copySegments(chunks, space);
    arena.stats().failuresByOrder.forEach((count, order) => {
      found.missing[order] = (found.missing[order] ?? 0) + count - (before[order] ?? 0);
    });
    found.copies++;
    found.segments += segments;
    if (segments > 0) found.chunks++;
    if (copySegments(single, space) > 0) found.single++;
    const linear = arena.getFolio(8); // 2^8 pages are 1 MiB.
    if (linear >= 0) found.linear++;
    if (linear >= 0) arena.putFolio(linear);
    const file = new OpenFileReserve(arena, RESERVE_BYTES, LIMITS.max_segments);
    if (file.bytes > 0) found.reserve++;
    file[Symbol.dispose]();
  }
  chunks.assertNothingOutstanding();
  single.assertNothingOutstanding();
}

function percentOf(part: number, whole: number): number {
  return Math.round((part / whole) * 1000) / 10;
}

function report(ageing: Ageing, percent: number, all: readonly Found[]): void {
  const sum = (pick: (found: Found) => number): number =>
    all.reduce((total, found) => total + pick(found), 0);
  const copies = sum((found) => found.copies);
  const served = sum((found) => found.chunks);
  const percentServed = (pick: (found: Found) => number): string =>
    `${percentOf(sum(pick), copies)} %`;
  const missing = Array.from({ length: 11 }, (_, order) => order)
    .map((order) => [order, sum((found) => found.missing[order] ?? 0)])
    .filter(([, count]) => count !== 0)
    .map(([order, count]) => `order ${order} ${count}`);
  printRow({
    name: `ageing-${ageing}-${percent}%`,
    unit: '% of copies found pages',
    ours: summarize(all.map((found) => percentOf(found.chunks, found.copies))),
    notes: {
      copies,
      'segments a copy': served === 0 ? 0 : Math.round(sum((found) => found.segments) / served),
      failures: missing.join(' ') || 'none',
      'with single pages': percentServed((found) => found.single),
      'with one linear buffer': percentServed((found) => found.linear),
      'a reserve of 32 KiB': percentServed((found) => found.reserve),
    },
  });
}

const users = new Arena({ maxBytes: 4 * MIB, label: 'program', places: false });
const space = new MappedSpace();
for (let i = 0; i < BYTES / PAGE_BYTES; i++) space.map(i * PAGE_BYTES, users.getFolio(0));
for (const [ageing, percents] of CASES) {
  for (const percent of percents) {
    const all = Array.from({ length: SEEDS }, (_, seed): Found => {
      const counts = { copies: 0, chunks: 0, segments: 0, single: 0, linear: 0, reserve: 0 };
      const found = { ...counts, missing: [] };
      run(ageing, percent, seed + 1, found);
      return found;
    });
    report(ageing, percent, all);
  }
}
