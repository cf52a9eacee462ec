/** What one opener of a file has heard of already. */
export class ErrorCursor {
  seen = 0;
}

/**
 * Errors of writeback, which happens when nobody waits. Each opener hears of the last one that it
 * has not heard, once, at its next fsync, whoever else has heard of it. Linux: errseq_t.
 */
export class ErrorSequence {
  /** Errors so far, and how many of them somebody has heard of. */
  #count = 0;
  #heard = 0;
  /** Negative errno of the last. */
  #error = 0;

  get count(): number {
    return this.#count;
  }

  /** Negative errno of the last one, or 0. */
  get last(): number {
    return this.#error;
  }

  record(error: number): void {
    this.#error = error;
    this.#count++;
  }

  /** Where an opener begins: an error that nobody has heard yet will be told to it too. */
  open(cursor: ErrorCursor): void {
    cursor.seen = this.#heard;
  }

  /** 0, or the last error, if `cursor` has not heard of it; then it has. */
  check(cursor: ErrorCursor): number {
    if (cursor.seen === this.#count) return 0;
    cursor.seen = this.#count;
    this.#heard = this.#count;
    return this.#error;
  }
}
