import { assert } from '../../base/assert.ts';
import type { IntegrityProfile } from '../../integrity/integrity-profile.ts';
import { SeededRandom } from '../simulator/seeded-random.ts';
import { DAMAGE_KINDS, type DamageKind, neighbour } from './damage-kinds.ts';
import { ProtectedBlocks } from './protected-blocks.ts';

/** Small enough that all of it stays in a cache. */
const BLOCKS = 32;
/** Above 2^32 and the lower half of 48 bits, so that no distance goes below 0. */
const FIRST_BLOCK = 2 ** 44 + 12345;
/** Then all blocks must be good again, and are written anew. */
const REWRITE_EVERY = 500;

export interface DamageOptions {
  readonly profile: IntegrityProfile;
  /** Damages in all, of every kind as many. */
  readonly count: number;
  readonly seed: number;
  readonly kinds?: readonly DamageKind[];
  /** CheckFlag; default: guard and ref tag. */
  readonly checks?: number;
}

export interface DamageCount {
  readonly kind: DamageKind;
  injected: number;
  missed: number;
}

/** Injects `count` damages, one at a time, and counts those that verification does not find. */
export function runDamage(options: DamageOptions): readonly DamageCount[] {
  const { profile, count, seed, kinds = DAMAGE_KINDS, checks } = options;
  const random = new SeededRandom(seed);
  using blocks = new ProtectedBlocks(profile, { count: BLOCKS, firstBlock: FIRST_BLOCK, random });
  assert(blocks.find(0, BLOCKS) === -1, 'damage: blocks are bad before any damage');
  if (checks !== undefined) blocks.checks = checks;
  const counts = kinds.map((kind): DamageCount => ({ kind, injected: 0, missed: 0 }));
  for (let i = 0; i < count; ) {
    const one = counts[i % counts.length];
    const block = random.below(BLOCKS);
    const other = neighbour(blocks, block);
    if (one.kind.inject(blocks, block, random)) {
      const first = Math.min(block, other);
      const found = blocks.find(first, 2);
      const isThere = found < 0 || found === block || one.kind.isPair;
      assert(isThere, 'damage: found in a block that is good');
      one.injected++;
      if (found < 0) one.missed++;
      i++;
    }
    blocks.mend(block);
    blocks.mend(other);
    if (i % REWRITE_EVERY !== 0) continue;
    assert(blocks.find(0, BLOCKS) === -1, 'damage: found where there is none');
    blocks.rewrite(random);
  }
  assert(blocks.find(0, BLOCKS) === -1, 'damage: found where there is none');
  return counts;
}
