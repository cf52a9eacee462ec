import { PAGE_BYTES } from '../../src/base/units.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import { HoldKind, putPages } from '../../src/memory/holds.ts';
import { getPageArray, PageArray } from './page-array.ts';
import type { Pipe } from './pipe.ts';

export function pipeFillArrays(iter: IovIter, pipe: Pipe): number {
  const array = new PageArray();
  let total = 0;
  let error = 0;
  while (iter.count > 0 && error === 0) {
    const bytes = getPageArray(iter, array, iter.count, 16, HoldKind.REFERENCED);
    if (bytes < 0) {
      error = bytes;
      break;
    }
    let left = bytes;
    let undelivered = 0;
    let offset = array.offset0;
    for (const page of array.pages) {
      const len = Math.min(left, PAGE_BYTES - offset);
      const answer = error === 0 ? pipe.push(page, offset, len) : error;
      if (error < 0) putPages(page, 1);
      if (answer < 0) {
        error = answer;
        undelivered += len;
      } else {
        total += len;
      }
      left -= len;
      offset = 0;
    }
    iter.revert(undelivered);
  }
  return total > 0 ? total : error;
}
