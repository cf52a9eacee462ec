import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import type { Bio } from '../bio/bio.ts';
import { buildBio, type Segment, type WordList, wordsOf } from '../bio/bio-bytes.fuzz.ts';
import { BioFlag, BioOp } from '../bio/bio-op.ts';
import { BioPool } from '../bio/bio-pool.ts';
import { brokenLimit, countSegments, limitsArb } from '../bio/limits-judge.fuzz.ts';
import { SplitPoint, splitPoint } from '../bio/split-point.ts';
import { DEFAULT_LIMITS, type Limits, makeLimits } from '../limits/limits.ts';
import { validateLimits } from '../limits/validate.ts';
import { MergeResult, tryMerge } from './merge.ts';
import { Request } from './request.ts';

/** A new one for each run: what a failed run left must not fail the next. */
let pool = new BioPool({ bios: 16, rows: 200 });
const point = new SplitPoint();

function start(bio: Bio, limits: Limits): Request {
  const request = new Request();
  splitPoint(bio, limits, point);
  request.start(0, bio, point.segments);
  return request;
}

function biosOf(request: Request): Bio[] {
  const bios: Bio[] = [];
  for (let bio = request.bio; bio !== null; bio = bio.next) bios.push(bio);
  return bios;
}

function release(bios: readonly Bio[]): void {
  for (const bio of bios) pool.release(bio);
  assert.equal(pool.busyCount, 0);
  assert.equal(pool.runs.rowsUsed, 0);
}

/** All words of the bios. Memory that runs on over an unaligned joint must be one segment there. */
function wordsOfAll(bios: readonly Bio[], limits: Limits): WordList {
  const all: WordList = { addr: [], row: [], offset: [] };
  let shift = 0;
  for (const bio of bios) {
    const words = wordsOf(bio);
    const first = words.addr[0] as number;
    const runsOn = all.addr.length > 0 && (all.addr.at(-1) as number) + 4 === first;
    const isAligned = first % (limits.virt_boundary_mask + 1) === 0;
    const lastRow = all.row.at(-1) ?? 0;
    shift = lastRow + (runsOn && !isAligned ? 0 : 1) - (words.row[0] as number);
    for (const [i, addr] of words.addr.entries()) {
      all.addr.push(addr);
      all.row.push((words.row[i] as number) + shift);
      all.offset.push(addr % 4096);
    }
  }
  return all;
}

const pageArb = fc.record({
  page: fc.nat(30),
  offset: fc.constantFrom(0, 0, 0, 512, 2048),
  len: fc.constantFrom(4096, 4096, 512, 512, 2048, 3584, 8192),
});
const bioArb = fc.record({
  segments: fc.array(pageArb, { minLength: 1, maxLength: 2, size: 'max' }),
  side: fc.constantFrom('back', 'back', 'front', 'apart'),
  /** The memory goes on where that of the request ends. */
  runsOn: fc.boolean(),
});
type BioCase = typeof bioArb extends fc.Arbitrary<infer T> ? T : never;

function placeBio({ segments, side, runsOn }: BioCase, request: Request | null): Bio {
  const sectors = segments.reduce((sum, { len }) => sum + len, 0) / 512;
  const placed: Segment[] = [...segments];
  if (runsOn && request !== null) {
    const end = (wordsOf(request.bioTail as Bio).addr.at(-1) as number) + 4;
    const page = Math.floor(end / 4096);
    placed[0] = { ...(placed[0] as Segment), page, offset: end % 4096 };
  }
  if (request === null || side === 'apart') return buildBio(pool, BioOp.WRITE, 50_000, placed);
  const back = request.sector + request.sectors;
  return buildBio(pool, BioOp.WRITE, side === 'back' ? back : request.sector - sectors, placed);
}

function checkMerged(request: Request, count: number, limits: Limits): void {
  const bios = biosOf(request);
  assert.equal(bios.length, count);
  assert.equal(bios.at(-1), request.bioTail);
  let { sector } = request;
  for (const bio of bios) {
    assert.equal(bio.sector, sector);
    sector += bio.sectors;
  }
  assert.equal(sector, request.sector + request.sectors);
  const words = wordsOfAll(bios, limits);
  const range = { start: 0, end: request.bytes, sector: request.sector };
  assert.equal(brokenLimit(words, range, limits), null);
  assert.ok(request.segments <= limits.max_segments);
  assert.ok(countSegments(words, range, limits) <= request.segments, 'an upper bound');
}

