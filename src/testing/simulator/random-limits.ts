import type { Limits, LimitsInput } from '../../limits/limits.ts';
import { UINT32_MAX } from '../../limits/limits.ts';
import { validateLimits } from '../../limits/validate.ts';
import type { SeededRandom } from './seeded-random.ts';

const MASK_MAX = Number.MAX_SAFE_INTEGER;

/**
 * Limits as some device might have them: often the usual, sometimes the narrowest that is legal.
 * Logical blocks up to a page, so that whatever is whole blocks can be sent.
 */
export function randomLimits(random: SeededRandom): Limits {
  const block = random.pick([512, 512, 512, 1024, 4096]);
  const sectors = block / 512;
  const isTiny = random.chance(0.4);
  const input: LimitsInput = {
    logical_block_size: block,
    physical_block_size: random.pick([block, 4096]),
    max_hw_sectors: random.pick(isTiny ? [8, 9, 16, 24] : [16, 64, 255, 1024, UINT32_MAX]),
    max_segments: random.pick(isTiny ? [1, 2, 3] : [4, 7, 16, 128, 65535]),
    max_segment_size: random.pick([
      4096,
      4096 + random.below(9) * 512,
      random.between(4096, 20_000),
      65536,
      UINT32_MAX,
    ]),
    seg_boundary_mask: random.pick([4095, 8191, 65535, UINT32_MAX, MASK_MAX]),
    // Gaps are told by offsets within pages, so a mask beyond the page has no meaning here.
    virt_boundary_mask: random.pick([0, 0, 0, 511, 4095]),
    // Requests are cut at logical blocks, so a stricter alignment could not be kept by a split.
    dma_alignment: random.pick([0, 3, 511, 511, block - 1]),
    chunk_sectors: random.pick([0, 0, 0, 8, 128, 3 * sectors, random.between(1, 40) * sectors]),
    max_hw_discard_sectors: random.pick([0, 64, UINT32_MAX]),
    discard_granularity: random.pick([0, 4096, 8192]),
    max_discard_segments: random.pick([1, 1, 4, 256]),
    max_write_zeroes_sectors: random.pick([0, 64, UINT32_MAX]),
    write_cache: random.chance(0.5),
    fua: random.chance(0.5),
    nomerges: random.pick([0, 0, 0, 1, 2]),
  };
  return validateLimits(input);
}
