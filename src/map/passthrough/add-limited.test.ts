import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { PAGE_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import type { LimitsInput } from '../../limits/limits.ts';
import { validateLimits } from '../../limits/validate.ts';
import { Arena } from '../../memory/arena.ts';
import { HoldKind, pinCount, pinPages, unpinPages } from '../../memory/holds.ts';
import { addLimited } from './add-limited.ts';
import { PASSTHROUGH_RULES, type PassthroughRules } from './passthrough-rules.ts';
import { emptyBio, type RowText, release, rowsOf } from './rows-rig.fuzz.ts';

// Pages 0 … 7 of one folio: a test says which, so physical neighbours are neighbours in number.
const arena = new Arena({ maxBytes: 64 * PAGE_BYTES, label: 'add limited', places: false });
const base = arena.getFolio(3);
after(() => arena.putFolio(base));

const BYTES = PASSTHROUGH_RULES['linux-6.12'];
const SECTORS = PASSTHROUGH_RULES['linux-6.1'];

function add(
  bio: Bio,
  [page, offset, len]: RowText,
  input: LimitsInput,
  rules: PassthroughRules = BYTES,
  hold: HoldKind = HoldKind.BORROWED,
): boolean {
  const limits = validateLimits({ dma_alignment: 3, ...input });
  return addLimited(bio, base + page, offset, len, hold, limits, rules);
}

/** Rows, with pages counted from the folio, of a bio that took `pieces`; null: not all of them. */
function rowsAfter(pieces: readonly RowText[], input: LimitsInput, vecs = 16): number[][] | null {
  const bio = emptyBio(vecs);
  const isWhole = pieces.every((piece) => add(bio, piece, input));
  const rows = rowsOf(bio).map(([page, offset, len]) => [page - base, offset, len]);
  assert.equal(
    bio.size,
    rows.reduce((sum, row) => sum + row[2], 0),
  );
  release([bio]);
  return isWhole ? rows : null;
}

const PAGES: readonly RowText[] = [0, 1, 2, 3].map((page) => [page, 0, 4096]);

describe('a row is one segment', () => {
  test('memory that runs on joins, as far as max_segment_size', () => {
    assert.deepEqual(rowsAfter(PAGES, {}), [[0, 0, 16384]]);
    assert.deepEqual(rowsAfter(PAGES, { max_segment_size: 8192 }), [
      [0, 0, 8192],
      [2, 0, 8192],
    ]);
    assert.deepEqual(rowsAfter(PAGES, { max_segment_size: 8195 }), [
      [0, 0, 8192],
      [2, 0, 8192],
    ]);
  });

  test('and inside one window of seg_boundary_mask', () => {
    const windows = { seg_boundary_mask: 8191, max_segment_size: 65536 };
    assert.deepEqual(rowsAfter(PAGES, windows), [
      [0, 0, 8192],
      [2, 0, 8192],
    ]);
    // From page 1 on the first window has one page left; from byte 512 on a part of one.
    assert.deepEqual(rowsAfter(PAGES.slice(1), windows), [
      [1, 0, 4096],
      [2, 0, 8192],
    ]);
    const inside: RowText[] = [
      [1, 512, 3584],
      [2, 0, 512],
    ];
    assert.deepEqual(rowsAfter(inside, windows), inside);
  });

  test('other memory, or the same kept in another way, is another row', () => {
    const apart: RowText[] = [
      [0, 0, 4096],
      [2, 0, 4096],
    ];
    assert.deepEqual(rowsAfter(apart, {}), apart);
    const bio = emptyBio();
    assert.ok(add(bio, [0, 0, 4096], {}, BYTES, HoldKind.OWNED));
    assert.ok(add(bio, [1, 0, 4096], {}, BYTES, HoldKind.BORROWED));
    assert.equal(bio.vcnt, 2);
    assert.deepEqual(
      [...bio.table.hold.subarray(bio.first, bio.first + 2)],
      [HoldKind.OWNED, HoldKind.BORROWED],
    );
    release([bio]);
  });

  test('two fragments of a page have one hold; at the edge of a page each has its own', () => {
    const bio = emptyBio();
    const pin = (piece: RowText): boolean => {
      assert.equal(pinPages(base + piece[0], 1), 1);
      return add(bio, piece, {}, BYTES, HoldKind.PINNED);
    };
    assert.ok(pin([1, 0, 1000]) && pin([1, 1000, 3096]));
    assert.equal(pinCount(base), 1, 'the second pin of page 1 was let go');
    assert.ok(pin([2, 0, 4096]));
    assert.equal(pinCount(base), 2);
    assert.equal(bio.vcnt, 1);
    unpinPages(base + 1, 2);
    release([bio]);
  });
});

describe('a limit stands against it: nothing has changed', () => {
  function refused(
    pieces: readonly RowText[],
    last: RowText,
    input: LimitsInput,
    rules = BYTES,
    vecs = 16,
  ): boolean {
    const bio = emptyBio(vecs);
    for (const piece of pieces) assert.ok(add(bio, piece, input, rules));
    const before = [bio.vcnt, bio.size, rowsOf(bio)];
    const isRefused = !add(bio, last, input, rules);
    if (isRefused) assert.deepEqual([bio.vcnt, bio.size, rowsOf(bio)], before);
    release([bio]);
    return isRefused;
  }

  test('max_segments, and the rows of the bio', () => {
    const apart: RowText[] = [0, 2, 4].map((page) => [page, 0, 4096]);
    assert.ok(refused(apart, [6, 0, 4096], { max_segments: 3 }));
    assert.ok(!refused(apart, [6, 0, 4096], { max_segments: 4 }));
    assert.ok(!refused(apart, [5, 0, 4096], { max_segments: 3 }), 'a row that grows is no more');
    const four: RowText[] = [...apart, [6, 0, 512]];
    assert.ok(refused(four, [1, 0, 512], {}, BYTES, 4));
    assert.ok(!refused(four, [6, 512, 512], {}, BYTES, 4));
  });

  test('a gap at the virtual boundary, on either side of the joint', () => {
    const paged = { virt_boundary_mask: 4095 };
    assert.ok(refused([[0, 0, 512]], [2, 0, 4096], paged), 'the first ends in a page');
    assert.ok(refused([[0, 0, 4096]], [2, 512, 512], paged), 'the second starts in one');
    assert.ok(!refused([[0, 512, 3584]], [2, 0, 512], paged));
    assert.ok(!refused([[0, 0, 512]], [2, 0, 4096], {}));
    assert.ok(!refused([[0, 0, 512]], [0, 512, 512], paged), 'memory that runs on has no joint');
    // It runs on, but not in this segment: then it is a joint like any other.
    const small = { virt_boundary_mask: 4095, max_segment_size: 4096 };
    assert.ok(refused([[0, 512, 3584]], [1, 0, 4096], { ...small, virt_boundary_mask: 8191 }));
    assert.ok(!refused([[0, 512, 3584]], [1, 0, 4096], small));
  });

  test('max_hw_sectors: bytes, or whole sectors in 6.1', () => {
    const limits = { max_hw_sectors: 8 };
    assert.ok(!refused([[0, 0, 4000]], [2, 0, 96], limits));
    assert.ok(refused([[0, 0, 4000]], [2, 0, 97], limits));
    assert.ok(!refused([[0, 0, 4096]], [2, 0, 511], limits, SECTORS), '8 sectors and a part');
    assert.ok(refused([[0, 0, 4096]], [2, 0, 512], limits, SECTORS));
    assert.ok(refused([[0, 0, 4096]], [2, 0, 511], limits, BYTES));
  });
});
