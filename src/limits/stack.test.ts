import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import { DEFAULT_LIMITS, type Limits, type LimitsInput, STACKING_LIMITS } from './limits.ts';
import { presetLimits } from './presets.ts';
import { type Stacked, stackLimits } from './stack.ts';
import { fromEffective, validateLimits } from './validate.ts';

type Row = readonly [top: LimitsInput, bottom: LimitsInput, expected: Partial<Limits>];

const BIG: LimitsInput = { max_hw_sectors: 65535 };

function stack(top: LimitsInput, bottom: LimitsInput, start = 0): Stacked {
  const a = validateLimits({ ...BIG, ...top });
  return stackLimits(a, validateLimits({ ...BIG, ...bottom }), start);
}

/** Every row is checked in both orders. */
function expectRows(rows: readonly Row[]): void {
  for (const [top, bottom, expected] of rows) {
    for (const { limits } of [stack(top, bottom), stack(bottom, top)]) {
      const text = `${JSON.stringify(top)} on ${JSON.stringify(bottom)}`;
      assert.deepEqual({ ...limits }, { ...limits, ...expected }, text);
    }
  }
}

test('blocks and hints: the larger block, the least common io_opt', () => {
  expectRows([
    [{ logical_block_size: 4096 }, {}, { logical_block_size: 4096, physical_block_size: 4096 }],
    [{ physical_block_size: 8192 }, {}, { physical_block_size: 8192, io_min: 8192 }],
    [{ io_min: 65536 }, { io_min: 4096 }, { io_min: 65536 }],
    [{ io_opt: 65536 * 3 }, { io_opt: 65536 * 2 }, { io_opt: 65536 * 6 }],
    [{ io_opt: 65536 }, {}, { io_opt: 65536 }],
  ]);
});

test('sizes: the smaller one that is set, in whole stacked blocks', () => {
  expectRows([
    [{ max_hw_sectors: 255 }, { max_hw_sectors: 1024 }, { max_hw_sectors: 255, max_sectors: 255 }],
    [{ max_hw_sectors: 255 }, { logical_block_size: 4096 }, { max_hw_sectors: 248 }],
    [{ max_user_sectors: 20 }, { logical_block_size: 4096 }, { max_sectors: 16 }],
    [{ max_dev_sectors: 100 }, {}, { max_dev_sectors: 100, max_sectors: 100 }],
    [{ max_user_sectors: 24 }, { max_user_sectors: 12 }, { max_user_sectors: 12 }],
    [{ max_user_sectors: 24 }, {}, { max_user_sectors: 24, max_sectors: 24 }],
  ]);
});

test('segments: the fewest, the smallest, the strictest mask', () => {
  expectRows([
    [{ max_segments: 4 }, { max_segments: 168 }, { max_segments: 4 }],
    [{ max_segment_size: 4608 }, {}, { max_segment_size: 4608 }],
    [{ virt_boundary_mask: 4095 }, {}, { max_segment_size: 65536, virt_boundary_mask: 4095 }],
    [{ seg_boundary_mask: 65535 }, {}, { seg_boundary_mask: 65535 }],
    [{ dma_alignment: 3 }, { dma_alignment: 31 }, { dma_alignment: 31 }],
    [{ max_integrity_segments: 4 }, {}, { max_integrity_segments: 4 }],
    [{ max_integrity_segments: 4 }, { max_integrity_segments: 2 }, { max_integrity_segments: 2 }],
  ]);
});

test('a virtual boundary and a pad mask stack to the stricter one, unlike Linux', () => {
  expectRows([
    [{ virt_boundary_mask: 4095 }, { virt_boundary_mask: 65535 }, { virt_boundary_mask: 65535 }],
    [{ dma_pad_mask: 3 }, { dma_pad_mask: 511 }, { dma_pad_mask: 511 }],
    [{ dma_pad_mask: 3 }, {}, { dma_pad_mask: 3 }],
    [
      { virt_boundary_mask: 2 ** 40 - 1 },
      { virt_boundary_mask: 4095 },
      { virt_boundary_mask: 2 ** 40 - 1 },
    ],
  ]);
});

