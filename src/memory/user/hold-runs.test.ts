import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../base/errno.ts';
import { RUNS } from '../../base/runs.fuzz.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access, type AddressSpace, ARENA_SPACE, MappedSpace, UserHold } from '../address-space.ts';
import { Arena } from '../arena.ts';
import { HOLDS_MAX, pinCount, putPages, refCount, unpinPages } from '../holds.ts';
import { NONE, PinWorld, READ, WRITE } from './pin-world.fuzz.ts';

const { PIN, GET } = UserHold;
/** 12 pages before the end of a leaf, so that folios and areas lie on both sides. */
const FIRST = 3 * 512 - 12;
const PAGES = 32;

interface Life {
  readonly stretches: readonly { readonly kind: string; readonly pages: number }[];
  readonly touches: readonly (readonly [number, boolean])[];
  readonly forks: boolean;
  /** Pages that are written after the fork: holes in folios that go on in the same frames. */
  readonly rewrites: readonly number[];
  readonly hints: boolean;
  readonly poisoned: number | null;
  /** Pages that are moved elsewhere and back by one, so that folios lie across. */
  readonly moved: number | null;
}

const KINDS = ['hole', 'none', 'read', 'file', 'single', 'order 1', 'order 2', 'order 3'] as const;
const lives: fc.Arbitrary<Life> = fc.record({
  stretches: fc.array(
    fc.record({
      kind: fc.constantFrom(...KINDS, 'order 2', 'order 3', 'single'),
      pages: fc.integer({ min: 1, max: 16 }),
    }),
    { minLength: 1, maxLength: 6 },
  ),
  touches: fc.array(fc.tuple(fc.nat(PAGES - 1), fc.boolean()), { maxLength: 30 }),
  forks: fc.boolean(),
  rewrites: fc.array(fc.nat(PAGES - 1), { maxLength: 5 }),
  hints: fc.boolean(),
  poisoned: fc.option(fc.nat(PAGES - 1)),
  moved: fc.option(fc.nat(PAGES - 2)),
});

/** The same life gives the same frames in every world, counted from the first of its region. */
function build(world: PinWorld, life: Life): void {
  const { space } = world;
  const base = FIRST * PAGE_BYTES;
  let page = 0;
  for (const { kind, pages } of life.stretches) {
    const bytes = Math.min(pages, PAGES - page) * PAGE_BYTES;
    if (bytes === 0) break;
    const addr = base + page * PAGE_BYTES;
    page += bytes / PAGE_BYTES;
    if (kind === 'hole') continue;
    const protection = kind === 'read' ? READ : WRITE;
    const folioOrder = kind.startsWith('order') ? Number(kind.at(-1)) : 0;
    const ops = kind === 'file' ? world.file(bytes / PAGE_BYTES) : null;
    assert.equal(space.mmap({ addr, bytes, protection, folioOrder, ops }), addr);
    if (kind === 'none') space.mprotect(addr, bytes, NONE);
  }
  for (const [at, writes] of life.touches) {
    space.fault(base + at * PAGE_BYTES, writes ? Access.WRITE : Access.READ, 0);
  }
  if (life.moved !== null) {
    const addr = base + life.moved * PAGE_BYTES;
    const to = space.mremap(addr, PAGE_BYTES, 2 * PAGE_BYTES, true);
    if (to > 0) space.write(to + PAGE_BYTES, Uint8Array.of(1));
  }
  if (life.poisoned !== null && life.touches.length > 0) {
    const frame = space.pageAt(base + life.poisoned * PAGE_BYTES, Access.READ);
    if (frame > 0 && frame !== world.memory.zeroPage) world.memory.poison(frame);
  }
  if (life.forks) space.fork('child');
  for (const at of life.rewrites) space.write(base + at * PAGE_BYTES, Uint8Array.of(1));
  if (life.hints) space.hint(base, PAGES * PAGE_BYTES);
}

/** Frames held from page `at` of the world on, asked for as runs until `count` or an error. */
function byRuns(
  space: AddressSpace,
  addr: number,
  count: number,
  access: Access,
  hold: UserHold,
  runsMax: number,
): { frames: number[]; error: number } {
  const frames: number[] = [];
  while (frames.length < count) {
    const runs = { page: new Uint32Array(9 + runsMax), len: new Uint32Array(9 + runsMax) };
    const from = addr + frames.length * PAGE_BYTES;
    const left = count - frames.length;
    const got = space.holdRuns?.(from, left, access, hold, runs, 5, runsMax) ?? 0;
    assert.ok(got !== 0 && got <= runsMax);
    const rows = Math.max(got, 0);
    for (let row = 5; row < 5 + rows; row++) {
      assert.ok((runs.len[row] as number) > 0);
      for (let i = 0; i < (runs.len[row] as number); i++)
        frames.push((runs.page[row] as number) + i);
    }
    const others = [...runs.page.subarray(0, 5), ...runs.page.subarray(5 + rows)];
    assert.ok(
      others.every((page) => page === 0),
      'rows of others are as they were',
    );
    assert.ok(frames.length <= count);
    if (got < 0) return { frames, error: got };
  }
  return { frames, error: 0 };
}

