import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { KIB, MIB } from '../../base/units.ts';
import type { LimitsInput } from '../../limits/limits.ts';
import { validateLimits } from '../../limits/validate.ts';
import { ChunkFit, ChunkPlan, chunkBytesAt, lastBytesAt, planChunks } from './chunk-plan.ts';

const { FITS, NEVER, TOO_LARGE } = ChunkFit;

function planOf(bytes: number, segments: number, input: LimitsInput): ChunkPlan {
  const plan = new ChunkPlan();
  // What an earlier request left says nothing about this one.
  Object.assign(plan, { fit: 9, chunkBytes: 1, order: 9, lastBytes: 1, orderMin: 9 });
  planChunks(bytes, segments, validateLimits({ max_hw_sectors: 2 ** 20, ...input }), plan);
  return plan;
}

function fitOf(bytes: number, segments: number, input: LimitsInput): ChunkFit {
  return planOf(bytes, segments, input).fit;
}

describe('a plan', () => {
  test('the largest folios that a segment takes', () => {
    const plain = planOf(MIB, 128, {});
    assert.deepEqual([plain.fit, plain.chunkBytes, plain.order], [FITS, 64 * KIB, 4]);
    assert.deepEqual([plain.lastBytes, plain.orderMin], [64 * KIB, 0]);
    const windows = planOf(MIB, 128, { seg_boundary_mask: 8191 });
    assert.deepEqual([windows.chunkBytes, windows.order, windows.lastBytes], [8192, 1, 8192]);
    const large = planOf(MIB, 128, { max_segment_size: 2 ** 32 - 1 });
    assert.deepEqual([large.chunkBytes, large.order, large.lastBytes], [4 * MIB, 10, 4 * MIB]);
  });

  test('as much of a folio as a segment takes, only where whole folios are too small', () => {
    const odd = { max_segment_size: 12288 };
    const whole = planOf(8 * KIB * 3 + 12 * KIB, 4, odd);
    assert.deepEqual([whole.fit, whole.chunkBytes, whole.order], [FITS, 8 * KIB, 1]);
    const parts = planOf(8 * KIB * 3 + 12 * KIB + 1, 4, odd);
    assert.deepEqual([parts.fit, parts.chunkBytes, parts.order], [FITS, 12 * KIB, 2]);
    assert.deepEqual([fitOf(48 * KIB, 4, odd), fitOf(48 * KIB + 1, 4, odd)], [FITS, NEVER]);
  });

  test('all but the last are multiples of boundary and padding; the last is free', () => {
    const edged = { max_segment_size: 12288, virt_boundary_mask: 8191 };
    const plan = planOf(20 * KIB, 2, edged);
    assert.deepEqual([plan.fit, plan.chunkBytes, plan.lastBytes], [FITS, 8 * KIB, 12 * KIB]);
    assert.deepEqual([plan.orderMin, fitOf(20 * KIB + 1, 2, edged)], [1, NEVER]);
    const padded = { max_segment_size: 5000, dma_pad_mask: 511 };
    assert.deepEqual([fitOf(4608 + 5000, 2, padded), fitOf(4608 + 5001, 2, padded)], [FITS, NEVER]);
    // A boundary above what a segment takes leaves room for one, the last.
    const wide = { max_segment_size: 4096, virt_boundary_mask: 8191 };
    assert.deepEqual([fitOf(4096, 8, wide), fitOf(4097, 8, wide)], [FITS, NEVER]);
    assert.equal(planOf(4096, 8, wide).chunkBytes, 0);
  });

  test('no segment is left, or one', () => {
    assert.deepEqual([fitOf(1, 0, {}), fitOf(1, -1, {})], [NEVER, NEVER]);
    assert.deepEqual([fitOf(64 * KIB, 1, {}), fitOf(64 * KIB + 1, 1, {})], [FITS, NEVER]);
  });

  test('limits that want more than the largest folio, of 4 MiB', () => {
    const large = { max_segment_size: 2 ** 32 - 1 };
    assert.deepEqual([fitOf(4 * MIB, 1, large), fitOf(4 * MIB + 1, 1, large)], [FITS, TOO_LARGE]);
    assert.deepEqual([fitOf(8 * MIB, 2, large), fitOf(8 * MIB + 1, 2, large)], [FITS, TOO_LARGE]);
    // No folio that is not the last may be below the boundary, and none is above 4 MiB.
    const edged = { ...large, virt_boundary_mask: 2 * MIB - 1 };
    assert.deepEqual([fitOf(8 * MIB, 2, edged), planOf(8 * MIB, 2, edged).orderMin], [FITS, 9]);
    const over = { ...large, virt_boundary_mask: 8 * MIB - 1 };
    assert.deepEqual([fitOf(4 * MIB, 2, over), fitOf(4 * MIB + 1, 2, over)], [FITS, TOO_LARGE]);
  });
});

describe('where folios are smaller than planned', () => {
  const plan = planOf(MIB, 128, { virt_boundary_mask: 8191, max_segment_size: 65536 });

  test('a chunk inside is a folio, but not below the boundary', () => {
    assert.deepEqual([plan.order, plan.orderMin], [4, 1]);
    assert.deepEqual(
      [5, 4, 3, 1, 0, -1].map((order) => chunkBytesAt(order, plan)),
      [65536, 65536, 32768, 8192, 0, 0],
    );
  });

  test('the last one may be larger, and any folio does when it is the only one', () => {
    const odd = planOf(20 * KIB, 2, { max_segment_size: 12288, virt_boundary_mask: 8191 });
    const sizes = (isFirst: boolean): number[] =>
      [2, 1, 0, -1].map((order) => lastBytesAt(order, isFirst, odd));
    assert.deepEqual(sizes(false), [12288, 8192, 0, 0]);
    assert.deepEqual(sizes(true), [12288, 8192, 4096, 0]);
  });
});
