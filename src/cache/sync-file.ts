import { BioOp } from '../bio/bio-op.ts';
import { transferEnded } from './direct-read.ts';
import type { FileOp } from './file-op.ts';
import { flushPages } from './writeback.ts';

const State = { WRITE: 0, FLUSH: 2, FLUSHED: 3 } as const;

/**
 * Everything dirty in pages [start, end) is on the medium when it ends with 0. An error of writing
 * that the opener has not heard of, also of long before, is its result. Linux: file_write_and_wait
 * and a flush of the device's cache.
 */
export function stepSync(op: FileOp): boolean {
  const { file } = op;
  if (op.state < State.FLUSH && !flushPages(op, op.start, op.end, State.WRITE)) return false;
  if (op.state === State.FLUSH) {
    op.state = State.FLUSHED;
    op.waitForDevice();
    const transfer = file.device.transfer(BioOp.FLUSH, 0, null, 0, {}, transferEnded);
    transfer.owner = op;
    return false;
  }
  const written = file.errors.check(op.cursor ?? file.errorCursor);
  op.error = op.result < 0 ? op.result : written;
  return true;
}
