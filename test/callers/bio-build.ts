import {
  EACH_PAGE_PINNED,
  ForEachPageResult,
  forEachPage,
  shortResult,
  Verdict,
} from '../../src/iter/for-each-page.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import { holdOf } from '../../src/iter/iter-extract.ts';
import type { BioRows } from './bio-rows.ts';

function addFragment(page: number, offset: number, len: number, bio: BioRows): number {
  if (bio.joins(page, offset)) {
    bio.grow(len);
    return offset === 0 ? Verdict.KEEP : Verdict.DROP; // The row holds this page already.
  }
  bio.append(page, offset, len);
  return bio.isFull ? Verdict.STOP_KEEP : Verdict.KEEP;
}

/** Bytes in the bio, or the error of an empty one. Linux: bio_iov_iter_get_pages(). */
export function bioBuild(iter: IovIter, bio: BioRows): number {
  bio.hold = holdOf(iter, EACH_PAGE_PINNED.hold);
  const result = new ForEachPageResult();
  return shortResult(forEachPage(iter, iter.count, addFragment, bio, EACH_PAGE_PINNED, result));
}
