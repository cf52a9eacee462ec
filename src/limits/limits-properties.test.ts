import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  LIMIT_NAMES,
  type LimitName,
  type Limits,
  type LimitsInput,
  STACKING_LIMITS,
} from './limits.ts';
import { DEFAULT_PROFILE, LINUX_6_1, LINUX_6_12 } from './profile.ts';
import { stackLimits } from './stack.ts';
import { fromEffective, validateLimits } from './validate.ts';

const RUNS = { numRuns: 1000 };
/** 128 sectors carry the largest block, so every size is legal with every block. */
const sectors = fc.oneof(fc.integer({ min: 128, max: 70000 }), fc.integer({ min: 128 }));
const count = fc.nat({ max: 70000 });
const bytes = fc.oneof(fc.nat({ max: 200000 }), fc.nat({ max: 2 ** 31 - 1 }));
const bits = (min: number, max: number): fc.Arbitrary<number> =>
  fc.integer({ min, max }).map((k) => 2 ** k);
const mask = (min: number, max: number): fc.Arbitrary<number> => bits(min, max).map((b) => b - 1);
const orZero = (arbitrary: fc.Arbitrary<number>): fc.Arbitrary<number> =>
  fc.oneof(fc.constant(0), arbitrary);

const plain = fc.record(
  {
    logical_block_size: bits(9, 16),
    physical_block_size: bits(9, 18),
    io_min: bytes,
    io_opt: bytes,
    alignment_offset: bytes,
    misaligned: fc.boolean(),
    max_hw_sectors: sectors,
    max_dev_sectors: orZero(sectors),
    max_user_sectors: orZero(sectors),
    max_sectors: sectors,
    chunk_sectors: orZero(fc.nat({ max: 5000 })),
    max_segments: count,
    max_segment_size: fc.integer({ min: 4096, max: 2 ** 31 }),
    seg_boundary_mask: mask(12, 53),
    virt_boundary_mask: mask(0, 53),
    dma_alignment: mask(0, 12),
    dma_pad_mask: mask(0, 12),
    max_integrity_segments: count,
    max_hw_discard_sectors: orZero(sectors),
    max_user_discard_sectors: orZero(sectors),
    max_discard_sectors: orZero(sectors),
    discard_granularity: fc.nat({ max: 1000 }).map((n) => n * 512),
    discard_alignment: bytes,
    max_discard_segments: count,
    max_write_zeroes_sectors: orZero(sectors),
    max_secure_erase_sectors: orZero(sectors),
    zone_write_granularity: orZero(bits(9, 17)),
    write_cache: fc.boolean(),
    fua: fc.boolean(),
    read_only: fc.boolean(),
    rotational: fc.boolean(),
    nomerges: fc.constantFrom(0 as const, 1 as const, 2 as const),
  },
  { requiredKeys: [] },
);

/** Powers of two that contain each other: block <= unit min <= unit max <= max <= boundary. */
const atomic = fc.tuple(
  fc.nat({ max: 3 }),
  fc.nat({ max: 6 }),
  fc.nat({ max: 70000 }),
  fc.option(fc.nat({ max: 3 }), { nil: null }),
);

const input: fc.Arbitrary<LimitsInput> = fc
  .tuple(plain, fc.option(atomic, { nil: null }))
  .map(([given, steps]) => {
    if (steps === null) return given;
    const [min, range, more, above] = steps;
    const unitMin = (given.logical_block_size ?? 512) * 2 ** min;
    const unitMax = unitMin * 2 ** range;
    const max = unitMax + more;
    const boundary = above === null ? 0 : 2 ** (Math.ceil(Math.log2(max)) + above);
    const chunk = given.chunk_sectors ?? 0;
    return {
      ...given,
      chunk_sectors: boundary === 0 ? chunk : (chunk % 4) * (boundary / 512),
      atomic_write_unit_min_bytes: unitMin,
      atomic_write_unit_max_bytes: unitMax,
      atomic_write_max_bytes: max,
      atomic_write_boundary_bytes: boundary,
    };
  })
  .map((given) => ({ max_hw_sectors: 255, ...given }));

const valid: fc.Arbitrary<Limits> = fc.oneof(
  input.map((given) => validateLimits(given)),
  input.map((given) => fromEffective(given)),
);
const start = fc.oneof(fc.constant(0), fc.nat({ max: 5000 }), fc.constant(2 ** 52));

test('31: what is valid stays as it is', () => {
  fc.assert(
    fc.property(
      input,
      fc.constantFrom(DEFAULT_PROFILE, LINUX_6_1, LINUX_6_12),
      (given, profile) => {
        const once = validateLimits(given, profile);
        assert.deepEqual(validateLimits(once, profile), once);
        const effective = fromEffective(given, profile);
        assert.deepEqual(fromEffective(effective, profile), effective);
        assert.deepEqual(fromEffective(once, profile), once);
      },
    ),
    RUNS,
  );
});

