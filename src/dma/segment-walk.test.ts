import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { type Bio, BioState } from '../bio/bio.ts';
import { buildBio, type Segment, segmentsArb, wordsOf } from '../bio/bio-bytes.fuzz.ts';
import { BioOp } from '../bio/bio-op.ts';
import { BioPool } from '../bio/bio-pool.ts';
import { SplitPoint, splitReadWrite } from '../bio/split-point.ts';
import { DEFAULT_LIMITS, type Limits, makeLimits } from '../limits/limits.ts';
import { HoldKind } from '../memory/holds.ts';
import { advanceRequest, Request } from '../queue/request.ts';
import { entriesOf, sgPool } from './dma-world.fuzz.ts';
import { mapRequestSg } from './request-sg.ts';
import type { SegmentJoint } from './segment-walk.ts';
import { SgList } from './sg-list.ts';

const pool = new BioPool({ bios: 16, rows: 1000 });

function requestOf(bios: readonly Bio[], segments = 1000): Request {
  const request = new Request();
  request.start(0, bios[0], segments);
  for (const bio of bios.slice(1)) {
    (request.bioTail as Bio).next = bio;
    request.bioTail = bio;
    request.bytes += bio.size;
  }
  return request;
}

function limitsWith(segBytesMax: number, mask: number): Limits {
  return makeLimits({
    ...DEFAULT_LIMITS,
    max_segment_size: segBytesMax,
    seg_boundary_mask: mask,
    dma_alignment: 3,
    max_segments: 65535,
    max_sectors: 2 ** 31,
  });
}

/** [physical address, bytes] of the scatterlist of bios with these pieces. */
function sgOf(
  bios: readonly (readonly Segment[])[],
  limits: Limits,
  joint: SegmentJoint = 'entries',
): [number, number][] {
  const built = bios.map((segments) => buildBio(pool, BioOp.WRITE, 0, segments));
  const list = new SgList(sgPool);
  list.acquire(200);
  const count = mapRequestSg(requestOf(built), limits, list, joint);
  assert.equal(count, list.nents);
  const out = entriesOf(list).map(({ page, offset, len }): [number, number] => {
    assert.ok(offset < PAGE_BYTES, 'an entry names the page that it starts in');
    return [page * PAGE_BYTES + offset, len];
  });
  list.release();
  for (const bio of built) pool.release(bio);
  return out;
}

const K = 1024;
const at = (page: number, offset: number, len: number): Segment => ({ page, offset, len });

test('entries are cut at size and boundary, and joined over bios where they touch', () => {
  const plain = limitsWith(65536, 2 ** 32 - 1);
  const cases: [string, Segment[][], Limits, [number, number][]][] = [
    [
      'a long entry is cut at the segment size',
      [[at(0, 0, 69632)]],
      plain,
      [
        [0, 65536],
        [65536, 4096],
      ],
    ],
    [
      'and at the boundary: 0x1F000 with windows of 64 KiB',
      [[at(0x1f, 0, 12288)]],
      limitsWith(65536, 0xffff),
      [
        [0x1f000, 4096],
        [0x20000, 8192],
      ],
    ],
    [
      'two bios that touch are one entry',
      [[at(3, 0, 4096)], [at(4, 0, 4096)]],
      plain,
      [[0x3000, 8192]],
    ],
    [
      'not across a boundary',
      [[at(0xf, 0, 4096)], [at(0x10, 0, 4096)]],
      limitsWith(65536, 0xffff),
      [
        [0xf000, 4096],
        [0x10000, 4096],
      ],
    ],
    [
      'not above the segment size: an entry is taken in whole or not at all',
      [[at(3, 0, 4096)], [at(4, 0, 8192)]],
      limitsWith(8192, 2 ** 32 - 1),
      [
        [0x3000, 4096],
        [0x4000, 8192],
      ],
    ],
    [
      'the rest of a cut entry goes on into the next bio',
      [[at(0, 0, 12 * K)], [at(3, 0, 4 * K)], [at(4, 0, 4 * K)]],
      limitsWith(8192, 2 ** 32 - 1),
      [
        [0, 8192],
        [8192, 8192],
        [16384, 4096],
      ],
    ],
  ];
  for (const [name, bios, limits, expected] of cases) {
    assert.deepEqual(sgOf(bios, limits), expected, name);
  }
});

