import {
  EACH_PAGE_PINNED,
  ForEachPageResult,
  forEachPage,
  shortResult,
  Verdict,
} from '../../src/iter/for-each-page.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import type { Pipe } from './pipe.ts';

const options = { ...EACH_PAGE_PINNED, hold: HoldKind.REFERENCED, batch: 16 };

/** The pipe is asked first: it would let a refused page go, and so does the loop. */
function push(page: number, offset: number, len: number, pipe: Pipe): number {
  const { refusal } = pipe;
  if (refusal < 0) return refusal;
  pipe.push(page, offset, len);
  return Verdict.KEEP;
}

/** Bytes in the pipe, or the error. Linux: iter_to_pipe(), for vmsplice. */
export function pipeFill(iter: IovIter, pipe: Pipe): number {
  return shortResult(forEachPage(iter, iter.count, push, pipe, options, new ForEachPageResult()));
}
