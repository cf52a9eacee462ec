import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { copyToIter } from '../iter/iter-copy.ts';
import { getPages, putPages } from '../memory/holds.ts';
import { CacheTag } from './cache-index.ts';
import type { FileOp } from './file-op.ts';
import { Need, needPage, READ_AHEAD_PAGES_MAX } from './fill.ts';

/**
 * A read through the cache. True: it has ended. The size of the file is asked for again at each
 * page, and nothing waits between that and the copy, so that no byte behind the end is seen.
 * Linux: filemap_read().
 */
export function stepRead(op: FileOp): boolean {
  const { file, iter } = op;
  while (iter.count > 0 && op.position < file.size) {
    const index = Math.floor(op.position / PAGE_BYTES);
    const need = needPage(op, index, readAhead(op, index));
    if (need === Need.WAITS) return false;
    if (need === Need.FAILED) break;
    const offset = op.position % PAGE_BYTES;
    const wanted = Math.min(PAGE_BYTES - offset, iter.count, file.size - op.position);
    const page = file.cache.pageAt(index);
    // A fault of the copy may need a frame and reclaim this very page: a reference keeps it.
    getPages(page, 1);
    const copied = copyToIter(iter, page, offset, wanted);
    putPages(page, 1);
    if (copied > 0) {
      file.cache.setTag(index, CacheTag.REFERENCED);
      op.progress(copied);
    }
    if (copied < wanted && !reachUser(op)) {
      if (op.isWaiting) return false;
      break;
    }
  }
  file.readAheadNext = Math.ceil(op.position / PAGE_BYTES);
  return true;
}

/**
 * After a copy that stopped: true when the next byte of the caller's memory can be reached now.
 * Else the operation waits for it, or `op.error` says that it never can.
 */
export function reachUser(op: FileOp): boolean {
  const found = op.iter.piece(op.iter.access, 1);
  if (found > 0 && op.reached()) return true;
  if (found === -Errno.EAGAIN) op.waitForUser();
  else if (found > 0) op.error = -Errno.ENOMEM;
  else op.error = found === -Errno.ENOMEM ? -Errno.ENOMEM : -Errno.EFAULT;
  return false;
}

/** Pages to bring in at `index`: those of the call, more when it goes on where the last ended. */
function readAhead(op: FileOp, index: number): number {
  const { file } = op;
  const asked = Math.ceil((op.position + op.iter.count) / PAGE_BYTES) - index;
  const isSequential = index === file.readAheadNext || op.done > 0;
  const wanted = isSequential ? Math.max(asked, 2 * asked, 4) : asked;
  return Math.min(wanted, READ_AHEAD_PAGES_MAX);
}
