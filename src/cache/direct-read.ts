import { Errno } from '../base/errno.ts';
import { PAGE_BYTES, roundUp } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import type { Transfer } from '../device/transfer.ts';
import { faultInReadable, faultInWriteable, zeroIter } from '../iter/iter-copy.ts';
import { Access } from '../memory/address-space.ts';
import { reachUser } from './buffered-read.ts';
import { ExtentRun, ExtentState } from './extent-map.ts';
import type { FileOp } from './file-op.ts';
import { flushPages } from './writeback.ts';

const run = new ExtentRun();

const State = { LOCK: 0, FLUSH: 1, NEXT: 3, TRANSFERRED: 4 } as const;

/**
 * A read from the device into the caller's memory. Dirty pages of the range are written first;
 * holes and unwritten blocks are zeros without the device. An error of the device is the result
 * even after bytes; a fault ends it short. True: it has ended. Linux: iomap_dio_rw().
 */
export function stepDirectRead(op: FileOp): boolean {
  const { file } = op;
  if (op.state === State.LOCK) {
    if (!op.lockFile(false)) return false;
    op.end = Math.min(op.start + op.iter.count, file.size);
    op.errorsBefore = file.errors.count;
    op.state = State.FLUSH;
  }
  if (op.position >= op.end) return true;
  if (op.state < State.NEXT) {
    const first = Math.floor(op.start / PAGE_BYTES);
    if (!flushPages(op, first, Math.ceil(op.end / PAGE_BYTES), State.FLUSH)) return false;
    if (file.errors.count !== op.errorsBefore) {
      op.error = file.errors.last; // What the device has there is not what the file is.
      return true;
    }
  }
  if (op.state === State.TRANSFERRED) {
    op.state = State.NEXT; // A wait for memory behind it must not count the result again.
    if (!takeResult(op)) return true;
  }
  while (op.position < op.end) {
    file.extents.lookup(Math.floor(op.position / PAGE_BYTES), run);
    op.runEnd = Math.min(run.end * PAGE_BYTES, op.end);
    if (run.state === ExtentState.MAPPED) {
      const device = (run.device - run.start) * PAGE_BYTES + op.position;
      sendData(op, BioOp.READ, device, readBytes(op));
      op.state = State.TRANSFERRED;
      return false;
    }
    const wanted = op.runEnd - op.position;
    const zeroed = zeroIter(op.iter, wanted);
    if (zeroed > 0) op.progress(zeroed);
    if (zeroed < wanted && !reachUser(op)) return !op.isWaiting;
  }
  return true;
}

/** Who forbids copies gets the whole last block, as from Linux; the count ends at the file. */
function readBytes(op: FileOp): number {
  const bytes = Math.min(op.runEnd - op.position, op.chunk);
  if (op.copy !== 'never' || op.position + bytes < op.file.size) return bytes;
  return Math.min(roundUp(bytes, op.file.device.limits.logical_block_size), op.iter.count);
}

/** False: the operation has ended, `op.error` or the count says how. */
function takeResult(op: FileOp): boolean {
  const { result } = op;
  if (result === -Errno.EFAULT) return retryPrefix(op, op.runEnd - op.position);
  if (result <= 0) {
    op.error = result;
    op.isFailed = result < 0;
    return false;
  }
  const bytes = Math.min(result, op.runEnd - op.position);
  op.iter.advance(bytes);
  op.progress(bytes);
  op.chunk = Number.POSITIVE_INFINITY;
  return true;
}

/**
 * A transfer of `bytes` met memory that cannot be had. What lies before it can still be moved:
 * true with `op.chunk` shortened to that. False, with the error, when nothing does.
 */
export function retryPrefix(op: FileOp, bytes: number): boolean {
  const { iter } = op;
  const wanted = Math.min(bytes, op.chunk);
  const isRead = iter.access === Access.READ;
  const lost = isRead ? faultInReadable(iter, wanted) : faultInWriteable(iter, wanted);
  let prefix = wanted - lost;
  if (op.copy === 'never') prefix -= prefix % op.file.device.limits.logical_block_size;
  if (prefix > 0 && prefix < wanted) {
    op.chunk = prefix;
    return true;
  }
  op.error = -Errno.EFAULT;
  return false;
}

/** Starts a transfer of the next `bytes` of the caller's memory; the operation waits for it. */
export function sendData(op: FileOp, bioOp: BioOp, device: number, bytes: number): void {
  const { iter, file } = op;
  const all = iter.count;
  iter.truncate(bytes);
  op.waitForDevice();
  const options = file.transferOptions(op.copy);
  const transfer = file.device.transfer(bioOp, device, iter, bytes, options, transferEnded);
  transfer.owner = op;
  iter.reexpand(all);
}

export function transferEnded(transfer: Transfer, result: number): void {
  (transfer.owner as FileOp).transferred(result);
}
