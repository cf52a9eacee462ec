import { Errno } from '../../src/base/errno.ts';
import {
  EACH_PAGE_PINNED,
  ForEachPageResult,
  forEachPage,
  Verdict,
} from '../../src/iter/for-each-page.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import type { NfsDirect } from './nfs-direct.ts';

const options = { ...EACH_PAGE_PINNED, hold: HoldKind.REFERENCED };

function request(page: number, offset: number, len: number, nfs: NfsDirect): number {
  const error = nfs.addRequest(page, offset, len);
  return error < 0 ? error : Verdict.KEEP; // The request owns the reference.
}

/** Bytes requested, or the error, or -EIO for nothing. Linux: nfs_direct_read_schedule_iovec(). */
export function nfsDirectRead(iter: IovIter, nfs: NfsDirect): number {
  const result = forEachPage(iter, iter.count, request, nfs, options, new ForEachPageResult());
  if (result.bytes > 0) return result.bytes;
  return result.error < 0 ? result.error : -Errno.EIO;
}
