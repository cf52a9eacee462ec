import { Errno } from '../../src/base/errno.ts';
import { type IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { holdOf } from '../../src/iter/iter-extract.ts';
import { HoldKind, pinPages } from '../../src/memory/holds.ts';
import type { Entry, Sink } from './sink.ts';

/** Blocks are looked up in runs of this many bytes of the file. */
const RUN_BYTES = 8192;

/** A direct transfer that is being cut into sections for bios. */
export class Dio implements Sink {
  hold: HoldKind = HoldKind.BORROWED;
  /** Sections with a pin of their own. */
  readonly held: Entry[] = [];
  /** Bytes of zeros that were written for user data that could not be had. */
  zeroed = 0;
  /** Bytes of user data in sections. */
  bytes = 0;
  /** First error of getting user pages while blocks were mapped. */
  pageErrors = 0;
  #isWrite = false;
  readonly #failAt: number;
  #mapped = 0;

  /** Looking up the blocks from byte `failAt` of the file on is an I/O error. */
  constructor(failAt: number) {
    this.#failAt = failAt;
  }

  start(iter: IovIter): void {
    this.hold = holdOf(iter, HoldKind.PINNED);
    this.#isWrite = iter.direction === IterDirection.SOURCE;
  }

  /** Queues one page, block run by block run; the bio takes its own pin for each section. */
  addPage(page: number, offset: number, len: number): number {
    for (let done = 0; done < len; ) {
      if (this.#mapped === 0) {
        if (this.bytes >= this.#failAt) return -Errno.EIO;
        this.#mapped = RUN_BYTES;
      }
      const part = Math.min(len - done, this.#mapped);
      if (this.hold === HoldKind.PINNED) pinPages(page, 1);
      this.held.push([page, offset + done, part]);
      this.#mapped -= part;
      this.bytes += part;
      done += part;
    }
    return 0;
  }

  /** Reference 9.1: mapped blocks must not show stale data, so they get zeros. */
  fault(error: number): number {
    if (!this.#isWrite || this.#mapped === 0) return error;
    this.pageErrors = error;
    this.zeroed = this.#mapped;
    this.#mapped = 0;
    return error;
  }

  /** A plain fault gives a short count, a zero-filled one its error. */
  result(error: number): number {
    const first = error === -Errno.EFAULT && this.bytes > 0 ? 0 : error;
    if (first < 0) return first;
    return this.pageErrors < 0 ? this.pageErrors : this.bytes;
  }
}
