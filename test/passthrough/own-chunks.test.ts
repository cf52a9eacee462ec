import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../src/base/errno.ts';
import { RUNS } from '../../src/base/runs.fuzz.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { BvecTable } from '../../src/bvec/bvec-table.ts';
import type { LimitsInput } from '../../src/limits/limits.ts';
import { validateLimits } from '../../src/limits/validate.ts';
import { ChunkFit, ChunkPlan, planChunks } from '../../src/map/passthrough/chunk-plan.ts';
import {
  addChunk,
  addChunks,
  ChunkFill,
  freeOwnRows,
  ownPagesOf,
} from '../../src/map/passthrough/own-chunks.ts';
import type { FolioSource } from '../../src/map/passthrough/passthrough-context.ts';
import { Arena } from '../../src/memory/arena.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import { judgeRows, type Row } from './passthrough-rig.ts';
import { limitsArb } from './request-cases.fuzz.ts';

const KIB = 1024;

/** Says what it is asked for, and has no folio above `orderMost`. */
class Folios implements FolioSource {
  readonly asked: number[] = [];
  readonly freed: number[] = [];
  orderMost: number;
  #next = 1024;

  constructor(orderMost: number) {
    this.orderMost = orderMost;
  }

  getFolio(order: number): number {
    this.asked.push(order);
    if (order > this.orderMost) return -1;
    this.#next += 1024;
    return this.#next;
  }

  putFolio(page: number): void {
    this.freed.push(page);
  }
}

function runOf(rows: number) {
  return { table: new BvecTable(256), first: 0, maxVecs: rows, vcnt: 0, size: 0 };
}

interface Filled {
  readonly result: number;
  readonly asked: readonly number[];
  readonly lens: readonly number[];
}

function filled(bytes: number, segments: number, input: LimitsInput, orderMost: number): Filled {
  const plan = new ChunkPlan();
  planChunks(bytes, segments, validateLimits({ max_hw_sectors: 2 ** 20, ...input }), plan);
  assert.equal(plan.fit, ChunkFit.FITS);
  const folios = new Folios(orderMost);
  const run = runOf(256);
  const fill = new ChunkFill();
  fill.start(plan, bytes, segments);
  const result = addChunks(run, plan, fill, folios);
  const lens = [...run.table.len.subarray(0, run.vcnt)];
  assert.equal(
    run.size,
    lens.reduce((sum, len) => sum + len, 0),
  );
  assert.deepEqual([fill.left, fill.segmentsLeft], [bytes - run.size, segments - run.vcnt]);
  return { result, asked: folios.asked, lens };
}

