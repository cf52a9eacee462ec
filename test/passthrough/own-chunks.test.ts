import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../src/base/errno.ts';
import { RUNS } from '../../src/base/runs.fuzz.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { BvecTable } from '../../src/bvec/bvec-table.ts';
import { validateLimits } from '../../src/limits/validate.ts';
import { ChunkFit, ChunkPlan, planChunks } from '../../src/map/passthrough/chunk-plan.ts';
import { addChunks, ChunkFill, freeOwnRows } from '../../src/map/passthrough/own-chunks.ts';
import { Arena } from '../../src/memory/arena.ts';
import { judgeRows, type Row } from './passthrough-rig.ts';
import { limitsArb } from './request-cases.fuzz.ts';

const KIB = 1024;

test('the examples of the plan', () => {
  const plan = new ChunkPlan();
  const plain = validateLimits({ max_hw_sectors: 8192 });
  planChunks(1024 * KIB, 128, plain, plan);
  assert.deepEqual([plan.fit, plan.chunkBytes, plan.order], [ChunkFit.FITS, 64 * KIB, 4]);
  const odd = validateLimits({ max_segment_size: 12288 });
  planChunks(48 * KIB, 4, odd, plan);
  assert.deepEqual([plan.fit, plan.chunkBytes, plan.order], [ChunkFit.FITS, 12 * KIB, 2]);
  planChunks(48 * KIB + 1, 4, odd, plan);
  assert.equal(plan.fit, ChunkFit.NEVER);
  // All but the last are multiples of the boundary: 8 KiB and then 12.
  const edged = validateLimits({ max_segment_size: 12288, virt_boundary_mask: 8191 });
  planChunks(20 * KIB, 2, edged, plan);
  assert.equal(plan.fit, ChunkFit.FITS);
  planChunks(20 * KIB + 1, 2, edged, plan);
  assert.equal(plan.fit, ChunkFit.NEVER);
  // Limits allow one segment of 8 MiB, but the largest folio has 4.
  const wide = validateLimits({ max_segment_size: 2 ** 32 - 1, max_segments: 1 });
  planChunks(8192 * KIB, 1, wide, plan);
  assert.equal(plan.fit, ChunkFit.TOO_LARGE);
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
  assert.ok((answers.get(0) ?? 0) > 100 && (answers.get(-Errno.ENOMEM) ?? 0) > 10);
  assert.ok(
    arena.stats().failuresByOrder.some((count) => count > 0),
    'failures are told by order',
  );
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
