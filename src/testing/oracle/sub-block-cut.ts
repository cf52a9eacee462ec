import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import type { Bio } from '../../bio/bio.ts';
import { SplitCause, SplitPoint, splitPoint } from '../../bio/split-point.ts';
import type { Limits } from '../../limits/limits.ts';

/**
 * True when the limits leave less than one logical block at the front of `bio` or of a rest of it.
 * Linux 6.1 then hits BUG_ON(sectors <= 0) in bio_split(), 6.12 sends the rest whole (README
 * item 1). `bio` stays as it is.
 */
export function cutsBelowBlock(bio: Bio, limits: Limits): boolean {
  const point = new SplitPoint();
  const rest = bio.pool.cloneBio(bio);
  assert(rest !== null, 'sub-block cut: no bio left');
  rest.vcnt = bio.vcnt;
  for (;;) {
    splitPoint(rest, limits, point);
    if (point.bytes <= 0) break;
    rest.advance(point.bytes);
  }
  bio.pool.release(rest);
  return point.bytes === -Errno.EINVAL && point.cause !== SplitCause.NONE;
}
