/**
 * A file system lets one writer into a regular file at a time. More than that in the thread pool
 * only wait for the inode's lock, with a thread each. So the others wait here, and the threads
 * read meanwhile.
 */
export class WriteTurns {
  static readonly WRITERS_MAX = 1;
  readonly #waiting: (() => void)[] = [];
  #writers = 0;

  /** True: write now, and `leave` afterwards. False: `retry` is called when it is worth trying. */
  enter(retry: () => void): boolean {
    if (this.#writers >= WriteTurns.WRITERS_MAX) {
      this.#waiting.push(retry);
      return false;
    }
    this.#writers++;
    return true;
  }

  leave(): void {
    this.#writers--;
    // A waiter that was cancelled does not enter: go on to the next.
    while (this.#writers < WriteTurns.WRITERS_MAX) {
      const retry = this.#waiting.shift();
      if (retry === undefined) return;
      retry();
    }
  }
}
