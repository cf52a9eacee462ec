import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BlockError } from '../base/block-error.ts';
import { RUNS } from '../base/runs.fuzz.ts';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import { Arena } from './arena.ts';
import { ArenaModel } from './arena-model.fuzz.ts';
import { pinPages, unpinPages } from './holds.ts';

const isError =
  (code: string, ...parts: string[]) =>
  (error: unknown): boolean =>
    error instanceof BlockError &&
    error.code === code &&
    parts.every((part) => error.reason.includes(part));

const step = fc.record({
  kind: fc.constantFrom('alloc', 'folio', 'release', 'release', 'pin', 'unpin'),
  pages: fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 200 })),
  order: fc.nat(6),
  pick: fc.nat(1000),
});

test('random alloc, release, pin, unpin: one owner per frame, sums right, all joins again', () => {
  const FRAMES = 256;
  using arena = new Arena({ maxBytes: FRAMES * PAGE_BYTES, places: false });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const model = new ArenaModel(arena);
      for (const { kind, pages, order, pick } of steps) {
        const block = model.blocks[pick % Math.max(model.blocks.length, 1)];
        if (kind === 'alloc') {
          const bytes = pages * PAGE_BYTES - (pick % PAGE_BYTES);
          try {
            const buffer = arena.alloc(bytes);
            assert.equal(buffer.length, bytes);
            model.add(buffer.page, pages, buffer);
          } catch (error) {
            assert.ok(isError('ENOMEM', `in arena 'arena'`)(error), String(error));
          }
        } else if (kind === 'folio') {
          const page = arena.getFolio(order);
          if (page >= 0) {
            assert.equal(page % 2 ** order, 0, 'a folio starts at a multiple of its size');
            model.add(page, 2 ** order, null);
          }
        } else if (block === undefined) continue;
        else if (kind === 'release') model.release(block);
        else if (kind === 'pin') model.pin(block, pick, pages);
        else model.unpin(block, pick);
        model.check();
      }
      model.releaseAll();
      arena.assertNothingOutstanding();
      // Joined again: the whole budget is one contiguous range.
      const all = arena.alloc(FRAMES * PAGE_BYTES);
      assert.equal(all.page % 256, 0);
      all.release();
      arena.assertNothingOutstanding();
    }),
    RUNS,
  );
});

test('buffers hold their bytes apart from each other', () => {
  using arena = new Arena({ maxBytes: MIB, places: false });
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 30_000 }), { maxLength: 12 }), (sizes) => {
      const buffers = sizes.map((size, i) => {
        const buffer = arena.alloc(size);
        assert.equal(buffer.bytes.byteOffset % PAGE_BYTES, 0);
        buffer.bytes.fill(i + 1);
        return buffer;
      });
      buffers.forEach((buffer, i) => {
        assert.ok(buffer.bytes.every((byte) => byte === i + 1));
        assert.deepEqual([...buffer.copy().slice(0, 2)], [...buffer.bytes.slice(0, 2)]);
        buffer.release();
      });
      arena.assertNothingOutstanding();
    }),
    RUNS,
  );
});

// Guards: growth that stopped at the budget was taken for no growth, so the first allocation of
// every arena of less than 4 MiB was refused.
test('the first allocation of a small arena succeeds, and the whole budget can be had', () => {
  for (const maxBytes of [PAGE_BYTES, 3 * PAGE_BYTES, MIB, 3 * MIB, 5 * MIB, 7 * MIB + 123]) {
    using arena = new Arena({ maxBytes });
    arena.alloc(1).release();
    const pages = Math.floor(maxBytes / PAGE_BYTES);
    const all = arena.alloc(pages * PAGE_BYTES);
    assert.equal(arena.stats().freeBytes, 0);
    assert.throws(() => arena.alloc(1), isError('ENOMEM'));
    all.release();
    arena.assertNothingOutstanding();
  }
});

test('above 4 MiB a buffer is contiguous over many folios, also when others lie around', () => {
  using arena = new Arena({ maxBytes: 32 * MIB });
  const first = arena.alloc(PAGE_BYTES);
  const large = arena.alloc(9 * MIB + 5);
  const last = arena.alloc(PAGE_BYTES);
  large.bytes.fill(7);
  first.bytes.fill(1);
  last.bytes.fill(2);
  assert.ok(large.bytes.every((byte) => byte === 7));
  assert.equal(arena.stats().usedBytes, Math.ceil((9 * MIB + 5) / PAGE_BYTES + 2) * PAGE_BYTES);
  large.release();
  const again = arena.alloc(20 * MIB);
  for (const buffer of [again, first, last]) buffer.release();
  arena.assertNothingOutstanding();
});