test('how rows are held changes nothing that a device sees', () => {
  const limits = limitsWith(8192, 2 ** 32 - 1);
  const { BORROWED, PINNED } = HoldKind;
  const rows = (hold: HoldKind): Segment[] => [
    { page: 3, offset: 0, len: 4096, hold },
    { page: 4, offset: 0, len: 12288, hold: PINNED },
    { page: 7, offset: 0, len: 512, hold },
  ];
  const expected = [
    [0x3000, 8192],
    [0x5000, 8192],
    [0x7000, 512],
  ];
  for (const joint of ['entries', 'bios'] as const) {
    for (const hold of [BORROWED, PINNED]) {
      assert.deepEqual(sgOf([rows(hold)], limits, joint), expected);
    }
  }
});

test('6.1 and 6.12 join at the joint of two bios, with the boundary of the whole entry', () => {
  const plain = limitsWith(65536, 2 ** 32 - 1);
  const two = [[at(3, 0, 4096)], [at(4, 0, 4096)], [at(5, 0, 512)]];
  assert.deepEqual(sgOf(two, plain, 'bios'), [[0x3000, 8704]]);
  // The last piece of the cut entry lies in one window with what follows, the entry does not.
  const wide = [[at(0xf, 0, 8192)], [at(0x11, 0, 4096)]];
  const windows = limitsWith(65536, 0xffff);
  assert.deepEqual(sgOf(wide, windows, 'bios'), [
    [0xf000, 4096],
    [0x10000, 4096],
    [0x11000, 4096],
  ]);
  assert.deepEqual(sgOf(wide, windows, 'entries'), [
    [0xf000, 4096],
    [0x10000, 8192],
  ]);
});

test('a special payload has its own entries, an op without data none', () => {
  const bio = pool.acquire(BioOp.DISCARD, 0, 0) as Bio;
  bio.size = 1 << 20;
  const list = new SgList(sgPool);
  list.acquire(2);
  const request = requestOf([bio]);
  const limits = limitsWith(4096, 2 ** 32 - 1);
  assert.equal(mapRequestSg(request, limits, list), 0);
  assert.deepEqual(entriesOf(list), []);
  const special = { page: 7, offset: 16, len: 4112 };
  assert.equal(mapRequestSg(request, limits, list, 'entries', special), 2);
  assert.deepEqual(entriesOf(list), [
    { page: 7, offset: 16, len: 4096 },
    { page: 8, offset: 16, len: 16 },
  ]);
  pool.release(bio);
  const flush = pool.acquire(BioOp.FLUSH, 0, 0) as Bio;
  assert.equal(mapRequestSg(requestOf([flush]), limits, list), 0);
  pool.release(flush);
  list.release();
});

test('a table without room, or one that a device has, is a bug', () => {
  const bio = buildBio(pool, BioOp.WRITE, 0, [at(1, 0, 512), at(3, 0, 512)]);
  const list = new SgList(sgPool);
  const limits = limitsWith(4096, 2 ** 32 - 1);
  assert.throws(() => mapRequestSg(requestOf([bio]), limits, list), /no table/);
  list.acquire(1);
  assert.throws(() => mapRequestSg(requestOf([bio]), limits, list), /more entries/);
  list.mappings = 1;
  assert.throws(() => mapRequestSg(requestOf([bio]), limits, list), /a device has it/);
  list.mappings = 0;
  list.release();
  pool.release(bio);
});

