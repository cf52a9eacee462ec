import { PAGE_BYTES } from '../../src/base/units.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import { getPages, HoldKind, putPages } from '../../src/memory/holds.ts';
import type { NfsDirect } from './nfs-direct.ts';
import { getPageArray, PageArray } from './page-array.ts';

export function nfsDirectWriteArrays(iter: IovIter, nfs: NfsDirect): number {
  const array = new PageArray();
  let total = 0;
  let error = 0;
  while (iter.count > 0 && error === 0) {
    const bytes = getPageArray(iter, array, iter.count, nfs.pagesPerCall, HoldKind.REFERENCED);
    if (bytes < 0) {
      error = bytes;
      break;
    }
    let left = bytes;
    let offset = array.offset0;
    for (const page of array.pages) {
      const len = Math.min(left, PAGE_BYTES - offset);
      error = nfs.send(page, offset, len);
      if (error < 0) break;
      getPages(page, 1);
      left -= len;
      total += len;
      offset = 0;
    }
    for (const page of array.pages) putPages(page, 1);
    iter.revert(left);
  }
  return total > 0 ? total : error;
}
