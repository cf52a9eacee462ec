import {
  EACH_PAGE_PINNED,
  ForEachPageResult,
  forEachPage,
  shortResult,
  Verdict,
} from '../../src/iter/for-each-page.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import type { NfsDirect } from './nfs-direct.ts';

const options = { ...EACH_PAGE_PINNED, hold: HoldKind.REFERENCED };

function send(page: number, offset: number, len: number, nfs: NfsDirect): number {
  const error = nfs.send(page, offset, len);
  return error < 0 ? error : Verdict.KEEP;
}

/**
 * Bytes sent or put aside, or the error. After a soft error the rest is put aside for a second try.
 * Linux: nfs_direct_write_schedule_iovec().
 */
export function nfsDirectWrite(iter: IovIter, nfs: NfsDirect): number {
  return shortResult(forEachPage(iter, iter.count, send, nfs, options, new ForEachPageResult()));
}
