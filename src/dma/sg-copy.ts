import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { copyIn, copyOut, zeroPages } from '../memory/copy.ts';
import { dmaOwnership } from './ownership.ts';
import { SgCursor, type SgList } from './sg-list.ts';

const cursor = new SgCursor();

/** Entries up to the end mark, counted by walking. Linux: sg_nents(). */
export function sgNents(list: SgList): number {
  let count = 0;
  cursor.start(list);
  while (cursor.next()) count++;
  return count;
}

/** Bytes of all entries. */
export function sgBytes(list: SgList): number {
  let bytes = 0;
  cursor.start(list);
  while (cursor.next()) bytes += cursor.len;
  return bytes;
}

/** Entries that `bytes` need; -EINVAL when the list has fewer bytes. Linux: sg_nents_for_len(). */
export function sgNentsForLen(list: SgList, bytes: number): number {
  if (bytes === 0) return 0;
  let count = 0;
  let total = 0;
  cursor.start(list);
  while (cursor.next()) {
    count++;
    total += cursor.len;
    if (total >= bytes) return count;
  }
  return -Errno.EINVAL;
}

const Copy = { FROM_BUFFER: 0, TO_BUFFER: 1, ZERO: 2 } as const;
type Copy = (typeof Copy)[keyof typeof Copy];

const NOTHING = new Uint8Array(0);

/** min(bytes, total - skip), and that many bytes are moved. */
function move(list: SgList, how: Copy, buffer: Uint8Array, bytes: number, skip: number): number {
  let done = 0;
  let behind = 0;
  cursor.start(list);
  while (done < bytes && cursor.next()) {
    const { page, len } = cursor;
    const start = skip > behind ? skip - behind : 0;
    behind += len;
    if (start >= len) continue;
    const offset = cursor.offset + start;
    const step = Math.min(len - start, bytes - done);
    dmaOwnership.assertCpuOwns(page, offset, step);
    if (how === Copy.FROM_BUFFER) copyIn(page, offset, buffer, done, step);
    else if (how === Copy.TO_BUFFER) copyOut(buffer, done, page, offset, step);
    else zeroPages(page, offset, step);
    done += step;
  }
  return done;
}

/**
 * Copies `buffer` into the list from byte `skip` on. Bytes copied: min(buffer, total - skip).
 * Linux: sg_pcopy_from_buffer().
 */
export function sgCopyFromBuffer(list: SgList, buffer: Uint8Array, skip = 0): number {
  assert(skip >= 0, 'sg copy: a negative skip');
  return move(list, Copy.FROM_BUFFER, buffer, buffer.length, skip);
}

/** The same out of the list. Linux: sg_pcopy_to_buffer(). */
export function sgCopyToBuffer(list: SgList, buffer: Uint8Array, skip = 0): number {
  assert(skip >= 0, 'sg copy: a negative skip');
  return move(list, Copy.TO_BUFFER, buffer, buffer.length, skip);
}

/** Zeroes `bytes` from byte `skip` on. Bytes zeroed. Linux: sg_zero_buffer(). */
export function sgZero(list: SgList, bytes: number, skip = 0): number {
  assert(skip >= 0, 'sg copy: a negative skip');
  return move(list, Copy.ZERO, NOTHING, bytes, skip);
}
