import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { generate } from '../integrity/generate.ts';
import { PiWalk } from '../integrity/pi-walk.ts';
import { zeroPages } from '../memory/copy.ts';
import { FreshTuples, OneRow } from './fresh-tuples.ts';
import { layoutFor } from './open-store.ts';
import { rigArena } from './protect-rig.fuzz.ts';
import { FreshBlocks } from './superblock.ts';

const BLOCKS_MAX = 600;
const INTERVAL = 512;

for (const guard of ['crc64', 'crc16'] as const) {
  test(`${guard}: tuples of zeros are those that zeros get when they are written`, () => {
    const fresh = FreshBlocks.ZEROS;
    const layout = layoutFor(2 ** 30, { guard, fresh, intervalBytes: INTERVAL });
    const tuples = new FreshTuples(layout, fresh, rigArena);
    using data = rigArena.alloc(BLOCKS_MAX * INTERVAL);
    using made = rigArena.alloc(4 * PAGE_BYTES);
    using expected = rigArena.alloc(4 * PAGE_BYTES);
    zeroPages(data.page, 0, data.length);
    const check = (first: number, count: number, offset: number): void => {
      const bytes = count * layout.tupleBytes;
      for (const { page, length } of [made, expected]) zeroPages(page, 0, length);
      tuples.fillZeros(made.page, offset, first, count);
      const walk = new PiWalk();
      const zeros = new OneRow().rows(data.page, 0, count * INTERVAL);
      const row = new OneRow().rows(expected.page, offset, bytes);
      walk.startSeparate(layout.profile, zeros, row);
      generate(walk, layout.profile, first);
      assert.equal(Buffer.compare(made.bytes, expected.bytes), 0, `${count} from ${first}`);
    };
    const block = fc.oneof(
      fc.nat(5000),
      fc.nat(1000).map((n) => 2 ** 32 - 500 + n),
    );
    const numRuns = Math.min(RUNS.numRuns, 500);
    fc.assert(fc.property(block, fc.integer({ min: 1, max: BLOCKS_MAX }), fc.nat(100), check), {
      ...RUNS,
      numRuns,
    });
  });
}
