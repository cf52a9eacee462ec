import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';
import { validateLimits } from '../limits/validate.ts';
import { HoldKind } from '../memory/holds.ts';
import {
  type BioIntegrity,
  canMergePayloads,
  integritySegments,
  PayloadFlag,
} from './bio-integrity.ts';
import { BioIntegrityPool, PAYLOAD_RESERVE } from './bio-integrity-pool.ts';
import { NO_INTEGRITY } from './integrity-profile.ts';
import { formatOf } from './pi-format.fuzz.ts';
import { userMetadataShare } from './user-metadata.ts';
import { CheckFlag } from './verify.ts';

const { profile } = formatOf('crc16', 4096, 0, 0, true);
type Row = readonly [page: number, offset: number, len: number];

function payloadOf(pool: BioIntegrityPool, rows: readonly Row[], seed = 0): BioIntegrity {
  const payload = pool.acquire(rows.length);
  assert.ok(payload !== null);
  for (const [page, offset, len] of rows) {
    assert.ok(payload.addRow(page, offset, len, HoldKind.BORROWED));
  }
  payload.seed = seed;
  return payload;
}

/** Addresses of the bytes that are left: the plain meaning of an iterator. */
function bytesLeft(payload: BioIntegrity): number[] {
  const { table, row, done, size } = payload;
  const out: number[] = [];
  const { page, offset, len }: BvecTable = table;
  for (let r = row, skip = done; out.length < size; r++, skip = 0) {
    for (let i = skip; i < (len[r] as number) && out.length < size; i++) {
      out.push((page[r] as number) * 4096 + (offset[r] as number) + i);
    }
  }
  return out;
}

const rowsOf = (lengths: readonly number[]): Row[] =>
  lengths.map((len, i) => [10 * i + 3, (i * 40) % 4096, len]);

/** Lengths of rows whose sum is `bytes`. */
function cutUp(bytes: number, cuts: readonly number[]): number[] {
  const out: number[] = [];
  let left = bytes;
  for (let i = 0; left > 0; i++) {
    out.push(Math.min(cuts[i % cuts.length] as number, left));
    left -= out[out.length - 1] as number;
  }
  return out;
}

test('parts of a split have all the bytes, in order, and their seeds go on (property 42)', () => {
  const cuts = fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 4 });
  const parts = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(cuts, parts, fc.integer({ min: 1, max: 4 }), fc.nat(2 ** 40), (...args) => {
      const [rowCuts, fronts, last, seed] = args;
      const pool = new BioIntegrityPool({ payloads: 8, rows: 512 });
      const intervals = fronts.reduce((sum, n) => sum + n, last);
      const whole = payloadOf(pool, rowsOf(cutUp(intervals * 8, rowCuts)), seed);
      const all = bytesLeft(whole);
      const seen: number[] = [];
      let next = seed;
      for (const front of fronts) {
        const part = pool.splitFront(whole, front * 4096, profile);
        assert.ok(part !== null);
        assert.equal(part.size, front * 8);
        assert.equal(part.seed, next);
        seen.push(...bytesLeft(part));
        next += front;
        pool.release(part);
      }
      assert.equal(whole.seed, next);
      assert.equal(whole.size, last * 8);
      seen.push(...bytesLeft(whole));
      assert.deepEqual(seen, all);
      pool.release(whole);
      assert.equal(pool.busyCount, 0);
      assert.equal(pool.runs.rowsUsed, 0);
    }),
    RUNS,
  );
});

