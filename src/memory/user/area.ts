import type { Access } from '../address-space.ts';
import type { UserSpace } from './user-space.ts';

/** What the program may do with an area. */
export const Protection = { NONE: 0, READ: 1, WRITE: 2 } as const;

/** A range [start, end) of page-aligned addresses with one set of rules. Linux: a VMA. */
export class Area {
  start: number;
  end: number;
  /** Protection bits. */
  protection: number;
  /** Writes are seen by every process and by the file. Else copy-on-write. */
  readonly isShared: boolean;
  /** Null: anonymous memory. */
  readonly ops: AreaOps | null;
  /** Page of the backing object under `start`; virtual page number for anonymous memory. */
  startIndex: number;
  /** No frame descriptors behind it (device registers): faults for copies, never held. */
  readonly isIo: boolean;
  /** log2 of the folio that a fault tries first: 0, or 9 for 2 MiB. Anonymous areas only. */
  readonly folioOrder: number;

  constructor(fields: AreaFields) {
    this.start = fields.start;
    this.end = fields.end;
    this.protection = fields.protection;
    this.isShared = fields.isShared;
    this.ops = fields.ops;
    this.startIndex = fields.startIndex;
    this.isIo = fields.isIo;
    this.folioOrder = fields.folioOrder;
  }
}

export interface AreaFields {
  readonly start: number;
  readonly end: number;
  readonly protection: number;
  readonly isShared: boolean;
  readonly ops: AreaOps | null;
  readonly startIndex: number;
  readonly isIo: boolean;
  readonly folioOrder: number;
}

/** How a fault may behave; bits of `FaultRequest.flags`. */
export const FaultFlag = {
  /** The handler may answer RETRY. */
  ALLOW_RETRY: 1,
  /** With RETRY the handler keeps the lock and the caller does not wait. */
  RETRY_NOWAIT: 2,
  /** Second attempt after a RETRY. */
  TRIED: 4,
  /** A read-only pin wants its own copy of a shared anonymous page. */
  UNSHARE: 8,
} as const;

/** What a handler may answer besides a negative errno. */
export const FaultResult = {
  /** `request.page` holds the frame, with one reference for the page table. */
  DONE: 0,
  /** Ask again, after `request.wait` fired. Without RETRY_NOWAIT the lock has been dropped. */
  RETRY: 1,
  /** The handler filled the page table itself and dropped the lock. */
  COMPLETED: 2,
} as const;
export type FaultResult = (typeof FaultResult)[keyof typeof FaultResult];

/** Calls `wake` once, never from inside `add`. */
export interface Wait {
  add(wake: () => void): void;
}

/** One fault on its way through a handler; reused, so a handler copies what it keeps. */
export class FaultRequest {
  /** Page-aligned address. */
  address = 0;
  /** Page of the backing object. */
  index = 0;
  access: Access = 0;
  flags = 0;
  /** Answer of DONE: the frame. For `pageMkwrite`: the page that will become writable. */
  page = 0;
  /** Answer of RETRY: what to wait for. */
  wait: Wait | null = null;
}

/** Where the pages of an area come from. Answers outside the contract are errors that name it. */
export interface AreaOps {
  /** Named in errors: 'cache of disk.img'. */
  readonly name: string;
  /** Finds the page at `request.index`. FaultResult or a negative errno, but never -EBUSY. */
  fault(space: UserSpace, area: Area, request: FaultRequest): number;
  /**
   * A clean shared page becomes writable: reserve space, wait for stable pages. 0 or a negative
   * errno; -EAGAIN with `request.wait` set when it must wait. Never RETRY, which would reach GUP.
   */
  pageMkwrite?(space: UserSpace, area: Area, request: FaultRequest): number;
  /** One more area uses the object (mmap, split, fork), or one less. */
  opened?(area: Area): void;
  closed?(area: Area): void;
  /** A writable mapping needs dirty tracking: LONGTERM pins for write are refused. */
  readonly tracksDirty: boolean;
}