test('a stack of valid limits is valid', () => {
  fc.assert(
    fc.property(valid, valid, start, (top, bottom, sector) => {
      const { limits } = stackLimits(top, bottom, sector);
      assert.deepEqual(fromEffective(limits), limits);
    }),
    RUNS,
  );
});

type Strict = (stacked: number, part: number) => boolean;
const noMore: Strict = (stacked, part) => stacked <= part;
const noLess: Strict = (stacked, part) => stacked >= part;
/** 0 = no limit. */
const noMoreIfSet: Strict = (stacked, part) => part === 0 || (stacked > 0 && stacked <= part);
/** Every boundary of the part is one of the stack. */
const divides: Strict = (stacked, part) => part === 0 || (stacked > 0 && part % stacked === 0);
const containsBits: Strict = (stacked, part) => (BigInt(stacked) & BigInt(part)) === BigInt(part);
/** 0 = cannot, which is strictest. */
const noLessIfOn: Strict = (stacked, part) => stacked === 0 || (part > 0 && stacked >= part);

const STRICTNESS: Readonly<Partial<Record<LimitName, Strict>>> = {
  logical_block_size: noLess,
  physical_block_size: noLess,
  max_hw_sectors: noMore,
  max_dev_sectors: noMoreIfSet,
  max_user_sectors: noMoreIfSet,
  max_sectors: noMore,
  chunk_sectors: divides,
  max_segments: noMore,
  max_segment_size: noMore,
  seg_boundary_mask: noMore,
  virt_boundary_mask: containsBits,
  dma_alignment: containsBits,
  dma_pad_mask: containsBits,
  max_integrity_segments: noMoreIfSet,
  max_hw_discard_sectors: noMore,
  max_user_discard_sectors: noMore,
  max_discard_sectors: noMore,
  discard_granularity: noLessIfOn,
  max_discard_segments: noMore,
  max_write_zeroes_sectors: noMore,
  max_secure_erase_sectors: noMore,
  zone_write_granularity: noLess,
  atomic_write_unit_min_bytes: noLessIfOn,
  atomic_write_unit_max_bytes: noMore,
  atomic_write_max_bytes: noMore,
  nomerges: noLess,
};
/** Nothing is refused because of these, or a test of its own below says how they stack. */
const HINTS: readonly LimitName[] = ['io_min', 'io_opt', 'alignment_offset', 'discard_alignment'];
const APART: readonly LimitName[] = [
  'misaligned',
  'write_cache',
  'fua',
  'read_only',
  'rotational',
  'atomic_write_boundary_bytes',
];

test('30: a stacked field is at least as strict as each part', () => {
  const covered = [...Object.keys(STRICTNESS), ...HINTS, ...APART].sort();
  assert.deepEqual(covered, [...LIMIT_NAMES].sort(), 'every field is in one of the three lists');
  fc.assert(
    fc.property(valid, valid, start, (top, bottom, sector) => {
      const { limits, misaligned } = stackLimits(top, bottom, sector);
      for (const part of [top, bottom]) {
        for (const name of LIMIT_NAMES) {
          const isStrict = STRICTNESS[name];
          if (isStrict === undefined) continue;
          const [a, b] = [Number(limits[name]), Number(part[name])];
          assert(isStrict(a, b), `${name}: ${a} stacked of ${b}`);
        }
        const isAtomic = limits.atomic_write_max_bytes > 0;
        const [stacked, own] = [limits, part].map((l) => l.atomic_write_boundary_bytes);
        assert(!isAtomic || divides(stacked, own), 'atomic_write_boundary_bytes');
        assert(limits.write_cache || !part.write_cache, 'write_cache');
        assert(!limits.fua || part.fua || !part.write_cache, 'fua');
        assert(limits.read_only || !part.read_only, 'read_only');
        assert(limits.rotational || !part.rotational, 'rotational');
        assert(limits.misaligned || !(part.misaligned || misaligned), 'misaligned');
      }
    }),
    RUNS,
  );
});

/** Hints are reset on a mismatch and atomic writes switched off, so the order may show in them. */
const LATTICE: readonly LimitName[] = LIMIT_NAMES.filter(
  (name) => !HINTS.includes(name) && !name.startsWith('atomic') && name !== 'misaligned',
);

function lattice(limits: Limits): LimitsInput {
  return Object.fromEntries(LATTICE.map((name) => [name, limits[name]]));
}

test('min, max and gcd fields: commutative, associative, idempotent, with a neutral start', () => {
  const stack = (a: Limits, b: Limits): Limits => stackLimits(a, b).limits;
  fc.assert(
    fc.property(valid, valid, valid, (a, b, c) => {
      assert.deepEqual(lattice(stack(a, b)), lattice(stack(b, a)));
      assert.deepEqual(lattice(stack(stack(a, b), c)), lattice(stack(a, stack(b, c))));
      assert.deepEqual(lattice(stack(a, a)), lattice(a));
      const alone = { ...lattice(a), dma_alignment: Math.max(a.dma_alignment, 511) };
      assert.deepEqual(lattice(stack(STACKING_LIMITS, a)), alone);
    }),
    RUNS,
  );
});
