import { PAGE_BYTES } from '../../src/base/units.ts';
import type { IovIter } from '../../src/iter/iov-iter.ts';
import { HoldKind, releaseHold } from '../../src/memory/holds.ts';
import type { Dio } from './dio.ts';
import { getPageArray, PageArray } from './page-array.ts';

/** Linux: DIO_PAGES. */
const QUEUE_PAGES = 64;

export function directIoArrays(iter: IovIter, dio: Dio): number {
  dio.start(iter);
  const queue = new PageArray();
  let error = 0;
  while (iter.count > 0 && error === 0) {
    const before = dio.bytes;
    const bytes = getPageArray(iter, queue, iter.count, QUEUE_PAGES, HoldKind.PINNED);
    if (bytes < 0) {
      error = dio.fault(bytes);
      break;
    }
    let left = bytes;
    let offset = queue.offset0;
    for (const page of queue.pages) {
      const len = Math.min(left, PAGE_BYTES - offset);
      if (error === 0) error = dio.addPage(page, offset, len);
      releaseHold(dio.hold, page, 1); // Also those that the clean-up finds in the queue.
      left -= len;
      offset = 0;
    }
    iter.revert(bytes - (dio.bytes - before));
  }
  return dio.result(error);
}
