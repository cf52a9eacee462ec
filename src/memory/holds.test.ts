import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import { Arena } from './arena.ts';
import {
  dirtyRange,
  folioHead,
  folioPages,
  getPages,
  HoldKind,
  isDirty,
  maybePinned,
  pinCount,
  pinPages,
  pinTotals,
  putPages,
  refCount,
  releaseHold,
  unpinPages,
} from './holds.ts';

const ORDERS = [0, 0, 1, 2, 3, 0, 4];

/** Folios of several orders that lie one behind the other: pages 0 … 33 of the arena. */
function takeFolios(arena: Arena): number[] {
  const heads: number[] = [];
  let frame = 0;
  for (const order of ORDERS) {
    frame = Math.ceil(frame / 2 ** order) * 2 ** order;
    assert.ok(arena.claimFolio(frame, order));
    heads.push(arena.region.firstPage + frame);
    frame += 2 ** order;
  }
  return heads;
}

interface Held {
  readonly kind: 'pin' | 'get';
  readonly page: number;
  readonly pages: number;
}

test('1, 2: paired get, pin, put, unpin: counts are exact and come back to the start', () => {
  using arena = new Arena({ maxBytes: MIB });
  const heads = takeFolios(arena);
  const step = fc.record({
    kind: fc.constantFrom('pin' as const, 'get' as const, 'undo' as const),
    folio: fc.nat(ORDERS.length - 1),
    at: fc.nat(15),
    pages: fc.nat(15),
    pick: fc.nat(1000),
  });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const before = { ...pinTotals };
      const held: Held[] = [];
      const check = (): void => {
        for (const head of heads) {
          const pages = (kind: Held['kind']): number =>
            held
              .filter((hold) => hold.kind === kind && folioHead(hold.page) === head)
              .reduce((sum, hold) => sum + hold.pages, 0);
          assert.equal(pinCount(head), pages('pin'));
          assert.equal(refCount(head), 1 + pages('get'));
          assert.equal(maybePinned(head), pages('pin') > 0);
        }
        const pinned = held.filter(({ kind }) => kind === 'pin');
        const sum = pinned.reduce((total, { pages }) => total + pages, 0);
        assert.equal(
          pinTotals.acquired - before.acquired,
          pinTotals.released - before.released + sum,
        );
        assert.equal(arena.stats().pinnedPages, sum);
      };
      const undo = ({ kind, page, pages }: Held): void => {
        releaseHold(kind === 'pin' ? HoldKind.PINNED : HoldKind.REFERENCED, page, pages);
      };
      for (const { kind, folio, at, pages, pick } of steps) {
        if (kind === 'undo') {
          const [last] = held.splice(pick % Math.max(held.length, 1), 1);
          if (last !== undefined) undo(last);
        } else {
          const head = heads[folio] as number;
          const page = head + (at % folioPages(head));
          const count = 1 + (pages % (head + folioPages(head) - page));
          assert.equal((kind === 'pin' ? pinPages : getPages)(page, count), count);
          held.push({ kind, page, pages: count });
        }
        check();
      }
      held.splice(0).forEach(undo);
      check();
      assert.equal(pinTotals.acquired - before.acquired, pinTotals.released - before.released);
    }),
    RUNS,
  );
  for (const head of heads) arena.putFolio(head);
  arena.assertNothingOutstanding();
});

test('a range over many folios is held in each, and only as far as memory is alive', () => {
  using arena = new Arena({ maxBytes: MIB });
  const heads = takeFolios(arena);
  const first = heads[0] as number;
  const alive = new Map<number, number>();
  for (const head of heads) {
    for (let i = 0; i < folioPages(head); i++) alive.set(head + i, head);
  }
  fc.assert(
    fc.property(fc.nat(33), fc.integer({ min: 1, max: 40 }), fc.boolean(), (at, pages, pins) => {
      const expected = new Map<number, number>();
      let count = 0;
      for (; count < pages && alive.has(first + at + count); count++) {
        const head = alive.get(first + at + count) as number;
        expected.set(head, (expected.get(head) ?? 0) + 1);
      }
      assert.equal((pins ? pinPages : getPages)(first + at, pages), count);
      for (const head of heads) {
        const held = pins ? pinCount(head) : refCount(head) - 1;
        assert.equal(held, expected.get(head) ?? 0);
      }
      if (count > 0) (pins ? unpinPages : putPages)(first + at, count);
    }),
    RUNS,
  );
  for (const head of heads) arena.putFolio(head);
  arena.assertNothingOutstanding();
});

