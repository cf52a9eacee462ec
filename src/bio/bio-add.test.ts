import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { MIB, PAGE_BYTES, pagesSpanned } from '../base/units.ts';
import { Arena } from '../memory/arena.ts';
import {
  folioHead,
  getPages,
  HoldKind,
  isDirty,
  pinCount,
  pinPages,
  refCount,
} from '../memory/holds.ts';
import { BIO_BYTES_MAX, type Bio, isFull } from './bio.ts';
import { addSegment, releasePages, trimBio } from './bio-add.ts';
import { BioOp } from './bio-op.ts';
import { BioPool } from './bio-pool.ts';

const PAGES = 24;
const arena = new Arena({ maxBytes: MIB, places: false });
/** Global number of page 0: it is 0 only for the first arena of a process. */
const BASE = arena.region.firstPage;
const { PINNED, REFERENCED } = HoldKind;
const pool = new BioPool({ bios: 4, rows: 512 });

/** Folios of orders 0, 1 and 3 in turn, claimed so that pages 0 … 23 are one physical range. */
function takePages(): number[] {
  const heads: number[] = [];
  for (let frame = 0; frame < PAGES; ) {
    const order = frame % 8 === 0 && frame % 16 === 8 ? 3 : frame % 4 === 2 ? 1 : 0;
    assert.ok(arena.claimFolio(frame, order));
    heads.push(BASE + frame);
    frame += 2 ** order;
  }
  return heads;
}

const pieceArb = fc.record({
  at: fc.nat((PAGES - 4) * PAGE_BYTES),
  len: fc.oneof(fc.constantFrom(512, 4096), fc.integer({ min: 1, max: 3 * PAGE_BYTES })),
  hold: fc.constantFrom(PINNED, PINNED, REFERENCED, HoldKind.BORROWED, HoldKind.OWNED),
  follows: fc.boolean(),
});

/** One entry for every page and hold that somebody still has to let go. */
interface Model {
  /** Address of each byte, in order. */
  readonly bytes: number[];
  readonly holds: HoldKind[];
}

/** Every row holds the pages under it, in its own way. */
function checkHolds(bio: Bio, heads: readonly number[]): void {
  const pins = new Map<number, number>();
  const refs = new Map<number, number>();
  for (let row = bio.first; row < bio.first + bio.vcnt; row++) {
    const { page, offset, len, hold } = bio.table;
    const counts =
      hold[row] === HoldKind.PINNED ? pins : hold[row] === HoldKind.REFERENCED ? refs : null;
    if (counts === null) continue;
    const seen = new Set<number>();
    for (let at = 0; at < len[row]; at++)
      seen.add(page[row] + Math.floor((offset[row] + at) / 4096));
    for (const one of seen) {
      const head = folioHead(one);
      counts.set(head, (counts.get(head) ?? 0) + 1);
    }
  }
  for (const head of heads) {
    assert.equal(pinCount(head), pins.get(head) ?? 0, `pins of ${head}`);
    assert.equal(refCount(head), 1 + (refs.get(head) ?? 0), `references of ${head}`);
  }
}

function checkBytes(bio: Bio, model: Model): void {
  const { page, offset, len, hold } = bio.table;
  assert.equal(bio.size, model.bytes.length);
  let at = 0;
  for (let row = bio.first; row < bio.first + bio.vcnt; row++) {
    for (let i = 0; i < len[row]; i++, at++) {
      assert.equal(page[row] * PAGE_BYTES + offset[row] + i, model.bytes[at]);
      assert.equal(hold[row], model.holds[at]);
    }
  }
  assert.equal(at, model.bytes.length);
}