/** The same, asked for page by page: the other door, which has tests of its own. */
function byPages(
  space: AddressSpace,
  addr: number,
  count: number,
  access: Access,
  hold: UserHold,
): { frames: number[]; error: number } {
  const frames: number[] = [];
  const out = new Uint32Array(1);
  while (frames.length < count) {
    const got = space.holdPages(addr + frames.length * PAGE_BYTES, 1, access, hold, out, 0);
    if (got < 0) return { frames, error: got };
    frames.push(out[0] as number);
  }
  return { frames, error: 0 };
}

function release(frames: readonly number[], hold: UserHold): void {
  for (const page of frames) (hold === PIN ? unpinPages : putPages)(page, 1);
}

function countsOf({ memory }: PinWorld): number[] {
  const { firstPage, frames } = memory.region;
  return Array.from(
    { length: frames },
    (_, i) => pinCount(firstPage + i) * 1e6 + refCount(firstPage + i),
  );
}

test('runs are the pages that the other door gives, with the same holds, faults and errors', () => {
  const asks = fc.record({
    at: fc.nat(PAGES - 1),
    count: fc.integer({ min: 1, max: PAGES }),
    access: fc.constantFrom(Access.READ, Access.WRITE),
    hold: fc.constantFrom(PIN, PIN, GET),
    runsMax: fc.constantFrom(1, 1, 2, 3, 40),
  });
  fc.assert(
    fc.property(lives, fc.array(asks, { minLength: 1, maxLength: 3 }), (life, questions) => {
      using one = new PinWorld();
      using other = new PinWorld();
      build(one, life);
      build(other, life);
      const taken: { frames: number[]; hold: UserHold }[] = [];
      for (const { at, count, access, hold, runsMax } of questions) {
        const addr = (FIRST + at) * PAGE_BYTES + 77;
        const runs = byRuns(one.space, addr, count, access, hold, runsMax);
        const pages = byPages(other.space, addr, count, access, hold);
        const shift = other.memory.region.firstPage - one.memory.region.firstPage;
        assert.deepEqual({ ...runs, frames: runs.frames.map((page) => page + shift) }, pages);
        taken.push({ frames: runs.frames, hold });
        taken.push({ frames: pages.frames, hold });
        assert.deepEqual(countsOf(one), countsOf(other));
        assert.deepEqual({ ...one.memory.counters }, { ...other.memory.counters });
        assert.equal(one.memory.region.pinnedPages, other.memory.region.pinnedPages);
      }
      for (const { frames, hold } of taken.reverse()) release(frames, hold);
      unpoisonAll(one);
      unpoisonAll(other);
    }),
    { numRuns: Math.max(Math.floor(RUNS.numRuns / 4), 50) },
  );
});

function unpoisonAll({ memory }: PinWorld): void {
  const { poisoned } = memory.columns;
  for (const [frame, is] of poisoned.entries()) {
    if (is === 1) memory.unpoison(memory.region.firstPage + frame);
  }
}

test('a folio is one run and one leaf; neighbours of other folios go on with the run', () => {
  using world = new PinWorld({ pages: 2048 });
  const addr = world.map(1024, { order: 9, touch: Access.WRITE });
  const first = world.frameAt(addr);
  const runs = { page: new Uint32Array(8), len: new Uint32Array(8) };
  const hold = (from: number, count: number, runsMax = 8): number =>
    world.space.holdRuns(addr + from * PAGE_BYTES, count, Access.WRITE, PIN, runs, 0, runsMax);
  assert.equal(hold(3, 1000), 1);
  assert.deepEqual([runs.page[0], runs.len[0]], [first + 3, 509]);
  assert.equal(pinCount(first), 509);
  unpinPages(first + 3, 509);
  const singles = world.map(8, { touch: Access.WRITE });
  const lens: number[] = [];
  const got = world.space.holdRuns(singles, 8, Access.READ, PIN, runs, 0, 8);
  for (let row = 0; row < got; row++) {
    lens.push(runs.len[row] as number);
    unpinPages(runs.page[row] as number, runs.len[row] as number);
  }
  const starts = Array.from({ length: 8 }, (_, i) => world.frameAt(singles + i * PAGE_BYTES));
  const breaks = starts.filter((page, i) => i === 0 || page !== (starts[i - 1] as number) + 1);
  assert.equal(got, breaks.length);
  assert.equal(
    lens.reduce((sum, len) => sum + len, 0),
    8,
  );
});