test('29: whatever is merged fits the limits, and each byte keeps its place on the device', () => {
  let merges = 0;
  const limitsOfPages = limitsArb.filter((limits) => limits.virt_boundary_mask < 4096);
  const list = fc.array(bioArb, { minLength: 2, maxLength: 10, size: 'max' });
  fc.assert(
    fc.property(limitsOfPages, list, (limits, cases) => {
      pool = new BioPool({ bios: 16, rows: 200 });
      const made: Bio[] = [];
      let request: Request | null = null;
      for (const one of cases) {
        const bytes = one.segments.reduce((sum, { len }) => sum + len, 0);
        if (bytes % limits.logical_block_size !== 0) continue;
        const bio = placeBio(one, request);
        made.push(bio);
        splitPoint(bio, limits, point);
        if (point.bytes !== 0) continue; // What must be split is not offered whole.
        if (request === null) {
          request = new Request();
          request.start(0, bio, point.segments);
          continue;
        }
        const count = biosOf(request).length;
        const result = tryMerge(request, bio, point.segments, limits);
        const isMerged = result !== MergeResult.NONE && result !== MergeResult.FAILED;
        if (isMerged) merges++;
        request.flags = 0; // A refusal closes the request; here the next one may try again.
        checkMerged(request, count + (isMerged ? 1 : 0), limits);
      }
      release(made);
    }),
    { numRuns: 3 * RUNS.numRuns }, // Many of the limits let nothing join.
  );
  assert.ok(merges > 500, `only ${merges} merges`);
});

function page(at: number, sector: number, op: BioOp = BioOp.WRITE): Bio {
  return buildBio(pool, op, sector, [{ page: at, offset: 0, len: 4096 }]);
}

test('ops, flags and places that never merge', () => {
  const limits = validateLimits({ max_hw_discard_sectors: 1000, max_write_zeroes_sectors: 1000 });
  const cases: [BioOp, number, BioOp, number][] = [
    [BioOp.READ, 0, BioOp.WRITE, 0],
    [BioOp.WRITE, BioFlag.NOMERGE, BioOp.WRITE, 0],
    [BioOp.WRITE, 0, BioOp.WRITE, BioFlag.NOMERGE],
    [BioOp.WRITE, BioFlag.FUA, BioOp.WRITE, 0],
    [BioOp.WRITE, 0, BioOp.WRITE, BioFlag.FUA],
    [BioOp.WRITE_ZEROES, 0, BioOp.WRITE_ZEROES, 0],
    [BioOp.FLUSH, 0, BioOp.FLUSH, 0],
  ];
  for (const [op1, flags1, op2, flags2] of cases) {
    const [first, next] = [page(1, 0, op1), page(5, 8, op2)];
    first.flags |= flags1;
    next.flags |= flags2;
    const request = start(first, limits);
    assert.equal(tryMerge(request, next, 1, limits), MergeResult.NONE);
    release([first, next]);
  }
  const [first, gap, overlap] = [page(1, 8), page(5, 17), page(7, 12)];
  const request = start(first, limits);
  assert.equal(tryMerge(request, gap, 1, limits), MergeResult.NONE);
  assert.equal(tryMerge(request, overlap, 1, limits), MergeResult.NONE);
  release([first, gap, overlap]);
});

test('reference 5.4: max_segments 4: the third bio is refused, and the request is closed', () => {
  const limits = validateLimits({ max_segments: 4 });
  const two = (at: number, sector: number): Bio =>
    buildBio(pool, BioOp.WRITE, sector, [
      { page: at, offset: 0, len: 4096 },
      { page: at + 2, offset: 0, len: 4096 },
    ]);
  const bios = [two(10, 0), two(20, 16), page(30, 32), page(40, 48)];
  const request = start(bios[0] as Bio, limits);
  assert.equal(tryMerge(request, bios[1] as Bio, 2, limits), MergeResult.BACK);
  assert.equal(request.segments, 4);
  assert.equal(tryMerge(request, bios[2] as Bio, 1, limits), MergeResult.FAILED);
  assert.ok((request.flags & BioFlag.NOMERGE) !== 0);
  (bios[3] as Bio).sector = 32;
  assert.equal(tryMerge(request, bios[3] as Bio, 0, limits), MergeResult.NONE);
  release(bios);
});

test('counts add, also where the memory runs on', () => {
  const bios = [page(1, 0), page(2, 8)];
  const request = start(bios[0] as Bio, DEFAULT_LIMITS);
  assert.equal(tryMerge(request, bios[1] as Bio, 1, DEFAULT_LIMITS), MergeResult.BACK);
  assert.equal(request.segments, 2);
  release(bios);
});

test('a chunk is counted from where the merged request starts', () => {
  const limits = validateLimits({ chunk_sectors: 16 });
  const bios = [page(1, 8), page(3, 16), page(5, 0)];
  const request = start(bios[0] as Bio, limits);
  assert.equal(tryMerge(request, bios[1] as Bio, 1, limits), MergeResult.FAILED, 'over 16');
  request.flags = 0;
  assert.equal(tryMerge(request, bios[2] as Bio, 1, limits), MergeResult.FRONT, '0 to 16');
  assert.equal(request.sector, 0);
  release(bios);
});