// Guards: a free frame kept the head of a folio that was cut since, and pinning it subtracted pins
// from a stranger.
test('pinning memory that was released holds nothing, whatever lies around it now', () => {
  using arena = new Arena({ maxBytes: 16 * PAGE_BYTES });
  const quad = arena.getFolio(2);
  arena.putFolio(quad);
  const single = arena.getFolio(0);
  assert.equal(single, quad, 'the same frames serve again');
  for (const page of [quad + 1, quad + 2, quad + 3]) {
    assert.equal(pinPages(page, 1), 0);
    assert.equal(getPages(page, 2), 0);
  }
  assert.equal(pinPages(quad, 4), 1, 'the first page alone is alive');
  assert.equal(pinCount(single), 1);
  unpinPages(quad, 1);
  arena.putFolio(single);
  arena.assertNothingOutstanding();
});

test('a pin outlives the reference, a reference outlives the pin', () => {
  using arena = new Arena({ maxBytes: 4 * PAGE_BYTES });
  for (const kind of [HoldKind.PINNED, HoldKind.REFERENCED]) {
    const page = arena.getFolio(2);
    assert.equal((kind === HoldKind.PINNED ? pinPages : getPages)(page + 3, 1), 1);
    arena.putFolio(page);
    assert.equal(arena.getFolio(0), -1, 'the folio is still held');
    assert.equal(refCount(page) + pinCount(page), 1);
    releaseHold(kind, page + 3, 1);
    assert.equal(arena.stats().usedBytes, 0);
  }
  arena.assertNothingOutstanding();
});

test('letting go of more than was taken is a bug, and each kind has its own count', () => {
  using arena = new Arena({ maxBytes: MIB });
  const page = arena.getFolio(1);
  getPages(page, 2);
  assert.throws(() => unpinPages(page, 1), /more pages than were pinned/);
  const pinned = arena.region.pinnedPages;
  arena.region.pinnedPages = 0; // The failed call counted itself.
  pinTotals.released += pinned;
  putPages(page, 2);
  arena.putFolio(page);
  assert.throws(() => putPages(page, 1), /more references than were taken/);
});

test('borrowed and owned pages are nobody else’s to release', () => {
  using arena = new Arena({ maxBytes: MIB });
  const page = arena.getFolio(0);
  releaseHold(HoldKind.BORROWED, page, 1);
  releaseHold(HoldKind.OWNED, page, 1);
  assert.equal(refCount(page), 1);
  arena.putFolio(page);
  arena.assertNothingOutstanding();
});

test('dirtyRange marks exactly the folios under the bytes', () => {
  using arena = new Arena({ maxBytes: MIB });
  const length = fc.integer({ min: 1, max: 6 * PAGE_BYTES });
  fc.assert(
    fc.property(fc.nat(10 * PAGE_BYTES), length, (offset, bytes) => {
      const heads = takeFolios(arena);
      const first = heads[0] as number;
      const pageOf = (at: number): number => first + Math.floor(at / PAGE_BYTES);
      const touched = new Set<number>();
      for (let at = offset; at < offset + bytes; at += 256) touched.add(folioHead(pageOf(at)));
      touched.add(folioHead(pageOf(offset + bytes - 1)));
      dirtyRange(first, offset, bytes);
      for (const head of heads)
        assert.equal(isDirty(head), touched.has(head), `at ${head - first}`);
      for (const head of heads) arena.putFolio(head);
      arena.assertNothingOutstanding();
    }),
    RUNS,
  );
});
