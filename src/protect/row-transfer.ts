import { assert } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import { Errno } from '../base/errno.ts';
import { ioReason } from '../base/io-reason.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { BioOp, opHasData } from '../bio/bio-op.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import type { BlockDevice, TransferOptions } from '../device/block-device.ts';
import type { Transfer } from '../device/transfer.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import { HoldKind } from '../memory/holds.ts';
import { byteAt, regionOf } from '../memory/region.unsafe.ts';

const PLAIN: TransferOptions = {};
const DURABLE: TransferOptions = { fua: true };

/**
 * One transfer between rows of page frames and a device below, used again and again. The frames are
 * the caller's and stay where they are until `onEnd`.
 */
export class RowTransfer {
  readonly table: BvecTable;
  readonly onEnd: (transfer: RowTransfer) => void;
  /** 0 or -errno; less than all bytes is -EIO. */
  status = 0;
  /** Bytes that were moved; less than asked for only after an error or at the end of a device. */
  done = 0;
  rows = 0;
  bytes = 0;
  isBusy = false;
  /** The caller's own number. */
  owner = 0;
  readonly #iter = new IovIter();

  constructor(rows: number, onEnd: (transfer: RowTransfer) => void) {
    this.table = new BvecTable(rows);
    this.onEnd = onEnd;
  }

  /** Forgets the rows. */
  clear(): void {
    assert(!this.isBusy, 'row transfer: changed in flight');
    this.rows = 0;
    this.bytes = 0;
    this.status = 0;
  }

  /** Adds a row, joined to the last one where they touch. Pre: there is room. */
  add(page: number, offset: number, len: number): void {
    const { table } = this;
    const last = this.rows - 1;
    this.bytes += len;
    if (last >= 0 && touches(table, last, page, offset)) {
      table.len[last] = (table.len[last] as number) + len;
      return;
    }
    table.set(this.rows, page, offset, len, HoldKind.BORROWED);
    this.rows++;
  }

  start(device: BlockDevice, op: BioOp, position: number, isDurable = false): void {
    assert(!this.isBusy, 'row transfer: started in flight');
    this.isBusy = true;
    const options = isDurable ? DURABLE : PLAIN;
    if (!opHasData(op)) {
      device.transfer(op, position, null, this.bytes, options, this.#ended);
      return;
    }
    const direction = op === BioOp.READ ? IterDirection.DEST : IterDirection.SOURCE;
    this.#iter.initBvec(direction, this.table, 0, this.rows, 0, this.bytes);
    device.transfer(op, position, this.#iter, this.bytes, options, this.#ended);
  }

  readonly #ended = (transfer: Transfer, result: number): void => {
    this.isBusy = false;
    this.done = result < 0 ? 0 : result;
    const isShort = opHasData(transfer.op) && result < this.bytes;
    this.status = result < 0 ? result : isShort ? -Errno.EIO : 0;
    this.onEnd(this);
  };
}

function touches(table: BvecTable, row: number, page: number, offset: number): boolean {
  const rowPage = table.page[row] as number;
  if (regionOf(rowPage) !== regionOf(page)) return false;
  const end = (table.offset[row] as number) + (table.len[row] as number);
  return byteAt(rowPage, end) === byteAt(page, offset);
}

/** The same for control code: one call at a time, as a promise. Rejects with BlockError. */
export class RowCalls {
  readonly rows: RowTransfer;
  readonly #device: BlockDevice;
  #settle: (() => void) | null = null;

  constructor(device: BlockDevice, rows: number) {
    this.#device = device;
    this.rows = new RowTransfer(rows, () => this.#settle?.());
  }

  async run(op: BioOp, position: number, isDurable = false): Promise<void> {
    const { rows } = this;
    await new Promise<void>((resolve) => {
      this.#settle = resolve;
      rows.start(this.#device, op, position, isDurable);
    });
    if (rows.status === 0) return;
    const device = this.#device.engine.info.target;
    const why = ioReason(rows.status);
    const what = `${OP_TEXT[op]} of ${rows.bytes} bytes at ${position} failed`;
    const reason = why === null ? what : `${what}: ${why}`;
    throw BlockError.fromErrno(rows.status, { reason, device, offset: position });
  }

  /** Whole page frames from `page` on. */
  async pages(op: BioOp, position: number, page: number, count: number): Promise<void> {
    this.rows.clear();
    this.rows.add(page, 0, count * PAGE_BYTES);
    await this.run(op, position);
  }

  /** Reads `bytes` to the start of `page`; false when the device cannot. */
  async canRead(position: number, page: number, bytes: number): Promise<boolean> {
    this.rows.clear();
    this.rows.add(page, 0, bytes);
    try {
      await this.run(BioOp.READ, position);
      return true;
    } catch (error) {
      if (error instanceof BlockError) return false;
      throw error;
    }
  }

  async flush(): Promise<void> {
    this.rows.clear();
    await this.run(BioOp.FLUSH, 0);
  }
}

const OP_TEXT: Readonly<Record<BioOp, string>> = {
  [BioOp.READ]: 'a read',
  [BioOp.WRITE]: 'a write',
  [BioOp.FLUSH]: 'a flush',
  [BioOp.DISCARD]: 'a discard',
  [BioOp.SECURE_ERASE]: 'a secure erase',
  [BioOp.WRITE_ZEROES]: 'a write of zeroes',
};
