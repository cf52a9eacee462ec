import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../base/errno.ts';
import { RUNS } from '../../base/runs.fuzz.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import { folioHead, isDirty, maybePinned, pinCount, refCount } from '../holds.ts';
import { FrameFlag, frameOf, regionOf } from '../region.unsafe.ts';
import { DeferredDirty } from './deferred-dirty.ts';
import { Pte } from './page-table.ts';
import { tryPinUserPages } from './pin-user-pages.ts';
import {
  assertWritten,
  emptyList,
  FAST_ONLY,
  GET,
  LONGTERM,
  NOFAULT,
  NONE,
  NOWAIT,
  PIN_WRITE,
  PinWorld,
  READ,
  UNTOUCHED,
  WRITE,
} from './pin-world.fuzz.ts';
import {
  putUserPages,
  tryUnpinUserPagesDirtyLock,
  unpinUserPages,
  unpinUserPagesDirty,
} from './unpin-user-pages.ts';

const PS = PAGE_BYTES;
const BASE = 2 ** 30;
const PAGES = 24;

/** What a stretch of addresses is. `allows`: may it be read, written, or written for long? */
const KINDS = {
  hole: { allows: '', shared: false },
  none: { allows: '', shared: false },
  io: { allows: '', shared: true },
  anonymous: { allows: 'rwl', shared: false },
  readOnly: { allows: 'r', shared: false },
  huge: { allows: 'rwl', shared: false },
  shared: { allows: 'rwl', shared: true },
  file: { allows: 'rwl', shared: true },
  tracked: { allows: 'rw', shared: true },
  private: { allows: 'rwl', shared: false },
} as const;
type Kind = keyof typeof KINDS;

interface Stretch {
  readonly kind: Kind;
  readonly pages: number;
}

interface Layout {
  readonly stretches: readonly Stretch[];
  /** Accesses of the program before: page and whether it writes. */
  readonly touches: readonly (readonly [number, boolean])[];
  /** Another process shares what is there; it writes these pages. */
  readonly forked: readonly number[] | null;
  readonly hinted: boolean;
}

const kinds = fc.constantFrom(...(Object.keys(KINDS) as Kind[]), 'anonymous', 'anonymous');
const layouts: fc.Arbitrary<Layout> = fc.record({
  stretches: fc.array(fc.record({ kind: kinds, pages: fc.integer({ min: 1, max: 8 }) }), {
    minLength: 1,
    maxLength: 6,
  }),
  touches: fc.array(fc.tuple(fc.nat(PAGES - 1), fc.boolean()), { maxLength: 30 }),
  forked: fc.option(fc.array(fc.nat(PAGES - 1), { maxLength: 5 })),
  hinted: fc.boolean(),
});

/** Builds the space at BASE and returns the kind of each of PAGES pages. */
function build(world: PinWorld, layout: Layout): Kind[] {
  const { space } = world;
  const kindOf: Kind[] = [];
  for (const { kind, pages } of layout.stretches) {
    const fit = Math.min(pages, PAGES - kindOf.length);
    if (fit === 0) break;
    mapStretch(world, kind, BASE + kindOf.length * PS, fit);
    for (let i = 0; i < fit; i++) kindOf.push(kind);
  }
  while (kindOf.length < PAGES) kindOf.push('hole');
  for (const [page, writes] of layout.touches) {
    space.fault(BASE + page * PS, writes ? Access.WRITE : Access.READ, 0);
  }
  for (const [page, kind] of kindOf.entries()) {
    if (kind === 'none') space.mprotect(BASE + page * PS, PS, NONE);
  }
  if (layout.forked !== null) {
    const child = space.fork('child');
    for (const page of layout.forked) child.write(BASE + page * PS, Uint8Array.of(1));
  }
  if (layout.hinted) space.hint(BASE, PAGES * PS);
  return kindOf;
}

