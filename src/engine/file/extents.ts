import { SEEK_DATA, SEEK_HOLE } from '../../abi/linux-fs.ts';
import { BlockError } from '../../base/block-error.ts';
import { Errno } from '../../base/errno.ts';
import type { Extent } from '../contract.ts';
import type { OpenFile } from './open-file.ts';

/**
 * Data and holes of [start, end), cut at the end of the file, in order and without gaps. Where
 * nobody can tell (no door, a block device, a file system without SEEK_HOLE) all of it is data.
 */
export async function* fileExtents(
  file: OpenFile,
  start: number,
  end: number,
): AsyncGenerator<Extent> {
  const isRange = Number.isSafeInteger(start) && Number.isSafeInteger(end);
  if (!isRange || start < 0 || end < start) {
    throw new BlockError('EINVAL', { reason: `[${start}, ${end}) is no range of bytes` });
  }
  const { env, fd, isBlock } = file;
  let at = start;
  while (at < Math.min(end, file.sizeBytes)) {
    const limit = Math.min(end, file.sizeBytes);
    const data = isBlock || env.native === null ? at : env.native.lseek(fd, at, SEEK_DATA);
    if (data === -Errno.ENXIO || data >= limit) {
      yield { start: at, end: limit, kind: 'hole' }; // No data behind `at`.
      return;
    }
    if (data > at) yield { start: at, end: data, kind: 'hole' };
    const from = Math.max(data, at);
    const hole = isBlock || env.native === null ? limit : env.native.lseek(fd, from, SEEK_HOLE);
    // An error of lseek is no knowledge: the rest counts as data.
    const to = hole > from ? Math.min(hole, limit) : limit;
    yield { start: from, end: to, kind: 'data' };
    at = to;
  }
}
