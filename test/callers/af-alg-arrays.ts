import { PAGE_BYTES } from '../../src/base/units.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import { holdOf } from '../../src/iter/iter-extract.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import { ALG_PAGES_MAX, type AlgList } from './af-alg.ts';
import { getPageArray, PageArray } from './page-array.ts';

export function algListArrays(iter: IovIter, list: AlgList): number {
  list.hold = holdOf(iter, HoldKind.PINNED);
  const array = new PageArray();
  let total = 0;
  while (iter.count > 0 && list.held.length < ALG_PAGES_MAX) {
    const room = ALG_PAGES_MAX - list.held.length;
    const bytes = getPageArray(iter, array, iter.count, room, HoldKind.PINNED);
    if (bytes < 0) return total > 0 ? total : bytes;
    let left = bytes;
    let offset = array.offset0;
    for (const page of array.pages) {
      const len = Math.min(left, PAGE_BYTES - offset);
      list.held.push([page, offset, len]);
      left -= len;
      offset = 0;
    }
    total += bytes;
  }
  return total;
}
