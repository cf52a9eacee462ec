// Random passthrough requests: limits, ranges of a program, what stands in their way.

import fc from 'fast-check';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import type { LimitsInput } from '../../src/limits/limits.ts';
import type { PassthroughRig, UserRange } from './passthrough-rig.ts';

/** Pages of the program in the order of their addresses: scattered first, then one folio. */
const SCATTERED_PAGES = 40;
export const HUGE_ORDER = 5;

export interface RequestCase {
  readonly op: BioOp;
  readonly limits: LimitsInput;
  readonly ranges: readonly {
    readonly isHuge: boolean;
    readonly at: number;
    readonly len: number;
  }[];
}

const pageBits = fc.constantFrom(0, 0, 4095, 8191, 16383);

export const limitsArb: fc.Arbitrary<LimitsInput> = fc.record({
  max_segments: fc.oneof(fc.constantFrom(1, 2, 3, 128), fc.integer({ min: 1, max: 40 })),
  max_segment_size: fc.oneof(
    fc.constantFrom(4096, 8192, 12288, 65536, 2 ** 32 - 1),
    fc.integer({ min: 4096, max: 70000 }),
  ),
  seg_boundary_mask: fc.constantFrom(4095, 8191, 65535, 2 ** 32 - 1, 2 ** 32 - 1),
  virt_boundary_mask: pageBits,
  dma_alignment: fc.constantFrom(0, 3, 511, 511, 4095),
  dma_pad_mask: fc.constantFrom(0, 0, 0, 3, 511),
  max_hw_sectors: fc.oneof(fc.constantFrom(8, 255, 4096), fc.integer({ min: 8, max: 400 })),
});

const lenArb = fc.oneof(
  fc.constantFrom(512, 1024, 2048, 4096, 4096, 8192, 16384, 36864),
  fc.integer({ min: 1, max: 9000 }),
);
const offsetArb = fc.oneof(fc.constantFrom(0, 0, 0, 512, 2048, 4), fc.nat(4095));

const rangeArb = fc
  .record({ isHuge: fc.boolean(), page: fc.nat(1000), offset: offsetArb, len: lenArb })
  .map(({ isHuge, page, offset, len }) => {
    const bytes = (isHuge ? 2 ** HUGE_ORDER : SCATTERED_PAGES) * PAGE_BYTES;
    const at = ((page * PAGE_BYTES) % bytes) + offset;
    return { isHuge, at, len: Math.min(len, bytes - at) };
  });

/** Ranges that do not overlap: what a read leaves in a byte that it has twice is not determined. */
export const requestArb: fc.Arbitrary<RequestCase> = fc.record({
  op: fc.constantFrom(BioOp.READ, BioOp.WRITE),
  limits: limitsArb,
  ranges: fc
    .array(rangeArb, { minLength: 1, maxLength: 6 })
    .map((ranges) =>
      ranges.filter((range, i) => !ranges.slice(0, i).some((o) => overlap(o, range))),
    ),
});

type Range = RequestCase['ranges'][number];

function overlap(a: Range, b: Range): boolean {
  return a.isHuge === b.isHuge && a.at < b.at + b.len && b.at < a.at + a.len;
}

/** Maps the memory of a case in `rig`. */
export function rangesIn(rig: PassthroughRig, { ranges }: RequestCase): UserRange[] {
  const scattered = rig.scattered(SCATTERED_PAGES);
  const huge = rig.huge(HUGE_ORDER);
  return ranges.map(({ isHuge, at, len }) => [(isHuge ? huge : scattered) + at, len]);
}

export function totalOf(ranges: readonly UserRange[]): number {
  return ranges.reduce((sum, [, len]) => sum + len, 0);
}
