// Probe points of the path. A disabled probe costs one branch: `if (probe !== null) probe.hit(…)`.

/**
 * What happened, with the meaning of the numbers `a, b, c` and of `subject` for each point.
 * The trace id is that of the submitter's transfer; splits, merges and bounces keep it.
 */
export const ProbePoint = {
  /** A page range got a hold. subject: BvecTable; a: row; b: hold kind; c: pages. */
  HOLD: 0,
  /** A page range was let go. subject: BvecTable; a: row; b: hold kind; c: pages. */
  UNHOLD: 1,
  /** Map or copy was decided. subject: Mapping; a: verdict; b: reason; c: bytes. */
  MAP: 2,
  /** The submitter's side copied bytes. subject: Mapping; a: reason; b: bytes; c: 1 = back. */
  COPY: 3,
  /** A bio entered the queue, before any split. subject: Bio; a: op; b: sector; c: sectors. */
  BIO_QUEUE: 4,
  /** The front of a bio was cut off. subject: Bio (front); a: sector; b: sectors; c: limit. */
  SPLIT: 5,
  /** A request was taken for a bio. subject: Request; a: op; b: sector; c: sectors. */
  GET_REQUEST: 6,
  /** A bio joined a request's end. subject: Request; a: op; b: sector; c: sectors of the bio. */
  BACK_MERGE: 7,
  FRONT_MERGE: 8,
  /** Discard ranges joined one request. */
  DISCARD_MERGE: 9,
  /** A request went to the engine. subject: Request; a: op; b: sector; c: sectors. */
  ISSUE: 10,
  /** The engine gave it back. subject: Request; a: status; b: sector; c: bytes done. */
  COMPLETE: 11,
  /** The rest of a short transfer goes again. subject: Request; a: op; b: sector; c: sectors. */
  REQUEUE: 12,
  /** A bio ended. subject: Bio; a: status; b: sector; c: bytes. */
  BIO_END: 13,
  /**
   * A driver made the memory of a request ready for its device. subject: CommandSlot; a: entries of
   * the scatterlist; b: device ranges; c: bounce buffers.
   */
  COMMAND_MAP: 14,
  /** It cannot, now or ever. subject: DmaDevice; a: negative errno; b: DmaReason; c: bytes. */
  COMMAND_REFUSE: 15,
  /**
   * The device is done with the memory, which is still mapped. subject: CommandSlot; a: NvmeStatus;
   * b: bytes that it moved; c: bounce buffers.
   */
  COMMAND_UNMAP: 16,
  /**
   * Metadata is ready to go with its bio, or came back with it. subject: BioIntegrity; a: block of
   * the device, in intervals; b: bytes of metadata; c: 1 = back.
   */
  METADATA: 17,
} as const;
export type ProbePoint = (typeof ProbePoint)[keyof typeof ProbePoint];

export interface Probe {
  hit(point: ProbePoint, traceId: number, subject: object, a: number, b: number, c: number): void;
}
