import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockError } from '../base/block-error.ts';
import type { Limits, LimitsInput } from './limits.ts';
import { LINUX_6_1, LINUX_6_12 } from './profile.ts';
import { fromEffective, isMask, validateLimits } from './validate.ts';

type Row = readonly [given: LimitsInput, expected: Partial<Limits>];

function expectRows(validate: (input: LimitsInput) => Limits, rows: readonly Row[]): void {
  for (const [given, expected] of rows) {
    const limits = validate(given);
    assert.deepEqual({ ...limits }, { ...limits, ...expected }, JSON.stringify(given));
  }
}

test('block sizes: physical and io_min are raised, io_opt is rounded down', () => {
  expectRows(validateLimits, [
    [{ logical_block_size: 65536, max_hw_sectors: 256 }, { physical_block_size: 65536 }],
    [{ logical_block_size: 4096 }, { physical_block_size: 4096, io_min: 4096 }],
    [{ physical_block_size: 4096 }, { logical_block_size: 512, io_min: 4096 }],
    [{ physical_block_size: 512, logical_block_size: 1024 }, { physical_block_size: 1024 }],
    [{ physical_block_size: 4096, io_min: 65536 }, { io_min: 65536 }],
    [{ physical_block_size: 4096, io_opt: 10000 }, { io_opt: 8192 }],
    [{ physical_block_size: 4096, io_opt: 4095 }, { io_opt: 0 }],
    [{ logical_block_size: 0 }, { logical_block_size: 512 }],
  ]);
});

test('max_sectors: hard limits, then the user, then the hints above the cap, then the cap', () => {
  expectRows(validateLimits, [
    [
      { max_hw_sectors: 255, logical_block_size: 4096 },
      { max_hw_sectors: 248, max_sectors: 248 },
    ],
    [
      { max_hw_sectors: 9, logical_block_size: 1024 },
      { max_hw_sectors: 8, max_sectors: 8 },
    ],
    [{ max_hw_sectors: 65535 }, { max_sectors: 8192 }],
    [{ max_hw_sectors: 65535, max_dev_sectors: 1000 }, { max_sectors: 1000 }],
    [{ max_hw_sectors: 1000, max_dev_sectors: 65535 }, { max_sectors: 1000 }],
    [{ max_hw_sectors: 65535, max_user_sectors: 24 }, { max_sectors: 24 }],
    [{ max_hw_sectors: 65535, max_user_sectors: 20000 }, { max_sectors: 20000 }],
    [{ max_hw_sectors: 1024, max_user_sectors: 20000 }, { max_sectors: 1024 }],
    // 8 MiB of io_opt is above the cap of 4 MiB, 4 MiB is not.
    [{ max_hw_sectors: 65535, io_opt: 8 << 20 }, { max_sectors: 16384 }],
    [{ max_hw_sectors: 65535, io_opt: 4 << 20 }, { max_sectors: 8192 }],
    [{ max_hw_sectors: 65535, io_opt: 1 << 20 }, { max_sectors: 8192 }],
    [{ max_hw_sectors: 65535, io_min: 8 << 20 }, { max_sectors: 16384 }],
    [{ max_hw_sectors: 65535, io_opt: 16 << 20, io_min: 8 << 20 }, { max_sectors: 32768 }],
    [{ max_hw_sectors: 65535, io_opt: 8 << 20, max_user_sectors: 64 }, { max_sectors: 64 }],
    [{ max_hw_sectors: 65535, io_opt: 64 << 20 }, { max_sectors: 65535 }],
    // Derived: what the input says about it does not count.
    [{ max_hw_sectors: 1024, max_sectors: 16 }, { max_sectors: 1024 }],
  ]);
});

test('the cap of 6.1 and 6.12 is 1280 KiB', () => {
  const input = { max_hw_sectors: 65535 };
  assert.equal(validateLimits(input, LINUX_6_1).max_sectors, 2560);
  assert.equal(validateLimits(input, LINUX_6_12).max_sectors, 2560);
});

