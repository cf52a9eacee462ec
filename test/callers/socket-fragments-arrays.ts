import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import { copyBytesFromIter } from '../../src/iter/iter-copy.ts';
import { HoldKind, putPages } from '../../src/memory/holds.ts';
import { getPageArray, PageArray } from './page-array.ts';
import { EMSGSIZE, type SocketBuffer } from './socket-buffer.ts';

export function socketFragmentsArrays(iter: IovIter, skb: SocketBuffer): number {
  const head = Math.min(skb.head.length, iter.count);
  if (copyBytesFromIter(iter, skb.head, 0, head) < head) return -Errno.EFAULT;
  const array = new PageArray();
  while (iter.count > 0) {
    if (skb.isFull) return -EMSGSIZE;
    const bytes = getPageArray(iter, array, iter.count, skb.room, HoldKind.REFERENCED);
    if (bytes < 0) return -Errno.EFAULT;
    let left = bytes;
    let offset = array.offset0;
    for (const page of array.pages) {
      const len = Math.min(left, PAGE_BYTES - offset);
      if (skb.merge(page, offset, len)) putPages(page, 1);
      else skb.append(page, offset, len);
      left -= len;
      offset = 0;
    }
  }
  return 0;
}
