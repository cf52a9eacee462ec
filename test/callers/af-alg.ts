import {
  EACH_PAGE_PINNED,
  ForEachPageResult,
  forEachPage,
  shortResult,
  Verdict,
} from '../../src/iter/for-each-page.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import { holdOf } from '../../src/iter/iter-extract.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import type { Entry, Sink } from './sink.ts';

export const ALG_PAGES_MAX = 16;

/** The scatterlist of one crypto request: an entry a page, unpinned through the list. */
export class AlgList implements Sink {
  hold: HoldKind = HoldKind.BORROWED;
  readonly held: Entry[] = [];
}

const options = { ...EACH_PAGE_PINNED, batch: ALG_PAGES_MAX };

function addEntry(page: number, offset: number, len: number, list: AlgList): number {
  list.held.push([page, offset, len]);
  return list.held.length === ALG_PAGES_MAX ? Verdict.STOP_KEEP : Verdict.KEEP;
}

/** Bytes in the list, or the error and an empty list. Linux: af_alg_make_sg(). */
export function algList(iter: IovIter, list: AlgList): number {
  list.hold = holdOf(iter, options.hold);
  const { count } = iter;
  return shortResult(forEachPage(iter, count, addEntry, list, options, new ForEachPageResult()));
}
