import { assert } from '../base/assert.ts';
import { fillTuples } from './guards/guard.ts';
import { GuardState } from './guards/guard-state.ts';
import { hasRefTag, type IntegrityProfile } from './integrity-profile.ts';
import type { PiWalk } from './pi-walk.ts';
import { writeGuard, writeTags } from './tuple.ts';

const guard = new GuardState();

/**
 * Makes the tuples of every interval of `walk`: the guard, `appTag`, and as ref tag the lower bits
 * of `seed`, one more for each interval. Without REF_TAG (type 3) the ref tag is 0. Other bytes of
 * a record stay; those before the tuple must be there already, they are under the guard. Data
 * plane: no allocation. Linux: blk_integrity_generate(), block/t10-pi.c.
 */
export function generate(walk: PiWalk, profile: IntegrityProfile, seed: number, appTag = 0): void {
  const { csum } = profile;
  if (csum === 'none') return;
  assert(appTag >= 0 && appTag <= 0xffff, 'generate: an app tag has 16 bits');
  const { run } = walk;
  run.appTag = appTag;
  run.refStep = hasRefTag(profile) ? 1 : 0;
  run.block = run.refStep * seed;
  while (walk.left > 0) {
    const count = walk.nextRun();
    if (count > 0) {
      fillTuples(csum, run);
      walk.skip(count);
      run.block += run.refStep * count;
    } else {
      walk.gatherInterval(profile, guard);
      writeGuard(csum, walk.tuple, 0, guard);
      writeTags(csum, walk.tuple, 0, appTag, run.block);
      walk.scatterTuple();
      run.block += run.refStep;
    }
  }
}
