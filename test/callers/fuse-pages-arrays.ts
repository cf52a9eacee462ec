import { PAGE_BYTES } from '../../src/base/units.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import { holdOf } from '../../src/iter/iter-extract.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import type { FuseRequest } from './fuse-request.ts';
import { getPageArray, PageArray } from './page-array.ts';

export function fusePagesArrays(iter: IovIter, request: FuseRequest): number {
  request.hold = holdOf(iter, HoldKind.PINNED);
  const array = new PageArray();
  let total = 0;
  while (total < request.bytesMax && iter.count > 0 && !request.isFull) {
    const room = request.pagesMax - request.held.length;
    const bytes = getPageArray(iter, array, request.bytesMax - total, room, HoldKind.PINNED);
    if (bytes < 0) return total > 0 ? total : bytes;
    let left = bytes;
    let offset = array.offset0;
    for (const page of array.pages) {
      const len = Math.min(left, PAGE_BYTES - offset);
      request.add(page, offset, len);
      left -= len;
      offset = 0;
    }
    total += bytes;
  }
  return total;
}