test('segments: a virtual boundary lifts the default size, not a given one', () => {
  expectRows(validateLimits, [
    [{ virt_boundary_mask: 4095 }, { max_segment_size: 0xffffffff }],
    [{ virt_boundary_mask: 4095, max_segment_size: 0 }, { max_segment_size: 0xffffffff }],
    [{ virt_boundary_mask: 4095, max_segment_size: 8192 }, { max_segment_size: 8192 }],
    [{ max_segment_size: 6000 }, { max_segment_size: 6000 }],
    [{ max_segment_size: 4096 }, { max_segment_size: 4096 }],
    [{ seg_boundary_mask: 4095 }, { seg_boundary_mask: 4095 }],
    [{ seg_boundary_mask: 0 }, { seg_boundary_mask: 0xffffffff }],
    [{ max_segments: 0 }, { max_segments: 128 }],
    [{ chunk_sectors: 10 }, { chunk_sectors: 10 }],
  ]);
});

test('dma_alignment 0 is any address, but 511 where 0 means "not set"', () => {
  assert.equal(validateLimits({ dma_alignment: 0 }).dma_alignment, 0);
  assert.equal(validateLimits({ dma_alignment: 0 }, LINUX_6_1).dma_alignment, 0);
  assert.equal(validateLimits({ dma_alignment: 0 }, LINUX_6_12).dma_alignment, 511);
  assert.equal(validateLimits({ dma_alignment: 3 }, LINUX_6_12).dma_alignment, 3);
});

test('discard: min of device and user; granularity 0 without it, >= physical block with it', () => {
  const able = { max_hw_discard_sectors: 1000 };
  expectRows(validateLimits, [
    [able, { max_discard_sectors: 1000, discard_granularity: 512, max_discard_segments: 1 }],
    [{ ...able, physical_block_size: 4096 }, { discard_granularity: 4096 }],
    [{ ...able, discard_granularity: 65536 }, { discard_granularity: 65536 }],
    [{ ...able, max_user_discard_sectors: 64 }, { max_discard_sectors: 64 }],
    [
      { ...able, max_user_discard_sectors: 0, discard_granularity: 4096, discard_alignment: 512 },
      { max_discard_sectors: 0, discard_granularity: 0, discard_alignment: 0 },
    ],
    [{ discard_granularity: 4096 }, { max_discard_sectors: 0, discard_granularity: 0 }],
    [
      { ...able, discard_granularity: 4096, discard_alignment: 4096 + 512 },
      { discard_alignment: 512 },
    ],
    [{ max_discard_sectors: 64 }, { max_hw_discard_sectors: 64, max_discard_sectors: 64 }],
  ]);
});

test('the rest: zones, alignment, FUA', () => {
  expectRows(validateLimits, [
    [{ zone_write_granularity: 512, logical_block_size: 4096 }, { zone_write_granularity: 4096 }],
    [{ zone_write_granularity: 0 }, { zone_write_granularity: 0 }],
    [{ alignment_offset: 3584, physical_block_size: 4096 }, { alignment_offset: 3584 }],
    [{ alignment_offset: 7680, physical_block_size: 4096 }, { alignment_offset: 3584 }],
    [{ alignment_offset: 512, physical_block_size: 4096, misaligned: true }, { misaligned: false }],
    [{ misaligned: true }, { misaligned: true }],
    [{ fua: true }, { fua: false }],
    [{ fua: true, write_cache: true }, { fua: true }],
  ]);
});

const ATOMIC: LimitsInput = {
  max_hw_sectors: 1024,
  atomic_write_unit_min_bytes: 512,
  atomic_write_unit_max_bytes: 65536,
  atomic_write_max_bytes: 65536,
};

test('atomic writes fit what one request surely carries', () => {
  expectRows(validateLimits, [
    [ATOMIC, { atomic_write_unit_min_bytes: 512, atomic_write_unit_max_bytes: 65536 }],
    // 32 sectors = 16 KiB of hard limit.
    [
      { ...ATOMIC, max_hw_sectors: 32 },
      { atomic_write_unit_max_bytes: 16384, atomic_write_max_bytes: 16384 },
    ],
    // 4 vecs: two blocks of 512 and two pages are 9216 bytes, so 8192.
    [{ ...ATOMIC, max_segments: 4 }, { atomic_write_unit_max_bytes: 8192 }],
    // A maximum of 65537 bytes holds 128 whole blocks.
    [{ ...ATOMIC, atomic_write_max_bytes: 65537 }, { atomic_write_max_bytes: 65536 }],
    [{ ...ATOMIC, max_segments: 1 }, { atomic_write_unit_max_bytes: 512 }],
    [
      { ...ATOMIC, atomic_write_boundary_bytes: 65536, chunk_sectors: 256 },
      { atomic_write_boundary_bytes: 65536 },
    ],
  ]);
});

