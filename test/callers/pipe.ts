import { Errno } from '../../src/base/errno.ts';
import { HoldKind, putPages } from '../../src/memory/holds.ts';
import type { Entry, Sink } from './sink.ts';

/** Slots of pages. Its `push` takes the reference in every case: refused pages are put here. */
export class Pipe implements Sink {
  readonly hold = HoldKind.REFERENCED;
  readonly held: Entry[] = [];
  readonly #slots: number;
  readonly #readers: number;

  /** Without readers after `readers` pages. */
  constructor(slots: number, readers: number) {
    this.#slots = slots;
    this.#readers = readers;
  }

  /** What `push` would answer: 0, -EPIPE without readers, -EAGAIN when full. */
  get refusal(): number {
    if (this.held.length >= this.#readers) return -Errno.EPIPE;
    return this.held.length === this.#slots ? -Errno.EAGAIN : 0;
  }

  /** Bytes, or why not. Linux: add_to_pipe(). */
  push(page: number, offset: number, len: number): number {
    const { refusal } = this;
    if (refusal < 0) putPages(page, 1);
    else this.held.push([page, offset, len]);
    return refusal < 0 ? refusal : len;
  }
}
