import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInThisContext } from 'node:vm';
import {
  DEFAULT_LIMITS,
  LIMIT_NAMES,
  LIMIT_WIDTHS,
  type Limits,
  makeLimits,
  STACKING_LIMITS,
} from './limits.ts';
import { PRESET_NAMES, presetLimits } from './presets.ts';
import { stackLimits } from './stack.ts';
import { fromEffective, validateLimits } from './validate.ts';

setFlagsFromString('--allow-natives-syntax');
const haveSameClass: (a: object, b: object) => boolean = runInThisContext(
  '(a, b) => %HaveSameMap(a, b)',
);

test('every Limits has the same hidden class, whoever made it', () => {
  const made: Limits[] = [
    STACKING_LIMITS,
    validateLimits({}),
    validateLimits({ virt_boundary_mask: 4095, io_opt: 4096, nomerges: 2 }),
    fromEffective({ chunk_sectors: 24, seg_boundary_mask: Number.MAX_SAFE_INTEGER }),
    stackLimits(STACKING_LIMITS, DEFAULT_LIMITS).limits,
    ...PRESET_NAMES.map(presetLimits),
  ];
  // A class that was given up can still look alike: compare after all of them exist.
  for (const limits of made) assert(haveSameClass(limits, DEFAULT_LIMITS));
  assert(!haveSameClass({ ...DEFAULT_LIMITS }, DEFAULT_LIMITS), 'the comparison can fail');
});

test('a Limits is frozen and holds exactly the named fields', () => {
  assert(Object.isFrozen(DEFAULT_LIMITS));
  assert.deepEqual(Object.keys(DEFAULT_LIMITS), LIMIT_NAMES);
  assert.deepEqual(Object.keys(makeLimits({ ...STACKING_LIMITS })), LIMIT_NAMES);
  for (const name of LIMIT_NAMES) {
    const type = LIMIT_WIDTHS[name] === 'flag' ? 'boolean' : 'number';
    assert.equal(typeof DEFAULT_LIMITS[name], type, name);
  }
});

test('the defaults are those of the reference, 5.1 and the table of constants', () => {
  assert.deepEqual(validateLimits({}), DEFAULT_LIMITS);
  assert.equal(DEFAULT_LIMITS.logical_block_size, 512);
  assert.equal(DEFAULT_LIMITS.physical_block_size, 512);
  assert.equal(DEFAULT_LIMITS.io_min, 512);
  assert.equal(DEFAULT_LIMITS.io_opt, 0);
  assert.equal(DEFAULT_LIMITS.max_hw_sectors, 255);
  assert.equal(DEFAULT_LIMITS.max_sectors, 255);
  assert.equal(DEFAULT_LIMITS.max_segments, 128);
  assert.equal(DEFAULT_LIMITS.max_segment_size, 65536);
  assert.equal(DEFAULT_LIMITS.seg_boundary_mask, 0xffffffff);
  assert.equal(DEFAULT_LIMITS.virt_boundary_mask, 0);
  assert.equal(DEFAULT_LIMITS.dma_alignment, 511);
  assert.equal(DEFAULT_LIMITS.dma_pad_mask, 0);
  assert.equal(DEFAULT_LIMITS.chunk_sectors, 0);
  assert.equal(DEFAULT_LIMITS.max_discard_sectors, 0);
  assert.equal(DEFAULT_LIMITS.discard_granularity, 0);
  assert.equal(DEFAULT_LIMITS.max_discard_segments, 1);
});
