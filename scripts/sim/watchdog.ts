import { join } from 'node:path';
import { Script } from 'node:vm';
import { Worker } from 'node:worker_threads';

/** Int32 cells that both threads see. */
export const WatchdogCell = { STEP: 0, IS_GUARDED: 1, HAS_FIRED: 2, TEXT_BYTES: 3 } as const;

export interface WatchdogData {
  readonly shared: SharedArrayBuffer;
  readonly text: SharedArrayBuffer;
  readonly stepSeconds: number;
}

const TEXT_BYTES = 2048;
const SCRIPT = new Script('globalThis.simGuarded()', { filename: 'watchdog' });

/**
 * Ends a loop inside one step of a world. A second thread watches the number of the step; when it
 * stays for `stepSeconds` of CPU time, the script that `guard` runs in is interrupted and throws.
 */
export class Watchdog {
  readonly #cells: Int32Array;
  readonly #text = new SharedArrayBuffer(TEXT_BYTES);
  readonly #thread: Worker;
  readonly #stepSeconds: number;

  constructor(stepSeconds: number) {
    const shared = new SharedArrayBuffer(4 * Object.keys(WatchdogCell).length);
    this.#stepSeconds = stepSeconds;
    this.#cells = new Int32Array(shared);
    const workerData: WatchdogData = { shared, text: this.#text, stepSeconds };
    const thread = join(import.meta.dirname, 'watchdog-thread.ts');
    this.#thread = new Worker(thread, { workerData, execArgv: [] });
    this.#thread.unref();
  }

  /** A step has begun. */
  readonly onStep = (step: number): void => {
    this.#cells[WatchdogCell.STEP] = step;
  };

  /** Runs `run`; throws an Error that names the loop when it had to be ended. */
  readonly guard = (run: () => void): void => {
    const cells = this.#cells;
    Object.assign(globalThis, { simGuarded: run });
    Atomics.store(cells, WatchdogCell.IS_GUARDED, 1);
    try {
      SCRIPT.runInThisContext({ breakOnSigint: true });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ERR_SCRIPT_EXECUTION_INTERRUPTED') throw error;
      if (Atomics.load(cells, WatchdogCell.HAS_FIRED) === 0) process.exit(130); // Ctrl-C.
      const bytes = Buffer.from(this.#text, 0, cells[WatchdogCell.TEXT_BYTES]);
      const where = bytes.toString('utf8');
      throw new Error(`sim: a step does not end (${this.#stepSeconds} s of CPU): ${where}`);
    } finally {
      Atomics.store(cells, WatchdogCell.IS_GUARDED, 0);
    }
  };

  /** True: it ended a loop, and is of no more use. */
  get hasFired(): boolean {
    return Atomics.load(this.#cells, WatchdogCell.HAS_FIRED) !== 0;
  }

  close(): void {
    void this.#thread.terminate();
  }
}