test('clamped, never looser: too big for the field', () => {
  expectRows(validateLimits, [
    [{ seg_boundary_mask: 2 ** 64 }, { seg_boundary_mask: Number.MAX_SAFE_INTEGER }],
    [{ virt_boundary_mask: 2 ** 64 }, { virt_boundary_mask: Number.MAX_SAFE_INTEGER }],
    [{ seg_boundary_mask: 2 ** 40 - 1 }, { seg_boundary_mask: 2 ** 40 - 1 }],
    [{ max_hw_sectors: 2 ** 60 }, { max_hw_sectors: 2 ** 32 - 1 }],
    [{ max_segment_size: Number.POSITIVE_INFINITY }, { max_segment_size: 2 ** 32 - 1 }],
    [{ max_segments: 70000 }, { max_segments: 65535 }],
  ]);
});

test('fromEffective: a given max_sectors wins over the cap, not over the hard limits', () => {
  expectRows(fromEffective, [
    [{ max_hw_sectors: 65535, max_sectors: 20000 }, { max_sectors: 20000 }],
    [{ max_hw_sectors: 65535, max_sectors: 16 }, { max_sectors: 16 }],
    [{ max_hw_sectors: 1024, max_sectors: 20000 }, { max_sectors: 1024 }],
    [{ max_hw_sectors: 65535, max_dev_sectors: 64, max_sectors: 20000 }, { max_sectors: 64 }],
    [{ max_hw_sectors: 65535, max_user_sectors: 64, max_sectors: 20000 }, { max_sectors: 64 }],
    [{ logical_block_size: 4096, max_hw_sectors: 256, max_sectors: 20 }, { max_sectors: 16 }],
    [{ max_hw_sectors: 65535 }, { max_sectors: 8192 }],
    [
      { max_hw_discard_sectors: 1000, max_discard_sectors: 64 },
      { max_hw_discard_sectors: 1000, max_discard_sectors: 64 },
    ],
    [{ max_hw_discard_sectors: 64, max_discard_sectors: 1000 }, { max_discard_sectors: 64 }],
    [{ max_hw_discard_sectors: 1000 }, { max_discard_sectors: 1000 }],
    // sysfs shows -1 for blocks that do not line up.
    [{ alignment_offset: -1 }, { alignment_offset: 0, misaligned: true }],
    [
      { alignment_offset: 4608, io_min: 4096, misaligned: true },
      { alignment_offset: 512, misaligned: true },
    ],
  ]);
});

function reasonOf(input: LimitsInput, validate = validateLimits): string {
  try {
    validate(input);
  } catch (error) {
    assert(error instanceof BlockError);
    assert.equal(error.code, 'EINVAL');
    return error.reason;
  }
  return assert.fail(`accepted ${JSON.stringify(input)}`);
}

test('a bad value is EINVAL with a sentence: field, value, rule', () => {
  const block = 'a power of two from 512 to 65536';
  const rows: readonly (readonly [LimitsInput, string])[] = [
    [{ logical_block_size: 256 }, `logical_block_size is 256, but must be ${block}`],
    [{ logical_block_size: 1000 }, `logical_block_size is 1000, but must be ${block}`],
    [{ logical_block_size: 131072 }, `logical_block_size is 131072, but must be ${block}`],
    [{ physical_block_size: 6144 }, 'physical_block_size is 6144, but must be a power of two'],
    [{ max_hw_sectors: 7 }, 'max_hw_sectors is 7, but must be at least 8 sectors, one page'],
    [
      { max_hw_sectors: 64, logical_block_size: 65536 },
      'max_hw_sectors is 64, but must be at least one logical block of 65536 bytes',
    ],
    [
      { max_user_sectors: 7 },
      'max_user_sectors is 7, but must be 0 (no cap) or at least 8 sectors, one page',
    ],
    [
      { max_hw_sectors: 256, max_user_sectors: 8, logical_block_size: 8192 },
      'max_user_sectors is 8, but must be at least one logical block of 8192 bytes',
    ],
    [
      { max_hw_sectors: 256, max_dev_sectors: 15, logical_block_size: 8192 },
      'max_dev_sectors is 15, but must be at least one logical block of 8192 bytes',
    ],
    [{ max_segment_size: 4095 }, 'max_segment_size is 4095, but must be at least 4096 bytes'],
    [{ seg_boundary_mask: 2047 }, 'seg_boundary_mask is 2047, but must be at least 4095'],
    [{ seg_boundary_mask: 4096 }, 'seg_boundary_mask is 4096, but must be a mask, 2^k - 1'],
    [{ virt_boundary_mask: 6143 }, 'virt_boundary_mask is 6143, but must be a mask, 2^k - 1'],
    [{ dma_alignment: 4 }, 'dma_alignment is 4, but must be a mask, 2^k - 1'],
    [{ dma_alignment: 8191 }, 'dma_alignment is 8191, but must be at most 4095'],
    [{ dma_pad_mask: 6 }, 'dma_pad_mask is 6, but must be a mask, 2^k - 1'],
    [{ max_segments: 1.5 }, 'max_segments is 1.5, but must be a whole number'],
    [{ max_segments: -1 }, 'max_segments is -1, but must be at least 0'],
    [{ alignment_offset: -1 }, 'alignment_offset is -1, but must be at least 0'],
    [{ io_min: Number.NaN }, 'io_min is NaN, but must be a number'],
    [
      { discard_granularity: 1000 },
      'discard_granularity is 1000, but must be a multiple of 512 bytes',
    ],
    [
      { zone_write_granularity: 6144 },
      'zone_write_granularity is 6144, but must be 0 (not zoned) or a power of two',
    ],
  ];
  for (const [input, reason] of rows) assert.equal(reasonOf(input), reason);
});