test('a start off the virtual boundary never grows, a contiguous joint is no gap', () => {
  const limits = validateLimits({ virt_boundary_mask: 4095 });
  const part = (at: number, offset: number, len: number, sector: number): Bio =>
    buildBio(pool, BioOp.WRITE, sector, [{ page: at, offset, len }]);
  const off = [part(1, 512, 3584, 0), part(2, 0, 4096, 7)];
  assert.equal(
    tryMerge(start(off[0] as Bio, limits), off[1] as Bio, 1, limits),
    MergeResult.FAILED,
  );
  release(off);
  const apart = [part(1, 0, 512, 0), part(9, 512, 3584, 1)];
  assert.equal(
    tryMerge(start(apart[0] as Bio, limits), apart[1] as Bio, 1, limits),
    MergeResult.FAILED,
  );
  release(apart);
  const joint = [part(1, 0, 512, 0), part(1, 512, 3584, 1)];
  assert.equal(
    tryMerge(start(joint[0] as Bio, limits), joint[1] as Bio, 1, limits),
    MergeResult.BACK,
  );
  release(joint);
});

// Guards: Linux takes a contiguous joint for no gap also where max_segment_size cuts it.
test('a contiguous joint that max_segment_size cuts elsewhere is a gap', () => {
  const limits = validateLimits({ virt_boundary_mask: 4095, max_segment_size: 5120 });
  const bios = [
    buildBio(pool, BioOp.WRITE, 0, [{ page: 4, offset: 0, len: 4608 }]),
    buildBio(pool, BioOp.WRITE, 9, [{ page: 5, offset: 512, len: 3584 }]),
  ];
  const request = start(bios[0] as Bio, limits);
  assert.equal(tryMerge(request, bios[1] as Bio, 1, limits), MergeResult.FAILED);
  release(bios);
});

function discard(sector: number, sectors: number): Bio {
  const bio = pool.acquire(BioOp.DISCARD, sector, 0) as Bio;
  bio.size = sectors * 512;
  return bio;
}

test('discards join as ranges of any place, up to max_discard_segments and the size', () => {
  const limits = validateLimits({ max_hw_discard_sectors: 100, max_discard_segments: 3 });
  const bios = [
    discard(500, 10),
    discard(0, 10),
    discard(90, 70),
    discard(7000, 20),
    discard(9, 1),
  ];
  const request = start(bios[0] as Bio, limits);
  const results = bios.slice(1).map((bio) => tryMerge(request, bio, 1, limits));
  const { DISCARD, FAILED, NONE } = MergeResult;
  assert.deepEqual(results, [DISCARD, DISCARD, FAILED, NONE]);
  assert.equal(request.segments, 3);
  assert.equal(request.bytes, 90 * 512);
  release(bios);
});

// Guards: a discard that goes on was counted as a segment, so max_segments 1 forbade it.
test('a discard that goes on where the request ends is one range', () => {
  const limits = makeLimits({
    ...validateLimits({ max_hw_discard_sectors: 100, max_segments: 1 }),
    max_discard_segments: 1,
  });
  const bios = [discard(50, 10), discard(60, 10), discard(40, 10), discard(70, 80)];
  const request = start(bios[0] as Bio, limits);
  const results = bios.slice(1).map((bio) => tryMerge(request, bio, 1, limits));
  assert.deepEqual(results, [MergeResult.BACK, MergeResult.FRONT, MergeResult.FAILED]);
  assert.deepEqual([request.sector, request.sectors, request.segments], [40, 30, 1]);
  release(bios);
});

// Guards: sectors were rounded down, so a bio of 700 bytes seemed to end where sector 1 starts,
// and a front merge shifted the bytes of the request behind it.
test('bios of a byte-granular target meet at bytes, not at sectors', () => {
  const limits = validateLimits({ dma_alignment: 0 });
  const piece = (start: number, bytes: number): Bio =>
    buildBio(pool, BioOp.WRITE, start / 512, [{ page: start, offset: 0, len: bytes }]);
  const bios = [piece(512, 700), piece(0, 700), piece(1212, 100), piece(12, 500)];
  const request = start(bios[0] as Bio, limits);
  assert.equal(tryMerge(request, bios[1] as Bio, 1, limits), MergeResult.NONE, 'they overlap');
  assert.equal(tryMerge(request, bios[2] as Bio, 1, limits), MergeResult.BACK);
  assert.equal(tryMerge(request, bios[3] as Bio, 1, limits), MergeResult.FRONT);
  assert.deepEqual([request.sector * 512, request.bytes], [12, 1300]);
  release(bios);
});