test('HOLDS_MAX ends a run inside its folio, and the next page has no room: -ENOMEM', () => {
  using world = new PinWorld();
  const addr = world.map(4, { order: 2, touch: Access.WRITE });
  const page = world.frameAt(addr);
  const { region } = world.memory;
  const runs = { page: new Uint32Array(1), len: new Uint32Array(1) };
  region.pins[page - region.firstPage] = HOLDS_MAX - 3;
  assert.equal(world.space.holdRuns(addr, 4, Access.WRITE, PIN, runs, 0, 1), 1);
  assert.deepEqual([runs.page[0], runs.len[0]], [page, 3]);
  const next = addr + 3 * PAGE_BYTES;
  assert.equal(world.space.holdRuns(next, 1, Access.WRITE, PIN, runs, 0, 1), -Errno.ENOMEM);
  region.pins[page - region.firstPage] = 3;
  unpinPages(page, 3);
});

test('a range past the addresses of a program is -EFAULT, and nothing is asked of nothing', () => {
  using world = new PinWorld();
  const runs = { page: new Uint32Array(1), len: new Uint32Array(1) };
  const end = 2 ** 47 - PAGE_BYTES;
  const ask = (addr: number, count: number, runsMax = 1): number =>
    world.space.holdRuns(addr, count, Access.READ, PIN, runs, 0, runsMax);
  assert.equal(ask(end - PAGE_BYTES, 2), -Errno.EFAULT);
  assert.equal(ask(end - PAGE_BYTES, 1), -Errno.EFAULT);
  assert.equal(ask(0, 0), 0);
  assert.equal(ask(0, 1, 0), 0);
});

test('tables of mapped pages, and memory of the program: the same pages by both doors', () => {
  using arena = new Arena({ maxBytes: 64 * PAGE_BYTES });
  const folio = arena.getFolio(4);
  const gone = arena.getFolio(0);
  arena.putFolio(gone);
  const pageArb = fc.option(fc.tuple(fc.nat(16), fc.boolean()));
  const question = fc.tuple(
    fc.nat(11),
    fc.integer({ min: 1, max: 20 }),
    fc.integer({ min: 1, max: 4 }),
  );
  fc.assert(
    fc.property(
      fc.array(pageArb, { minLength: 12, maxLength: 12 }),
      question,
      fc.constantFrom(Access.READ, Access.WRITE),
      fc.constantFrom(PIN, GET),
      (entries, [at, count, runsMax], access, hold) => {
        const space = new MappedSpace();
        const base = 512 - 6;
        for (const [i, entry] of entries.entries()) {
          if (entry === null) continue;
          const [which, readOnly] = entry;
          const page = which === 16 ? gone : folio + which;
          space.map((base + i) * PAGE_BYTES, page, { readOnly });
        }
        const addr = (base + at) * PAGE_BYTES + 9;
        const runs = byRuns(space, addr, count, access, hold, runsMax);
        const pins = pinCount(folio) * 1e6 + refCount(folio);
        release(runs.frames, hold);
        const pages = byPages(space, addr, count, access, hold);
        assert.deepEqual(runs, pages);
        assert.equal(pinCount(folio) * 1e6 + refCount(folio), pins);
        release(pages.frames, hold);
      },
    ),
    RUNS,
  );
  for (const from of [0, 3, 15]) {
    const runs = byRuns(ARENA_SPACE, (folio + from) * PAGE_BYTES + 5, 20, Access.READ, PIN, 2);
    const wanted = Array.from({ length: 16 - from }, (_, i) => folio + from + i);
    assert.deepEqual(runs, { frames: wanted, error: -Errno.EFAULT });
    release(runs.frames, PIN);
  }
  arena.putFolio(folio);
  arena.assertNothingOutstanding();
});

test('a page of a folio that was copied for its writer ends the run', () => {
  using world = new PinWorld();
  const addr = world.map(4, { order: 2, touch: Access.WRITE });
  const folio = world.frameAt(addr);
  world.space.fork('child');
  assert.equal(world.space.write(addr + PAGE_BYTES, Uint8Array.of(1)), 1);
  const copy = world.frameAt(addr + PAGE_BYTES);
  const wanted = { frames: [folio, copy, folio + 2, folio + 3], error: 0 };
  const runs = byRuns(world.space, addr, 4, Access.READ, GET, 4);
  assert.deepEqual(runs, wanted);
  release(runs.frames, GET);
});
