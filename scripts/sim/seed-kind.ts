import { worldKindOf } from '../../src/testing/simulator/run-world.ts';
import { WORLD_KINDS } from '../../src/testing/simulator/world.ts';

/** What a seed may be: a world, or work on a protected image whose power goes. */
export const SEED_KINDS = [...WORLD_KINDS, 'protect'] as const;
export type SeedKind = (typeof SEED_KINDS)[number];

/** Few of the seeds are of protected images: each of them costs as much as a few others. */
export function seedKindOf(seed: number): SeedKind {
  return seed % 256 === 20 ? 'protect' : worldKindOf(seed);
}
