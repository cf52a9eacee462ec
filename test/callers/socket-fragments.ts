import { Errno } from '../../src/base/errno.ts';
import {
  EACH_PAGE_PINNED,
  ForEachPageResult,
  forEachPage,
  Verdict,
} from '../../src/iter/for-each-page.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import { copyBytesFromIter } from '../../src/iter/iter-copy.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import { EMSGSIZE, type SocketBuffer } from './socket-buffer.ts';

const options = { ...EACH_PAGE_PINNED, hold: HoldKind.REFERENCED, batch: 16 };

function addFragment(page: number, offset: number, len: number, skb: SocketBuffer): number {
  if (skb.merge(page, offset, len)) return Verdict.DROP; // One reference is enough for both.
  skb.append(page, offset, len);
  return skb.isFull ? Verdict.STOP_KEEP : Verdict.KEEP;
}

/** 0, -EFAULT or -EMSGSIZE; what was added stays. Linux: zerocopy_sg_from_iter(). */
export function socketFragments(iter: IovIter, skb: SocketBuffer): number {
  const head = Math.min(skb.head.length, iter.count);
  if (copyBytesFromIter(iter, skb.head, 0, head) < head) return -Errno.EFAULT;
  if (!skb.isFull) {
    const { count } = iter;
    const { error } = forEachPage(iter, count, addFragment, skb, options, new ForEachPageResult());
    if (error < 0) return -Errno.EFAULT;
  }
  return iter.count > 0 ? -EMSGSIZE : 0;
}