function mapStretch(world: PinWorld, kind: Kind, addr: number, pages: number): void {
  if (kind === 'hole') return;
  const hasFile = kind === 'io' || kind === 'file' || kind === 'tracked' || kind === 'private';
  const result = world.space.mmap({
    addr,
    bytes: pages * PS,
    protection: kind === 'readOnly' ? READ : WRITE,
    shared: KINDS[kind].shared,
    ops: hasFile ? world.file(pages, { tracksDirty: kind === 'tracked' }) : null,
    io: kind === 'io',
    folioOrder: kind === 'huge' ? 2 : 0,
  });
  assert.equal(result, addr);
}

const flagSets = fc.constantFrom(
  0,
  PIN_WRITE,
  GET,
  GET | PIN_WRITE,
  LONGTERM,
  LONGTERM | PIN_WRITE,
  NOWAIT,
  NOWAIT | PIN_WRITE,
);
const asks = fc.record({
  at: fc.nat(PAGES - 1),
  offset: fc.nat(PS - 1),
  count: fc.nat(PAGES),
  flags: flagSets,
});

/** The model: how many pages the contract gives, or the error. No table, no faults. */
function expectedHeld(kindOf: readonly Kind[], at: number, count: number, flags: number): number {
  const isWrite = (flags & PIN_WRITE) !== 0;
  const need = !isWrite ? 'r' : (flags & LONGTERM) !== 0 ? 'l' : 'w';
  let held = 0;
  while (held < count) {
    const kind = kindOf[at + held] ?? 'hole';
    if (!KINDS[kind].allows.includes(need)) break;
    held++;
  }
  return held > 0 || count === 0 ? held : -Errno.EFAULT;
}

function counts(world: PinWorld): number[] {
  const { firstPage, frames } = world.memory.region;
  return Array.from(
    { length: frames },
    (_, i) => pinCount(firstPage + i) * 1e6 + refCount(firstPage + i),
  );
}

/** Each hold of the list is there, of its kind; a page of the list belongs to its address. */
function checkHolds(
  world: PinWorld,
  kindOf: readonly Kind[],
  at: number,
  held: number,
  flags: number,
  out: Uint32Array,
): void {
  const { memory, space } = world;
  const isGet = (flags & GET) !== 0;
  const isWrite = (flags & PIN_WRITE) !== 0;
  for (let i = 0; i < held; i++) {
    const page = out[2 + i] as number;
    const vpn = BASE / PS + at + i;
    const bits = space.table.bitsAt(vpn);
    assert.ok((bits & Pte.PRESENT) !== 0 && space.table.frameAt(vpn) === page);
    if (isWrite) assert.ok((bits & Pte.WRITE) !== 0 && page !== memory.zeroPage);
    if (isGet || page === memory.zeroPage) continue;
    assert.ok(maybePinned(page), '2: pinned means maybePinned');
    const isShared = KINDS[kindOf[at + i] as Kind].shared;
    const frame = page - memory.region.firstPage;
    const region = memory.region;
    const isAnon = ((region.flags[region.head[frame] as number] as number) & FrameFlag.ANON) !== 0;
    const mustOwn = isAnon || (!isShared && (flags & LONGTERM) !== 0);
    if (mustOwn) assert.equal(memory.columns.exclusive[frame], 1, 'the process has it alone');
    if ((flags & LONGTERM) !== 0) assert.equal(memory.isMovable(page), false, '8');
  }
}

