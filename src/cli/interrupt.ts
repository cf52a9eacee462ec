import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
export type StopSignal = (typeof SIGNALS)[number];

/**
 * Ctrl-C and its kin, as an AbortSignal: the first one asks the work to stop, a second one ends
 * the process at once, as it would without us.
 */
export class Interrupt {
  readonly #controller = new AbortController();
  readonly #handlers = new Map<StopSignal, () => void>();
  #by: StopSignal | null = null;

  constructor() {
    for (const name of SIGNALS) {
      const handler = (): void => this.#caught(name);
      this.#handlers.set(name, handler);
      process.on(name, handler);
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The signal that came, or null. */
  get by(): StopSignal | null {
    return this.#by;
  }

  /** As a shell counts: 130 after Ctrl-C, 143 after SIGTERM. */
  get exitCode(): number {
    return this.#by === null ? 0 : 128 + constants.signals[this.#by];
  }

  /**
   * Ends the process by the signal itself, for a shell the same as `exitCode`. The way out while
   * a read of standard input blocks a thread: an ordinary exit would wait for that thread.
   */
  die(): void {
    const name = this.#by ?? 'SIGTERM';
    this[Symbol.dispose]();
    process.kill(process.pid, name);
  }

  [Symbol.dispose](): void {
    for (const [name, handler] of this.#handlers) process.off(name, handler);
    this.#handlers.clear();
  }

  #caught(name: StopSignal): void {
    if (this.#by !== null) {
      this.#by = name;
      this.die();
      return;
    }
    this.#by = name;
    this.#controller.abort(name);
  }
}