test('chunk: the greatest common divisor, none is neutral', () => {
  expectRows([
    [{ chunk_sectors: 256 }, { chunk_sectors: 96 }, { chunk_sectors: 32 }],
    [{ chunk_sectors: 24 }, {}, { chunk_sectors: 24 }],
    [{}, {}, { chunk_sectors: 0 }],
    // Linux drops this chunk: it is no multiple of the physical block.
    [{ chunk_sectors: 10 }, { physical_block_size: 4096 }, { chunk_sectors: 10, misaligned: true }],
  ]);
  assert.equal(stack({ chunk_sectors: 256 }, { physical_block_size: 4096 }).misaligned, false);
});

test('discard: what both can; Linux lets the one that can speak for both', () => {
  const able: LimitsInput = { max_hw_discard_sectors: 1000, discard_granularity: 4096 };
  expectRows([
    [
      able,
      { max_hw_discard_sectors: 600, discard_granularity: 65536, max_discard_segments: 256 },
      { max_discard_sectors: 600, discard_granularity: 65536, max_discard_segments: 1 },
    ],
    [able, {}, { max_discard_sectors: 0, max_hw_discard_sectors: 0, discard_granularity: 0 }],
    [{ max_secure_erase_sectors: 8 }, {}, { max_secure_erase_sectors: 0 }],
    [{ max_write_zeroes_sectors: 8 }, {}, { max_write_zeroes_sectors: 0 }],
    [
      { max_write_zeroes_sectors: 8 },
      { max_write_zeroes_sectors: 24 },
      { max_write_zeroes_sectors: 8 },
    ],
  ]);
});

test('discard alignment moves with the start of the part', () => {
  const able: LimitsInput = { max_hw_discard_sectors: 1000, discard_granularity: 4096 };
  // Sector 3 is 1536 bytes into a unit of 4096: the next unit starts after 2560 bytes.
  const bottom = validateLimits(able);
  assert.equal(stackLimits(STACKING_LIMITS, bottom, 3).limits.discard_alignment, 2560);
  assert.equal(stackLimits(STACKING_LIMITS, bottom, 8).limits.discard_alignment, 0);
});

test('features: a cache anywhere, FUA only if every cache has it', () => {
  const cache: LimitsInput = { write_cache: true };
  const fua: LimitsInput = { write_cache: true, fua: true };
  expectRows([
    [cache, {}, { write_cache: true, fua: false }],
    [fua, cache, { write_cache: true, fua: false }],
    [fua, {}, { write_cache: true, fua: true }],
    [{ read_only: true }, {}, { read_only: true }],
    [{ rotational: true }, {}, { rotational: true }],
    [{ nomerges: 1 }, { nomerges: 2 }, { nomerges: 2 }],
    [{ zone_write_granularity: 4096 }, {}, { zone_write_granularity: 4096 }],
    [
      { zone_write_granularity: 512 },
      { logical_block_size: 4096 },
      { zone_write_granularity: 4096 },
    ],
  ]);
});

const ATOMIC: LimitsInput = {
  max_hw_sectors: 65535,
  atomic_write_unit_min_bytes: 512,
  atomic_write_unit_max_bytes: 65536,
  atomic_write_max_bytes: 131072,
};

test('atomic writes: the intersection of both parts, or none', () => {
  const bounded: LimitsInput = {
    ...ATOMIC,
    atomic_write_unit_min_bytes: 4096,
    atomic_write_unit_max_bytes: 16384,
    atomic_write_max_bytes: 16384,
    atomic_write_boundary_bytes: 16384,
  };
  const off = { atomic_write_unit_min_bytes: 0, atomic_write_max_bytes: 0 };
  expectRows([
    [
      ATOMIC,
      bounded,
      {
        atomic_write_unit_min_bytes: 4096,
        atomic_write_unit_max_bytes: 16384,
        atomic_write_max_bytes: 16384,
        atomic_write_boundary_bytes: 16384,
      },
    ],
    [ATOMIC, {}, off],
    [
      ATOMIC,
      { ...ATOMIC, atomic_write_unit_min_bytes: 65536 },
      { atomic_write_unit_min_bytes: 65536, atomic_write_unit_max_bytes: 65536 },
    ],
    [{ ...ATOMIC, atomic_write_unit_max_bytes: 2048 }, bounded, off],
    [bounded, { ...ATOMIC, chunk_sectors: 48 }, off],
  ]);
  assert.equal(stack({ ...ATOMIC }, bounded, 8).limits.atomic_write_max_bytes, 0);
  assert.equal(stack({ ...ATOMIC }, bounded, 32).limits.atomic_write_max_bytes, 16384);
});