test('1-6, 8: any pin or get over any space: what the contract says, and back to the start', () => {
  fc.assert(
    fc.property(layouts, fc.array(asks, { minLength: 1, maxLength: 4 }), (layout, questions) => {
      using world = new PinWorld({ pages: 256, movableFrom: 128 });
      const kindOf = build(world, layout);
      const zeroRefs = refCount(world.memory.zeroPage);
      const taken: { out: Uint32Array; held: number; flags: number }[] = [];
      for (const { at, offset, count, flags } of questions) {
        const out = emptyList(count);
        const pins = world.outstandingPins;
        const held = tryPinUserPages(world.space, BASE + at * PS + offset, count, flags, out, 2);
        const expected = expectedHeld(kindOf, at, count, flags);
        // A short hold of a movable folio by an earlier question keeps LONGTERM from moving it.
        const mayBeBusy = (flags & LONGTERM) !== 0 && taken.length > 0;
        if (!(mayBeBusy && held === -Errno.EBUSY)) assert.equal(held, expected);
        assertWritten(out, Math.max(held, 0));
        const zeros = [...out].filter((page) => page === world.memory.zeroPage).length;
        const counted = (flags & GET) !== 0 ? 0 : Math.max(held, 0) - zeros;
        assert.equal(world.outstandingPins - pins, counted, '4: holds = result');
        checkHolds(world, kindOf, at, held, flags, out);
        if (held > 0) taken.push({ out, held, flags });
      }
      // The sum over each folio is exact, whatever lies on top of what.
      const expectedPins = new Map<number, number>();
      for (const { out, held, flags } of taken) {
        if ((flags & GET) !== 0) continue;
        for (const page of out.slice(2, 2 + held)) {
          if (page === world.memory.zeroPage) continue;
          expectedPins.set(folioHead(page), (expectedPins.get(folioHead(page)) ?? 0) + 1);
        }
      }
      for (const [head, pins] of expectedPins) assert.equal(pinCount(head), pins);
      assert.equal(pinCount(world.memory.zeroPage), 0, '3');
      for (const { out, held, flags } of taken.reverse()) {
        ((flags & GET) !== 0 ? putUserPages : unpinUserPages)(out, 2, held);
      }
      for (const head of expectedPins.keys()) assert.equal(maybePinned(head), false);
      assert.equal(refCount(world.memory.zeroPage), zeroRefs);
    }),
    RUNS,
  );
});

test('5, 6: the same pages and holds from any address in the page, at once or in batches', () => {
  const batches = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(layouts, asks, batches, (layout, { at, offset, count, flags }, sizes) => {
      using world = new PinWorld({ pages: 256, movableFrom: 128 });
      build(world, layout);
      const { space } = world;
      const once = emptyList(count);
      const held = Math.max(tryPinUserPages(space, BASE + at * PS, count, flags, once, 2), 0);
      const release = (flags & GET) !== 0 ? putUserPages : unpinUserPages;
      const after = counts(world);
      release(once, 2, held);
      const parts = emptyList(count);
      let done = 0;
      for (let i = 0; done < count; i++) {
        const size = Math.min(sizes[i % sizes.length] as number, count - done);
        const from = BASE + (at + done) * PS + offset;
        const got = tryPinUserPages(space, from, size, flags, parts, 2 + done);
        if (got <= 0) break;
        done += got;
      }
      assert.equal(done, held);
      assert.deepEqual(parts, once);
      assert.deepEqual(counts(world), after);
      release(parts, 2, done);
    }),
    RUNS,
  );
});

test('FAST_ONLY and NOFAULT hold a prefix of the full call and fault nothing in', () => {
  const modes = fc.constantFrom(FAST_ONLY, NOFAULT);
  fc.assert(
    fc.property(layouts, asks, modes, (layout, { at, count, flags }, mode) => {
      using world = new PinWorld({ pages: 256 });
      const kindOf = build(world, layout);
      const { space } = world;
      const kept = flags & (PIN_WRITE | GET);
      const bits = (): number[] =>
        Array.from({ length: PAGES }, (_, i) => space.table.bitsAt(BASE / PS + i));
      const before = bits();
      const out = emptyList(count);
      const held = tryPinUserPages(space, BASE + at * PS, count, kept | mode, out, 2);
      assert.deepEqual(bits(), before);
      if (count > 0 && mode === NOFAULT) assert.notEqual(held, 0);
      if (mode === FAST_ONLY) assert.ok(held >= 0);
      const got = Math.max(held, 0);
      assertWritten(out, got);
      assert.ok(got <= Math.max(expectedHeld(kindOf, at, count, kept), 0));
      checkHolds(world, kindOf, at, got, kept, out);
      ((flags & GET) !== 0 ? putUserPages : unpinUserPages)(out, 2, got);
      // Asked again it gives the same, so nothing stayed behind.
      const again = emptyList(count);
      assert.equal(tryPinUserPages(space, BASE + at * PS, count, kept | mode, again, 2), held);
      assert.deepEqual(again, out);
      ((flags & GET) !== 0 ? putUserPages : unpinUserPages)(again, 2, got);
    }),
    RUNS,
  );
});

