import { PAGE_BYTES } from '../../src/base/units.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import { holdOf } from '../../src/iter/iter-extract.ts';
import { HoldKind, releaseHold } from '../../src/memory/holds.ts';
import type { BioRows } from './bio-rows.ts';
import { getPageArray, PageArray } from './page-array.ts';

export function bioBuildArrays(iter: IovIter, bio: BioRows): number {
  bio.hold = holdOf(iter, HoldKind.PINNED);
  const array = new PageArray();
  let total = 0;
  while (iter.count > 0 && !bio.isFull) {
    const room = bio.vecsMax - bio.vcnt;
    const bytes = getPageArray(iter, array, iter.count, room, HoldKind.PINNED);
    if (bytes < 0) return total > 0 ? total : bytes;
    let left = bytes;
    let offset = array.offset0;
    for (const page of array.pages) {
      const len = Math.min(left, PAGE_BYTES - offset);
      if (bio.joins(page, offset)) {
        bio.grow(len);
        if (offset !== 0) releaseHold(bio.hold, page, 1);
      } else {
        bio.append(page, offset, len);
      }
      left -= len;
      offset = 0;
    }
    total += bytes;
  }
  return total;
}
