import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GIB, PAGE_BYTES } from '../../src/base/units.ts';
import { DmaDevice } from '../../src/dma/dma-device.ts';
import { DEFAULT_LIMITS, makeLimits } from '../../src/limits/limits.ts';
import { Columns } from './columns.ts';
import { World } from './layouts.ts';

const MAX = 2 ** 31;
const limits = makeLimits({ ...DEFAULT_LIMITS, max_segment_size: MAX });

/** Ranges of the device for `segments` of the world at several places. */
function rangesAt(world: World, segments: number): number[] {
  const carrier = new Columns({ device: new DmaDevice(), limits, pagesMax: 256 });
  return [0, 1, 5, 1000].map((turn) => {
    world.place(segments, turn);
    const ranges = carrier.map(world.transfer);
    if (ranges > 0) carrier.unmap();
    carrier.assertNothingOutstanding();
    return ranges;
  });
}

test('A segment is a range of the device: no two folios touch', () => {
  for (const layout of ['pages', 'folios-4', 'mixed'] as const) {
    const world = new World(layout);
    for (const segments of [1, 8, 256]) {
      assert.deepEqual(rangesAt(world, segments), [segments, segments, segments, segments], layout);
    }
  }
});

test('Half of a mixed transfer is of the cache', () => {
  const world = new World('mixed');
  world.place(9, 3);
  const { bytes, cacheCount } = world.transfer;
  assert.deepEqual([bytes / PAGE_BYTES, cacheCount], [5, 4]);
});

test('An aged arena has one page in a hundred free, and no folio for who asks', () => {
  const world = new World('aged');
  assert.equal(Math.round((world.freePages / (GIB / PAGE_BYTES)) * 1000), 10);
  const { hugeFaults, hugeFallbacks } = world.memory.counters;
  assert.equal(hugeFaults, 0);
  assert.ok(hugeFallbacks > 0);
  // By chance a few pages have their neighbour behind them.
  for (const ranges of rangesAt(world, 256)) assert.ok(ranges > 240 && ranges <= 256);
});