type Step = 'clean' | 'lock' | 'unlock';
const steps = fc.array(fc.tuple(fc.constantFrom<Step>('clean', 'lock', 'unlock'), fc.nat(7)), {
  maxLength: 12,
});

/** Writeback and lock holders act on the pages; a folio that they clean was written before. */
function act(
  world: PinWorld,
  pages: readonly number[],
  step: Step,
  which: number,
  locked: Set<number>,
): void {
  const page = folioHead(pages[which % pages.length] as number);
  const { locks } = world.memory;
  if (step === 'lock' && locks.tryLock(page)) locked.add(page);
  if (step === 'unlock' && locked.delete(page)) locks.unlock(page);
  if (step !== 'clean' || locks.isLocked(page)) return;
  const region = regionOf(page);
  region.flags[frameOf(page)] &= ~FrameFlag.DIRTY;
}

test('10: dirty after the last byte and before the last unpin, whoever cleans or locks', () => {
  const ends = fc.constantFrom('dirty', 'lock', 'deferred');
  fc.assert(
    fc.property(steps, steps, steps, ends, (before, during, after, how) => {
      using world = new PinWorld();
      const small = world.map(4, { touch: Access.WRITE });
      const large = world.map(4, { order: 2, touch: Access.WRITE });
      const out = emptyList(8);
      assert.equal(tryPinUserPages(world.space, small, 4, PIN_WRITE, out, 2), 4);
      assert.equal(tryPinUserPages(world.space, large, 4, PIN_WRITE, out, 6), 4);
      const pages = [...out.slice(2, 10)];
      const { locks } = world.memory;
      const locked = new Set<number>();
      const worker: (() => void)[] = [];
      const deferred = new DeferredDirty(locks, (run) => void worker.push(run));
      let released = false;
      for (const [step, which] of before) act(world, pages, step, which, locked);
      if (how === 'deferred') deferred.prepare(out, 2, 8);
      for (const [step, which] of during) act(world, pages, step, which, locked);
      // The last byte has arrived. A folio is seen dirty from here on, while it is pinned, or not.
      const seen = new Set<number>();
      const look = (): void => {
        for (const page of pages) if (maybePinned(page) && isDirty(page)) seen.add(folioHead(page));
      };
      const unlock = locks.unlock.bind(locks);
      locks.unlock = (page: number): void => {
        look();
        unlock(page);
      };
      look();
      let next = 2;
      if (how === 'dirty') unpinUserPagesDirty(out, 2, 8);
      else if (how === 'deferred') released = deferred.complete(() => (released = true));
      else next += tryUnpinUserPagesDirtyLock(locks, out, 2, 8, true);
      if (how === 'dirty') for (const page of pages) if (isDirty(page)) seen.add(folioHead(page));
      for (const [step, which] of after) act(world, pages, step, which, locked);
      if (!released) worker[0]?.();
      for (const page of locked) locks.unlock(page);
      if (how === 'lock') tryUnpinUserPagesDirtyLock(locks, out, next, 10 - next, true);
      assert.equal(world.outstandingPins, 0);
      for (const page of pages) assert.ok(seen.has(folioHead(page)), 'a dirty bit was lost');
      assert.ok(how !== 'deferred' || released);
      assert.equal(out[10], UNTOUCHED);
    }),
    RUNS,
  );
});