test('alignment: blocks line up if the larger interval is a multiple of the smaller', () => {
  const disk4k: LimitsInput = { physical_block_size: 4096 };
  // A partition at sector 63: the next physical block starts 512 bytes in. 4608 on 512 is whole.
  const old = stackLimits(STACKING_LIMITS, validateLimits(disk4k), 63);
  assert.equal(old.limits.alignment_offset, 512);
  assert.equal(old.misaligned, false);
  // That one beside an aligned one: 4608 against 4096.
  const mixed = stackLimits(old.limits, validateLimits(disk4k), 2048);
  assert.equal(mixed.misaligned, true);
  assert.equal(mixed.limits.misaligned, true);
  // 4608 against 4096 with the same offset on both: no question arises.
  assert.equal(stackLimits(old.limits, validateLimits(disk4k), 63).misaligned, false);
  // Offsets that are whole blocks: 4096 + 4096 against 4096 + 0.
  assert.equal(stack({ ...disk4k, io_min: 8192 }, disk4k, 8).misaligned, false);
});

test('alignment: an offset inside a stacked logical block is misaligned', () => {
  const odd = fromEffective({ io_min: 3584, alignment_offset: 512 }); // 3584 + 512 = 4096.
  const native = validateLimits({ logical_block_size: 4096 });
  for (const [top, bottom] of [[odd, native] as const, [native, odd] as const]) {
    const { limits, misaligned } = stackLimits(top, bottom);
    assert.equal(limits.alignment_offset, 512);
    assert.equal(misaligned, true);
  }
});

test('misaligned: this step in the result, every step in the limits', () => {
  const bad = fromEffective({ misaligned: true });
  const { limits, misaligned } = stackLimits(bad, DEFAULT_LIMITS);
  assert.equal(misaligned, false);
  assert.equal(limits.misaligned, true);
  assert.equal(stackLimits(DEFAULT_LIMITS, bad).limits.misaligned, true);
});

test('hints that do not fit the stacked blocks are reset and reported', () => {
  const ioMin = stack({ io_min: 5120 }, { physical_block_size: 4096 });
  assert.equal(ioMin.limits.io_min, 4096);
  assert.equal(ioMin.misaligned, true);
  const ioOpt = stack({ io_opt: 5120 }, { physical_block_size: 4096 });
  assert.equal(ioOpt.limits.io_opt, 0);
  assert.equal(ioOpt.misaligned, true);
});

test('an io_opt above 2^32 - 1 is no hint', () => {
  // 65521 and 65519 are primes: 512 * 65521 * 127 is below 2^32, times 65519 is not.
  const a = fromEffective({ io_opt: 512 * 65521 });
  const b = stackLimits(a, fromEffective({ io_opt: 512 * 127 })).limits;
  assert.equal(b.io_opt, 512 * 65521 * 127);
  assert.equal(stackLimits(b, fromEffective({ io_opt: 512 * 65519 })).limits.io_opt, 0);
});

test('a stack that cannot carry one block is refused', () => {
  const small = validateLimits({ max_hw_sectors: 16 });
  const large = validateLimits({ max_hw_sectors: 1024, logical_block_size: 65536 });
  assert.throws(
    () => stackLimits(small, large),
    new BlockError('EINVAL', {
      reason:
        'stacked max_hw_sectors is 16 sectors, but must be at least ' +
        'one stacked logical block of 65536 bytes',
    }),
  );
});

test('STACKING_LIMITS is neutral but for dma_alignment', () => {
  for (const name of ['nvme', 'virtio', 'sata', '4kn', 'file', 'unlimited']) {
    const part = presetLimits(name);
    const { limits, misaligned } = stackLimits(STACKING_LIMITS, part);
    assert.deepEqual({ ...limits }, { ...part, dma_alignment: 511 }, name);
    assert.equal(misaligned, false);
  }
});