test('advance in any steps is one advance; trim keeps the front', () => {
  fc.assert(
    fc.property(fc.nat(4), fc.nat(4), fc.integer({ min: 1, max: 9 }), (a, b, cut) => {
      const pool = new BioIntegrityPool({ payloads: 3, rows: 64 });
      const rows = rowsOf(cutUp(80, [cut]));
      const one = payloadOf(pool, rows, 7);
      const two = payloadOf(pool, rows, 7);
      one.advance((a + b) * 4096, profile);
      two.advance(a * 4096, profile);
      two.advance(b * 4096, profile);
      assert.deepEqual(bytesLeft(one), bytesLeft(two));
      assert.equal(one.seed, 7 + a + b);
      assert.equal(two.seed, 7 + a + b);
      one.trim(4096, profile);
      assert.deepEqual(bytesLeft(one), bytesLeft(two).slice(0, 8));
      assert.equal(one.seed, two.seed);
    }),
    RUNS,
  );
});

test('a clone shares rows and checks, not the ownership', () => {
  const pool = new BioIntegrityPool({ payloads: 2, rows: 8 });
  const source = payloadOf(pool, [[1, 0, 64]], 9);
  source.flags = PayloadFlag.BLOCK | PayloadFlag.MAPPED | PayloadFlag.IP_CHECKSUM;
  source.check = CheckFlag.GUARD | CheckFlag.APP;
  source.appTag = 0x1234;
  const clone = pool.clone(source);
  assert.ok(clone !== null);
  assert.equal(clone.flags, PayloadFlag.MAPPED | PayloadFlag.IP_CHECKSUM);
  assert.equal(clone.check, source.check);
  assert.equal(clone.appTag, 0x1234);
  assert.equal(source.isUserOwned, false);
  assert.deepEqual(bytesLeft(clone), bytesLeft(source));
  assert.throws(() => clone.addRow(1, 0, 8, HoldKind.BORROWED), /clone/);
  pool.release(clone);
  assert.deepEqual(bytesLeft(source).length, 64);
  pool.release(source);
  assert.throws(() => pool.release(source), /twice/);
  assert.equal(pool.runs.rowsUsed, 0);
});

test('an empty pool is null, a full payload refuses a row', () => {
  const pool = new BioIntegrityPool({ payloads: 0, rows: 4 });
  const held = Array.from({ length: PAYLOAD_RESERVE }, () => payloadOf(pool, [[1, 0, 8]]));
  assert.equal(pool.acquire(1), null);
  assert.equal(pool.clone(held[0] as BioIntegrity), null);
  const [first] = held as [BioIntegrity];
  while (first.vcnt < first.maxVecs) assert.ok(first.addRow(2, 0, 8, HoldKind.BORROWED));
  const size = first.size;
  assert.equal(first.addRow(2, 0, 8, HoldKind.BORROWED), false);
  assert.equal(first.size, size);
  for (const payload of held) pool.release(payload);
  assert.equal(pool.busyCount, 0);
});

const limits = validateLimits({ max_segment_size: 8192, seg_boundary_mask: 0xffff });

/** Reference 7.6: rows and the segments that they count as. */
const COUNTS: readonly (readonly [string, readonly Row[], number])[] = [
  ['one row in a page', [[4, 100, 64]], 1],
  ['a row over three pages, in one boundary', [[0, 4000, 4400]], 1],
  [
    'rows that touch',
    [
      [4, 0, 64],
      [4, 64, 64],
    ],
    1,
  ],
  [
    'rows that do not touch',
    [
      [4, 0, 64],
      [4, 128, 64],
    ],
    2,
  ],
  [
    'touching, but longer than a segment',
    [
      [0, 0, 4096],
      [1, 0, 4096],
      [2, 0, 4096],
    ],
    2,
  ],
  ['one row longer than a segment', [[0, 0, 12288]], 2],
  [
    'touching, but over the boundary at 64 KiB',
    [
      [15, 4032, 64],
      [16, 0, 64],
    ],
    2,
  ],
  ['a row across the boundary', [[15, 4032, 128]], 2],
  [
    'backwards',
    [
      [5, 0, 64],
      [4, 0, 64],
    ],
    2,
  ],
];

for (const [name, rows, segments] of COUNTS) {
  test(`counting: ${name}`, () => {
    const pool = new BioIntegrityPool({ payloads: 1, rows: 16 });
    const payload = payloadOf(pool, rows);
    assert.equal(integritySegments(payload, limits), segments);
    pool.release(payload);
  });
}

