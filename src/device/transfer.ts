import { BioOp } from '../bio/bio-op.ts';
import type { FaultReport } from '../integrity/fault-text.ts';
import { Mapping } from '../map/mapping.ts';
import type { MetadataWish, MetaMapping } from '../map/metadata/meta-mapping.ts';
import type { BlockDevice } from './block-device.ts';
import type { RangeHolder } from './range-locks.ts';

/** IDLE → ACTIVE (bios go out) → DRAINING (no more; some are in flight) → ENDING → IDLE. */
export const TransferState = { IDLE: 0, ACTIVE: 1, DRAINING: 2, ENDING: 3 } as const;
export type TransferState = (typeof TransferState)[keyof typeof TransferState];

/** Called once, from the completion loop. `result`: bytes, or a negative errno. */
export type TransferEnd = (transfer: Transfer, result: number) => void;

/**
 * One read, write, flush, discard or write-zeroes of the device, of any size: a mapping and the
 * bios that it goes out in. Pooled by its device.
 */
export class Transfer implements RangeHolder {
  readonly device: BlockDevice;
  readonly mapping = new Mapping();
  state: TransferState = TransferState.IDLE;
  op: BioOp = BioOp.READ;
  /** Bytes of the device. */
  position = 0;
  bytes = 0;
  /** Bytes that bios were made for. */
  sent = 0;
  /** Bios in flight. */
  bios = 0;
  /** 0, or why it ends early: -ECANCELED after an abort. */
  stop = 0;
  /** What the caller brought beside its data. */
  metadata: MetadataWish | null = null;
  /** Made when it is first wanted. */
  metaMapping: MetaMapping | null = null;
  /** The lowest block whose metadata did not fit, once there is one. */
  fault: FaultReport | null = null;
  fua = false;
  noWait = false;
  /** Has its range; `waitsForRange` before that. */
  isLocked = false;
  waitsForRange = false;
  lockStart = 0;
  lockEnd = 0;
  isExclusive = false;
  /** True while it stands in the device's queue for a bio, a page or a range. */
  isWaiting = false;
  /** True while a page of the program must be waited for; it has nothing but its bios in flight. */
  waitsForFault = false;
  /** The page may be there: it stands in `device.woken`. */
  isWoken = false;
  traceId = 0;
  /** Tells transfers of one object from each other. */
  id = 0;
  /** When it began; 0 without a clock. */
  startNs = 0;
  onEnd: TransferEnd | null = null;
  /** The caller's own object. */
  owner: object | null = null;

  /** For `AddressSpace.whenReady`. One too many or too late is harmless: it asks again. */
  readonly wake = (): void => {
    if (!this.waitsForFault || this.isWoken) return;
    this.isWoken = true;
    this.device.woken.push(this);
    this.device.arm();
  };

  constructor(device: BlockDevice) {
    this.device = device;
  }
}