describe('chunks', () => {
  test('the largest first, each in a folio of its own', () => {
    assert.deepEqual(filled(140 * KIB, 8, {}, 10), {
      result: 0,
      asked: [4, 4, 2],
      lens: [64 * KIB, 64 * KIB, 12 * KIB],
    });
    // A folio of 16 KiB for as much of it as a segment takes, where whole ones are too small.
    assert.deepEqual(filled(36 * KIB, 3, { max_segment_size: 12 * KIB }, 10), {
      result: 0,
      asked: [2, 2, 2],
      lens: [12 * KIB, 12 * KIB, 12 * KIB],
    });
  });

  test('smaller ones where those are missing, as long as segments are left', () => {
    assert.deepEqual(filled(140 * KIB, 8, {}, 3), {
      result: 0,
      asked: [4, 3, 3, 3, 3, 2],
      lens: [...Array.from({ length: 4 }, () => 32 * KIB), 12 * KIB],
    });
    const missing = filled(140 * KIB, 4, {}, 3);
    assert.deepEqual([missing.result, missing.asked, missing.lens], [-Errno.ENOMEM, [4], []]);
    assert.equal(filled(128 * KIB, 4, {}, 3).result, 0, 'four of 32 KiB');
    assert.equal(filled(4096, 1, {}, -1).result, -Errno.ENOMEM);
  });

  test('nothing below the virtual boundary, but the only one', () => {
    const edged = { virt_boundary_mask: 16383, max_segment_size: 65536 };
    assert.deepEqual(filled(68 * KIB, 8, edged, 10).asked, [4, 2], 'the last starts on it');
    assert.deepEqual(filled(4 * KIB, 8, edged, 10).asked, [0]);
    assert.deepEqual(filled(4 * KIB, 8, edged, 0).result, 0);
    const full = { virt_boundary_mask: 8191, max_segment_size: 4096 };
    assert.deepEqual(filled(4 * KIB, 8, full, 10).asked, [0], 'as large as a segment may be');
    assert.equal(filled(20 * KIB, 8, edged, 1).result, -Errno.ENOMEM);
    assert.deepEqual(filled(20 * KIB, 8, edged, 2).asked, [3, 2, 2]);
  });

  test('a run that is full leaves the rest for another', () => {
    const plan = new ChunkPlan();
    planChunks(5 * 4096, 8, validateLimits({ max_segment_size: 4096 }), plan);
    const fill = new ChunkFill();
    fill.start(plan, 5 * 4096, 8);
    const folios = new Folios(10);
    for (const [vcnt, left] of [
      [2, 3],
      [2, 1],
      [1, 0],
      [0, 0],
    ] as const) {
      const run = runOf(2);
      assert.equal(addChunks(run, plan, fill, folios), 0);
      assert.deepEqual([run.vcnt, fill.left], [vcnt, left * 4096]);
    }
  });

  test('are given back folio by folio; rows of others are not counted as own pages', () => {
    using arena = new Arena({ maxBytes: 64 * PAGE_BYTES, label: 'chunks', places: false });
    const run = runOf(8);
    addChunk(run, arena.getFolio(2), 12 * KIB);
    addChunk(run, arena.getFolio(0), 100);
    assert.deepEqual([run.vcnt, run.size, ownPagesOf(run)], [2, 12388, 4]);
    // Based on a page before it, as a virtual boundary above the page wants it; of two folios.
    const single = arena.claimFolio(33, 0) && arena.claimFolio(34, 0);
    assert.ok(single);
    const page = arena.region.firstPage + 32;
    run.table.set(2, page, PAGE_BYTES, 2 * PAGE_BYTES, HoldKind.OWNED);
    run.vcnt++;
    assert.equal(ownPagesOf(run), 6);
    freeOwnRows(run, arena);
    assert.deepEqual([run.vcnt, run.size, ownPagesOf(run)], [0, 0, 0]);
    arena.assertNothingOutstanding();
    run.table.set(0, page, 0, PAGE_BYTES, HoldKind.BORROWED);
    run.vcnt = 1;
    assert.equal(ownPagesOf(run), 0);
    assert.throws(() => freeOwnRows(run, arena), /somebody else/);
  });

  test('failures are told by order', () => {
    using arena = new Arena({ maxBytes: 16 * PAGE_BYTES, label: 'chunks', places: false });
    const taken = [0, 8].map((frame) => arena.claimFolio(frame, 0));
    assert.deepEqual(taken, [true, true]);
    const plan = new ChunkPlan();
    planChunks(32 * KIB, 8, validateLimits({}), plan);
    const fill = new ChunkFill();
    fill.start(plan, 32 * KIB, 8);
    const run = runOf(8);
    assert.equal(addChunks(run, plan, fill, arena), 0);
    assert.deepEqual([...run.table.len.subarray(0, run.vcnt)], [16 * KIB, 16 * KIB]);
    assert.equal(arena.stats().failuresByOrder[3], 1);
    freeOwnRows(run, arena);
    for (const frame of [0, 8]) arena.putFolio(arena.region.firstPage + frame);
  });
});

/** Frames of an arena that are taken: pages by number, modulo its size. */
const agedArb = fc.oneof(
  fc.constant([] as number[]),
  fc.array(fc.nat(127), { maxLength: 100 }),
  fc.constantFrom(2, 3, 4, 8).map((n) => Array.from({ length: 128 / n }, (_, i) => i * n)),
);