test('a value of the wrong type is named, too', () => {
  const wrong = (value: unknown): LimitsInput => value as LimitsInput;
  assert.equal(reasonOf(wrong({ io_min: '512' })), 'io_min is 512, but must be a number');
  assert.equal(reasonOf(wrong({ io_min: null })), 'io_min is null, but must be a number');
  assert.equal(reasonOf(wrong({ fua: 1 })), 'fua is 1, but must be true or false');
  assert.equal(reasonOf(wrong({ nomerges: 3 })), 'nomerges is 3, but must be 0, 1 or 2');
});

test('atomic numbers that contradict each other are refused', () => {
  const rows: readonly (readonly [LimitsInput, string])[] = [
    [{ atomic_write_unit_min_bytes: 512 }, 'atomic_write_unit_min_bytes is 512'],
    [{ atomic_write_unit_max_bytes: 512 }, 'atomic_write_unit_max_bytes is 512'],
    [{ atomic_write_boundary_bytes: 512 }, 'atomic_write_boundary_bytes is 512'],
    [{ ...ATOMIC, atomic_write_unit_min_bytes: 1536 }, 'atomic_write_unit_min_bytes is 1536'],
    [{ ...ATOMIC, logical_block_size: 4096 }, 'atomic_write_unit_min_bytes is 512'],
    [{ ...ATOMIC, atomic_write_unit_max_bytes: 131072 }, 'atomic_write_unit_max_bytes is 131072'],
    [{ ...ATOMIC, atomic_write_unit_max_bytes: 48 * 1024 }, 'atomic_write_unit_max_bytes is 49152'],
    [{ ...ATOMIC, atomic_write_unit_max_bytes: 256 }, 'atomic_write_unit_max_bytes is 256'],
    [{ ...ATOMIC, atomic_write_boundary_bytes: 32768 }, 'atomic_write_boundary_bytes is 32768'],
    [
      { ...ATOMIC, atomic_write_boundary_bytes: 65536, chunk_sectors: 64 },
      'atomic_write_boundary_bytes is 65536, but must be a divisor of chunk_sectors, 64 sectors',
    ],
  ];
  for (const [input, start] of rows) {
    const reason = reasonOf(input);
    assert(reason.startsWith(start), reason);
  }
});

test('fromEffective refuses a max_sectors below one block', () => {
  assert.equal(
    reasonOf({ logical_block_size: 4096, max_sectors: 7 }, fromEffective),
    'max_sectors is 7, but must be at least one logical block of 4096 bytes',
  );
});

test('isMask is exact where log2 rounds', () => {
  for (let bits = 0; bits <= 53; bits++) assert(isMask(2 ** bits - 1), `2^${bits} - 1`);
  for (let bits = 2; bits <= 52; bits++) {
    assert(!isMask(2 ** bits), `2^${bits}`);
    assert(!isMask(2 ** bits - 2), `2^${bits} - 2`);
  }
});