test('claimFolio takes exactly that folio, once', () => {
  using arena = new Arena({ maxBytes: 4 * MIB });
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(1023), fc.nat(5)), { maxLength: 20 }), (claims) => {
      const taken = new Set<number>();
      const heads: number[] = [];
      for (const [at, order] of claims) {
        const size = 2 ** order;
        const head = at - (at % size);
        const frames = Array.from({ length: size }, (_, i) => head + i);
        const expected = frames.every((frame) => !taken.has(frame));
        assert.equal(arena.claimFolio(head, order), expected);
        if (!expected) continue;
        for (const frame of frames) taken.add(frame);
        heads.push(head);
      }
      assert.equal(arena.stats().usedBytes, taken.size * PAGE_BYTES);
      for (const head of heads) arena.putFolio(arena.region.firstPage + head);
      arena.assertNothingOutstanding();
    }),
    RUNS,
  );
  assert.equal(arena.claimFolio(1024, 0), false, 'beyond the budget');
  arena.assertNothingOutstanding();
});

test('failures are counted by order when enough frames are free but scattered', () => {
  using arena = new Arena({ maxBytes: 8 * PAGE_BYTES });
  const pages = Array.from({ length: 8 }, () => arena.getFolio(0));
  assert.equal(arena.getFolio(0), -1); // Nothing free at all: that is no fragmentation.
  for (const page of pages) if (page % 2 === 0) arena.putFolio(page);
  assert.equal(arena.getFolio(1), -1);
  assert.equal(arena.getFolio(2), -1);
  assert.equal(arena.getFolio(2), -1);
  assert.equal(arena.getFolio(3), -1); // Only 4 of 8 frames are free.
  assert.deepEqual(arena.stats().failuresByOrder.slice(0, 4), [0, 1, 2, 0]);
  for (const page of pages) if (page % 2 === 1) arena.putFolio(page);
  arena.assertNothingOutstanding();
});

test('memory released in flight comes back with the last pin, not before', () => {
  using arena = new Arena({ maxBytes: 4 * PAGE_BYTES });
  const buffer = arena.alloc(4 * PAGE_BYTES);
  buffer.bytes.fill(9);
  assert.equal(pinPages(buffer.page + 1, 2), 2);
  buffer.release();
  assert.throws(() => arena.alloc(1), isError('ENOMEM'));
  assert.ok(buffer.bytes.every((byte) => byte === 9));
  assert.throws(() => arena.assertNothingOutstanding(), isError('ERR_BIOVEC_LEAK', '2 pages'));
  unpinPages(buffer.page + 1, 1);
  assert.throws(() => arena.alloc(1), isError('ENOMEM'));
  unpinPages(buffer.page + 2, 1);
  arena.alloc(4 * PAGE_BYTES).release();
  arena.assertNothingOutstanding();
});

test('a double release names the place of the acquisition and of the first release', () => {
  using arena = new Arena({ maxBytes: MIB });
  const buffer = arena.alloc(100, 'header');
  buffer.release();
  const parts = ["buffer 'header' of 100 bytes", 'acquired at', 'first at', 'arena.test.ts'];
  assert.throws(() => buffer.release(), isError('ERR_BIOVEC_RELEASED', ...parts));
  buffer[Symbol.dispose](); // `using` after a release by hand is fine.
  assert.ok(buffer.isReleased);
  arena.assertNothingOutstanding();
});

test('a leak report names who acquired, and where', () => {
  using arena = new Arena({ maxBytes: MIB, label: 'mine' });
  const header = arena.alloc(512, 'header');
  const body = arena.alloc(4096, 'body');
  assert.equal(arena.report().length, 2);
  const parts = ["arena 'mine'", "'header'", "'body'", 'arena.test.ts'];
  assert.throws(() => arena.assertNothingOutstanding(), isError('ERR_BIOVEC_LEAK', ...parts));
  arena.assertNothingOutstanding({ buffers: false });
  header.release();
  body.release();
  const folio = arena.getFolio(1);
  assert.throws(
    () => arena.assertNothingOutstanding(),
    isError('ERR_BIOVEC_LEAK', '2 page frames'),
  );
  arena.putFolio(folio);
  arena.assertNothingOutstanding();
});

test('the data plane notices a folio that is released twice', () => {
  using arena = new Arena({ maxBytes: MIB });
  const folio = arena.getFolio(3);
  arena.putFolio(folio);
  assert.throws(() => arena.putFolio(folio), /released twice/);
});

test('sizes that no arena has are EINVAL', () => {
  for (const maxBytes of [0, -1, 4095, 2 ** 32 + 1, 1.5 * PAGE_BYTES + 0.5, Number.NaN]) {
    assert.throws(() => new Arena({ maxBytes }), isError('EINVAL', String(maxBytes)));
  }
  using arena = new Arena({ maxBytes: MIB });
  for (const bytes of [0, -1, 0.5, Number.NaN, 2 ** 60]) {
    assert.throws(() => arena.alloc(bytes), isError('EINVAL'));
  }
  assert.throws(() => arena.alloc(2 * MIB), isError('ENOMEM', '2 MiB', '0 B of 1 MiB'));
  arena.assertNothingOutstanding();
});