test('counting starts at the iterator', () => {
  const pool = new BioIntegrityPool({ payloads: 1, rows: 16 });
  const payload = payloadOf(pool, [
    [4, 0, 8],
    [9, 0, 8],
    [20, 0, 8],
  ]);
  assert.equal(integritySegments(payload, limits), 3);
  payload.advance(4096, profile);
  assert.equal(integritySegments(payload, limits), 2);
  payload.trim(4096, profile);
  assert.equal(integritySegments(payload, limits), 1);
});

interface MergeCase {
  readonly name: string;
  readonly change: (front: BioIntegrity, back: BioIntegrity) => void;
  readonly merges: boolean;
}

/** Reference 7.6, rule by rule. */
const MERGES: readonly MergeCase[] = [
  { name: 'equal payloads', change: () => {}, merges: true },
  { name: 'different flags', change: (a) => (a.flags = PayloadFlag.BLOCK), merges: false },
  { name: 'different checks', change: (a) => (a.check = CheckFlag.GUARD), merges: false },
  { name: 'app tags that nobody checks', change: (a) => (a.appTag = 5), merges: true },
  {
    name: 'checked app tags that differ',
    change: (a, b) => {
      a.check = b.check = CheckFlag.APP;
      a.appTag = 5;
    },
    merges: false,
  },
  {
    name: 'checked app tags that are equal',
    change: (a, b) => {
      a.check = b.check = CheckFlag.APP;
      a.appTag = b.appTag = 5;
    },
    merges: true,
  },
];

for (const { name, change, merges } of MERGES) {
  test(`merging: ${name}`, () => {
    const pool = new BioIntegrityPool({ payloads: 2, rows: 16 });
    const front = payloadOf(pool, [[4, 0, 8]]);
    const back = payloadOf(pool, [[8, 0, 8]]);
    change(front, back);
    const joint = { front, frontSegments: 1, back, backSegments: 1 };
    assert.equal(canMergePayloads(joint, limits), merges);
  });
}

test('merging: both have payloads or neither; segments add up; no virtual boundary', () => {
  const pool = new BioIntegrityPool({ payloads: 2, rows: 16 });
  const front = payloadOf(pool, [[4, 0, 4096]]);
  const back = payloadOf(pool, [[8, 0, 8]]);
  const ask = (a: BioIntegrity | null, b: BioIntegrity | null, more = {}): boolean => {
    const joint = { front: a, frontSegments: 3, back: b, backSegments: 2 };
    return canMergePayloads(joint, validateLimits(more));
  };
  assert.equal(ask(null, null), true);
  assert.equal(ask(front, null), false);
  assert.equal(ask(null, back), false);
  assert.equal(ask(front, back, { max_integrity_segments: 5 }), true);
  assert.equal(ask(front, back, { max_integrity_segments: 4 }), false);
  assert.equal(ask(front, back, { max_integrity_segments: 0 }), true, '0: no limit of its own');
  assert.equal(ask(front, back, { virt_boundary_mask: 4095 }), true);
  back.advance(0, profile);
  front.trim(4096, profile); // 8 bytes of it are left: its end is no boundary any more.
  assert.equal(ask(front, back, { virt_boundary_mask: 4095 }), false);
  assert.equal(ask(front, back, { virt_boundary_mask: 7 }), true);
});

test('the share of a bio of user metadata', () => {
  const share = (bytes: number, check: number, data = 8192): number =>
    userMetadataShare(profile, data, { bytes, check });
  assert.equal(share(16, 0), 16);
  assert.equal(share(100, 7), 16);
  assert.equal(share(15, 0), -22, 'too little for this bio');
  assert.equal(share(16, 8), -22, 'a check that nobody knows');
  assert.equal(userMetadataShare(NO_INTEGRITY, 4096, { bytes: 64, check: 0 }), -22);
});
