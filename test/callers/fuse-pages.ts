import {
  EACH_PAGE_PINNED,
  ForEachPageResult,
  forEachPage,
  shortResult,
  Verdict,
} from '../../src/iter/for-each-page.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import { holdOf } from '../../src/iter/iter-extract.ts';
import type { FuseRequest } from './fuse-request.ts';

function addPage(page: number, offset: number, len: number, request: FuseRequest): number {
  request.add(page, offset, len);
  return request.isFull ? Verdict.STOP_KEEP : Verdict.KEEP;
}

/** Bytes that the request carries; an error only for nothing. Linux: fuse_get_user_pages(). */
export function fusePages(iter: IovIter, request: FuseRequest): number {
  request.hold = holdOf(iter, EACH_PAGE_PINNED.hold);
  const result = new ForEachPageResult();
  return shortResult(
    forEachPage(iter, request.bytesMax, addPage, request, EACH_PAGE_PINNED, result),
  );
}
