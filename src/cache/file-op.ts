import { assert } from '../base/assert.ts';
import { IovIter } from '../iter/iov-iter.ts';
import type { CopyPolicy } from '../map/verdict.ts';
import type { ErrorCursor } from './error-sequence.ts';
import type { FileCore } from './file-core.ts';
import type { LockHolder } from './file-lock.ts';

export const FileOpKind = {
  READ: 0,
  WRITE: 1,
  DIRECT_READ: 2,
  DIRECT_WRITE: 3,
  SYNC: 4,
  TRUNCATE: 5,
  PUNCH_HOLE: 6,
  ALLOCATE: 7,
} as const;
export type FileOpKind = (typeof FileOpKind)[keyof typeof FileOpKind];

/** Ends of transfers that one call waits for without progress before it says -ENOMEM. */
export const MEMORY_WAITS_MAX = 64;

/** Called once, from the loop. `result`: bytes (0 for what moves none), or a negative errno. */
export type FileEnd = (op: FileOp, result: number) => void;

/**
 * One call on a file, from start to end: a state machine that runs until it must wait, and goes on
 * where it was when it is woken. Pooled by its file.
 *
 * A step never sleeps inside: it leaves with exactly one wake-up on its way (`isWaiting`), holding
 * no folio lock and no reference; the lock of the file is all that it keeps.
 */
export class FileOp implements LockHolder {
  readonly file: FileCore;
  kind: FileOpKind = FileOpKind.READ;
  /** The caller's memory; moves on with what was done. */
  readonly iter = new IovIter();
  /** Where the next byte goes. */
  position = 0;
  /** First byte of the call, and the first behind it. */
  start = 0;
  end = 0;
  /** Bytes done. */
  done = 0;
  /** Negative errno that ends it, or 0. */
  error = 0;
  /** Step that is next; each kind counts its own. */
  state = 0;
  isExclusive = false;
  hasLock = false;
  isWaiting = false;
  isActive = false;
  /** File page that the last wait was for: a failed read is told to those who waited. */
  waitedIndex = -1;
  /** Bytes that the next copy may have, after one that faulted in the middle. */
  chunk = 0;
  /** Pages dirtied since the last look at how many are dirty. */
  dirtied = 0;
  /** Result of the device transfer that it waited for. */
  result = 0;
  /** Flush: page that is next. Direct I/O: first byte of the extent at hand. */
  runStart = 0;
  /** First byte behind that extent, or behind the call. */
  runEnd = 0;
  /** What to add to a byte of the file there to have the byte of the device. */
  runDevice = 0;
  isUnwritten = false;
  /** First byte behind what the transfer moved; zeros go from `zeroAt` to `zeroEnd`. */
  dataEnd = 0;
  zeroAt = 0;
  zeroEnd = 0;
  /** The error is the result, whatever was done before it. */
  isFailed = false;
  /** It ends before it begins. */
  isRefused = false;
  /** Errors of writeback that the file had before this operation wrote back itself. */
  errorsBefore = 0;
  copy: CopyPolicy = 'auto';
  /** ALLOCATE: the size of the file stays. */
  keepsSize = false;
  cursor: ErrorCursor | null = null;
  onEnd: FileEnd | null = null;
  /** The caller's own object. */
  owner: object | null = null;
  /** Waits for memory since the last byte of progress. */
  #memoryWaits = 0;
  /** How often the caller's next byte was there, but gone when it was copied. */
  #vainReaches = 0;

  constructor(file: FileCore) {
    this.file = file;
  }

  /** Goes on, from the loop. */
  readonly wake = (): void => {
    assert(this.isWaiting, 'file op: woken without waiting');
    this.isWaiting = false;
    this.file.ready(this);
  };

  /** Arms the operation. Everything else is as after `constructor`. */
  begin(kind: FileOpKind, start: number, end: number): void {
    assert(!this.isActive, 'file op: begun twice');
    this.isActive = true;
    this.kind = kind;
    this.position = start;
    this.start = start;
    this.end = end;
    this.done = 0;
    this.error = 0;
    this.state = 0;
    this.isExclusive = false;
    this.hasLock = false;
    this.waitedIndex = -1;
    this.chunk = Number.POSITIVE_INFINITY;
    this.dirtied = 0;
    this.result = 0;
    this.runStart = 0;
    this.isFailed = false;
    this.isRefused = false;
    this.errorsBefore = 0;
    this.copy = 'auto';
    this.keepsSize = false;
    this.cursor = null;
    this.#memoryWaits = 0;
    this.#vainReaches = 0;
  }

  /** `bytes` more are done. */
  progress(bytes: number): void {
    this.position += bytes;
    this.done += bytes;
    this.waitedIndex = -1;
    this.#memoryWaits = 0;
    this.#vainReaches = 0;
  }

  /**
   * The caller's next byte is there. False: so often now without one byte of progress that memory
   * must be too small for it and the file's page at once, and each drives the other out.
   */
  reached(): boolean {
    this.#vainReaches++;
    return this.#vainReaches < MEMORY_WAITS_MAX;
  }

  /** Bytes if there are any, else the error: what read(2) and write(2) answer. */
  get outcome(): number {
    return this.done > 0 && !this.isFailed ? this.done : this.error;
  }

  /** True: it has the lock of the file. False: it waits for it. */
  lockFile(isExclusive: boolean): boolean {
    if (this.hasLock) return true;
    this.isExclusive = isExclusive;
    this.hasLock = true;
    this.isWaiting = !this.file.lock.acquire(this);
    return !this.isWaiting;
  }

  /** Waits for the lock of the folio at `index`. Pre: it is locked. */
  waitForFolio(index: number): void {
    this.waitedIndex = index;
    this.#park();
    const { cache, memory } = this.file;
    memory.whenUnlocked(cache.pageAt(index), this.wake);
  }

  /** Waits for the end of the writeback at `index`. Pre: there is one. */
  waitForWriteback(index: number): void {
    this.#park();
    const { cache } = this.file;
    cache.whenWritten(cache.pageAt(index), this.wake);
  }

  /** Waits for free memory. False: nothing is in flight that could free some, or in vain. */
  waitForMemory(): boolean {
    const { pressure } = this.file;
    this.file.writeOut();
    if (pressure.inFlight === 0 || this.#memoryWaits >= MEMORY_WAITS_MAX) return false;
    this.#memoryWaits++;
    this.#park();
    pressure.wait(this.wake);
    return true;
  }

  /** After a fault that answered -EAGAIN. */
  waitForUser(): void {
    const { space } = this.iter;
    assert(space !== null, 'file op: only an address space lets one wait');
    this.#park();
    space.whenReady(this.wake);
  }

  /** Waits for a device transfer, which calls `transferred`. */
  waitForDevice(): void {
    this.#park();
  }

  transferred(result: number): void {
    this.result = result;
    this.wake();
  }

  #park(): void {
    assert(this.isActive && !this.isWaiting, 'file op: waits for two things');
    this.isWaiting = true;
  }
}
