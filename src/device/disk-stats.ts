/** What moved and how, since the disk was opened. Bytes of user data. */
export interface DiskStats {
  readonly transfers: number;
  readonly bytesMapped: number;
  readonly bytesCopied: number;
  /** By reason: detachable, asked, offset, length, address, segments, gap. */
  readonly copiedByReason: Readonly<Record<string, number>>;
  readonly bytesReadBeforeWrite: number;
  readonly bios: number;
  readonly requests: number;
  readonly splits: number;
  readonly merges: number;
  /** Short transfers that were continued. */
  readonly requeues: number;
  readonly pagesHeld: number;
  readonly pagesHeldMost: number;
  readonly bouncePages: number;
  readonly bouncePagesMost: number;
  /** Buffers that were detached or resized in flight. */
  readonly detached: number;
}