test('chunks keep all limits in an aged arena, or there really is no room for them', () => {
  const arena = new Arena({ maxBytes: 128 * PAGE_BYTES, label: 'aged', places: false });
  const answers = new Map<number, number>();
  fc.assert(
    fc.property(
      limitsArb,
      agedArb,
      fc.integer({ min: 1, max: 70 * PAGE_BYTES }),
      (input, aged, n) => {
        const limits = validateLimits(input);
        const bytes = Math.min(n, limits.max_hw_sectors * 512);
        const taken = [...new Set(aged)].filter((frame) => arena.claimFolio(frame, 0));
        const plan = new ChunkPlan();
        planChunks(bytes, limits.max_segments, limits, plan);
        const run = { table: new BvecTable(256), first: 0, maxVecs: 256, vcnt: 0, size: 0 };
        if (plan.fit === ChunkFit.FITS) {
          const fill = new ChunkFill();
          fill.start(plan, bytes, limits.max_segments);
          const result = addChunks(run, plan, fill, arena);
          answers.set(result, (answers.get(result) ?? 0) + 1);
          const rows: Row[] = Array.from({ length: run.vcnt }, (_, i) => ({
            addr: run.table.page[i] * PAGE_BYTES + run.table.offset[i],
            len: run.table.len[i],
          }));
          if (result === 0) {
            assert.equal(run.size, bytes);
            const { faults, segments } = judgeRows(rows, limits);
            assert.deepEqual(faults, []);
            assert.equal(segments, rows.length, 'a chunk is one segment');
          } else {
            assert.equal(result, -Errno.ENOMEM);
            assert.ok(!someWay(bytes, limits, freeRuns(taken)), 'there was a way');
          }
        }
        freeOwnRows(run, arena);
        for (const frame of taken) arena.putFolio(arena.region.firstPage + frame);
        arena.assertNothingOutstanding();
      },
    ),
    RUNS,
  );
  const seen = (answer: number): number => (answers.get(answer) ?? 0) / RUNS.numRuns;
  assert.ok(RUNS.numRuns < 1000 || (seen(0) > 0.1 && seen(-Errno.ENOMEM) > 0.01));
});

/** Sizes of the free folios: naturally aligned powers of two, as large as they can be. */
function freeRuns(taken: readonly number[]): number[] {
  const sizes: number[] = [];
  const isFree = (start: number, pages: number): boolean =>
    !taken.some((frame) => frame >= start && frame < start + pages);
  const walk = (start: number, pages: number): void => {
    if (isFree(start, pages)) sizes.push(pages);
    else if (pages > 1) {
      walk(start, pages / 2);
      walk(start + pages / 2, pages / 2);
    }
  };
  walk(0, 128);
  return sizes.sort((a, b) => b - a);
}

/** Largest first: is there a choice of segments in the free folios? */
function someWay(
  bytes: number,
  limits: ReturnType<typeof validateLimits>,
  free: readonly number[],
): boolean {
  const window = Math.min(limits.max_segment_size, limits.seg_boundary_mask + 1);
  const edge = Math.max(limits.virt_boundary_mask, limits.dma_pad_mask) + 1;
  const inside = window - (window % edge);
  // Whole folios only: what a chunk of an odd size leaves of its folio is not used for another.
  const pieces: number[] = [];
  for (const pages of free) {
    const most = Math.min(pages * PAGE_BYTES, 2 ** Math.floor(Math.log2(Math.max(inside, 1))));
    if (most < edge || most < PAGE_BYTES) continue;
    for (let at = 0; at < pages * PAGE_BYTES; at += most) pieces.push(most);
  }
  pieces.sort((a, b) => b - a);
  let left = bytes;
  for (const piece of pieces.slice(0, limits.max_segments)) left -= piece;
  return left <= 0;
}