test('21, 23: all or nothing, bytes in order, holds = pages spanned, after any trim', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      fc.array(pieceArb, { minLength: 1, maxLength: 8 }),
      fc.array(fc.nat(9000), { maxLength: 3 }),
      fc.boolean(),
      (vecs, pieces, trims, dirty) => {
        const heads = takePages();
        const bio = pool.acquire(BioOp.READ, 0, vecs) as Bio;
        const model: Model = { bytes: [], holds: [] };
        let last = 0;
        for (const { at, len, hold, follows } of pieces) {
          const start = follows && last + len <= PAGES * PAGE_BYTES ? last : at;
          const first = BASE + Math.floor(start / PAGE_BYTES);
          const address = BASE * PAGE_BYTES + start;
          const pages = pagesSpanned(start, len);
          if (hold === HoldKind.PINNED) assert.equal(pinPages(first, pages), pages);
          if (hold === HoldKind.REFERENCED) assert.equal(getPages(first, pages), pages);
          const joins = model.bytes.at(-1) === address - 1 && model.holds.at(-1) === hold;
          const isRoom = bio.vcnt < bio.maxVecs;
          const added = addSegment(bio, first, start % PAGE_BYTES, len, hold);
          assert.equal(added, joins || isRoom ? len : 0);
          if (added === 0) {
            assert.ok(isFull(bio) && !joins);
            if (hold === HoldKind.PINNED) release(HoldKind.PINNED, first, pages);
            if (hold === HoldKind.REFERENCED) release(HoldKind.REFERENCED, first, pages);
            continue;
          }
          for (let i = 0; i < len; i++) {
            model.bytes.push(address + i);
            model.holds.push(hold);
          }
          last = start + len;
        }
        checkBytes(bio, model);
        checkHolds(bio, heads);
        for (const trim of trims) {
          const cut = Math.min(trim, bio.size);
          trimBio(bio, cut);
          model.bytes.length -= cut;
          model.holds.length -= cut;
          checkBytes(bio, model);
          checkHolds(bio, heads);
        }
        // What is borrowed or owned is its owner's to judge.
        const touched = new Set(
          model.bytes
            .filter((_, i) => model.holds[i] === PINNED || model.holds[i] === REFERENCED)
            .map((at) => folioHead(Math.floor(at / PAGE_BYTES))),
        );
        releasePages(bio, dirty);
        for (const head of heads) {
          assert.equal(isDirty(head), dirty && touched.has(head));
          assert.equal(pinCount(head), 0);
          assert.equal(refCount(head), 1);
          arena.putFolio(head);
        }
        pool.release(bio);
        arena.assertNothingOutstanding();
        assert.equal(pool.busyCount, 0);
        assert.equal(pool.runs.rowsUsed, 0);
      },
    ),
    RUNS,
  );
});

function release(kind: HoldKind, page: number, pages: number): void {
  const bio = pool.acquire(BioOp.READ, 0, 1) as Bio;
  addSegment(bio, page, 0, pages * PAGE_BYTES, kind);
  releasePages(bio, false);
  pool.release(bio);
}

test('a bio has 2^32 - 1 bytes at most, and a refused piece changes nothing', () => {
  const bio = pool.acquire(BioOp.WRITE, 0, 4) as Bio;
  const half = 2 ** 31;
  assert.equal(addSegment(bio, 0, 0, half, HoldKind.BORROWED), half);
  assert.equal(addSegment(bio, 2 ** 21, 0, half, HoldKind.BORROWED), 0);
  assert.equal(addSegment(bio, 2 ** 21, 0, half - 1, HoldKind.BORROWED), half - 1);
  assert.equal(bio.size, BIO_BYTES_MAX);
  assert.equal(bio.vcnt, 2);
  assert.ok(isFull(bio));
  assert.equal(addSegment(bio, 5, 0, 1, HoldKind.BORROWED), 0);
  assert.equal(addSegment(bio, 5, 0, 0, HoldKind.BORROWED), 0);
  pool.release(bio);
});

test('a full bio still grows by what touches its last row', () => {
  const bio = pool.acquire(BioOp.WRITE, 0, 4) as Bio;
  for (const page of [10, 20, 30, 40]) addSegment(bio, page, 0, 512, HoldKind.BORROWED);
  assert.ok(isFull(bio));
  assert.equal(addSegment(bio, 40, 512, 512, HoldKind.BORROWED), 512);
  assert.equal(addSegment(bio, 40, 1024, 512, HoldKind.PINNED), 0, 'another hold is another row');
  assert.equal(addSegment(bio, 50, 0, 512, HoldKind.BORROWED), 0);
  assert.equal(bio.vcnt, 4);
  pool.release(bio);
});

test('pages of two regions are never joined, though their numbers touch', () => {
  const bio = pool.acquire(BioOp.WRITE, 0, 4) as Bio;
  addSegment(bio, 2 ** 20 - 1, 0, 4096, HoldKind.BORROWED);
  addSegment(bio, 2 ** 20, 0, 4096, HoldKind.BORROWED);
  assert.equal(bio.vcnt, 2);
  pool.release(bio);
});

test('a clone owns nothing: adding, trimming and releasing through it is a bug or nothing', () => {
  const bio = pool.acquire(BioOp.WRITE, 8, 4) as Bio;
  const page = arena.getFolio(0);
  pinPages(page, 1);
  addSegment(bio, page, 0, 4096, HoldKind.PINNED);
  const clone = pool.cloneBio(bio) as Bio;
  assert.deepEqual([clone.sector, clone.size, clone.row], [8, 4096, bio.row]);
  clone.advance(512);
  assert.deepEqual([bio.sector, bio.size], [8, 4096], 'the source does not move');
  assert.throws(() => addSegment(clone, page, 0, 1, HoldKind.BORROWED), /clone/);
  assert.throws(() => trimBio(clone, 512), /not its own/);
  releasePages(clone, true);
  assert.equal(pinCount(page), 1);
  pool.release(clone);
  releasePages(bio, true);
  assert.equal(pinCount(page), 0);
  pool.release(bio);
  arena.putFolio(page);
  arena.assertNothingOutstanding();
  assert.equal(pool.busyCount, 0);
});