const limitsArb = fc
  .tuple(
    fc.oneof(
      fc.constantFrom(4096, 65536, 2 ** 32 - 1),
      fc.integer({ min: 1024, max: 6000 }).map((n) => n * 4),
    ),
    fc.constantFrom(4095, 8191, 0xffff, 2 ** 32 - 1, Number.MAX_SAFE_INTEGER),
  )
  .map(([size, mask]) => limitsWith(size, mask));

/** Segments as the split counts them, for all bios: entry by entry, never joined. */
function countSegments(bios: readonly Bio[], limits: Limits): number {
  const point = new SplitPoint();
  return bios.reduce((sum, bio) => {
    splitReadWrite(bio, limits, 2 ** 40, point);
    assert.equal(point.bytes, 0, 'the bio fits');
    return sum + point.segments;
  }, 0);
}

test('28: the same bytes in order, no more entries than segments, each within the limits', () => {
  const biosArb = fc.array(segmentsArb(4, 512), { minLength: 1, maxLength: 4 });
  const jointArb = fc.constantFrom<SegmentJoint>('entries', 'bios');
  fc.assert(
    fc.property(biosArb, limitsArb, jointArb, fc.nat(999), (shapes, limits, joint, share) => {
      const bios = shapes.map((segments) => {
        const bio = buildBio(pool, BioOp.WRITE, 0, segments);
        bio.state = BioState.SUBMITTED;
        bio.endIo = () => {};
        return bio;
      });
      const request = requestOf(bios, countSegments(bios, limits));
      // A short transfer leaves the rest of a bio.
      const skip = Math.floor((request.bytes * share) / 1000 / 512) * 512;
      const words = bios.flatMap((bio) => wordsOf(bio).addr).slice(skip / 4);
      if (skip > 0) advanceRequest(request, skip);
      const list = new SgList(sgPool);
      list.acquire(request.segments);
      const count = mapRequestSg(request, limits, list, joint);
      const entries = entriesOf(list);
      assert.equal(entries.length, count);
      assert.ok(count <= request.segments);
      const window = limits.seg_boundary_mask + 1;
      let word = 0;
      for (const { page, offset, len } of entries) {
        const start = page * PAGE_BYTES + offset;
        assert.ok(len <= limits.max_segment_size);
        assert.equal(Math.floor(start / window), Math.floor((start + len - 1) / window));
        for (let i = 0; i < len; i += 4) assert.equal(words[word++], start + i);
      }
      assert.equal(word, words.length, 'every byte of the request');
      list.release();
      for (const bio of bios) {
        bio.state = BioState.ENDED;
        pool.release(bio);
      }
      assert.equal(pool.busyCount + sgPool.busyCount, 0);
    }),
    RUNS,
  );
});

test('28: entries stay apart only where joining them whole would break a limit', () => {
  fc.assert(
    fc.property(segmentsArb(4, 4), limitsArb, (segments, limits) => {
      // One bio a piece, so that the pool does not join them.
      const built = segments.slice(0, 8).map((one) => buildBio(pool, BioOp.WRITE, 0, [one]));
      const edges = new Map<number, number>();
      for (const { page, offset, len } of segments) {
        const start = page * PAGE_BYTES + offset;
        edges.set(start, Math.max(len, edges.get(start) ?? 0));
      }
      for (const bio of built) pool.release(bio);
      const list = sgOf(
        segments.slice(0, 8).map((one) => [one]),
        limits,
      );
      const window = limits.seg_boundary_mask + 1;
      list.slice(1).forEach(([start], i) => {
        const [before, len] = list[i];
        if (before + len !== start) return;
        const room = Math.min(limits.max_segment_size, window - (before % window));
        const follows = edges.get(start);
        // Inside an entry a range ends because it is full; at its edge, because the next is long.
        if (follows === undefined) assert.equal(len, room);
        else assert.ok(len + follows > room);
      });
      assert.equal(pool.busyCount, 0);
    }),
    RUNS,
  );
});
