import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import { getPages, HoldKind, putPages } from '../../src/memory/holds.ts';
import type { NfsDirect } from './nfs-direct.ts';
import { getPageArray, PageArray } from './page-array.ts';

/** Every page gets a second reference for its request; then the batch lets the first ones go. */
export function nfsDirectReadArrays(iter: IovIter, nfs: NfsDirect): number {
  const array = new PageArray();
  let requested = 0;
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
      getPages(page, 1);
      error = nfs.addRequest(page, offset, len);
      if (error < 0) {
        putPages(page, 1);
        break;
      }
      left -= len;
      requested += len;
      offset = 0;
    }
    for (const page of array.pages) putPages(page, 1);
    iter.revert(left);
  }
  if (requested > 0) return requested;
  return error < 0 ? error : -Errno.EIO;
}
