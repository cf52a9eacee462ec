import { Errno } from '../../src/base/errno.ts';
import {
  EACH_PAGE_PINNED,
  ForEachPageResult,
  forEachPage,
  Verdict,
} from '../../src/iter/for-each-page.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import type { Dio } from './dio.ts';

function addPage(page: number, offset: number, len: number, dio: Dio): number {
  const error = dio.addPage(page, offset, len);
  return error < 0 ? error : Verdict.DROP; // The sections have pins of their own.
}

/** Bytes, or the first error. Linux: do_direct_IO(), fs/direct-io.c. */
export function directIo(iter: IovIter, dio: Dio): number {
  dio.start(iter);
  const result = new ForEachPageResult();
  forEachPage(iter, iter.count, addPage, dio, EACH_PAGE_PINNED, result);
  // Block lookup failed inside a page: the sections before it are queued and count.
  iter.advance(dio.bytes - result.bytes);
  if (result.error === -Errno.EFAULT) dio.fault(result.error);
  return dio.result(result.error);
}
