import { appendFileSync, closeSync, constants, openSync } from 'node:fs';
import { BlockError } from '../../base/block-error.ts';
import { errnoName, errnoNumber } from '../../base/errno.ts';
import type { BlockDevice } from '../../device/block-device.ts';
import { nodeEnv } from '../../node/node-env.ts';
import { EventLog } from '../../trace/event-log.ts';

/** Events that wait in memory at most, about. */
const EVENTS_KEPT = 4096;

interface Traced {
  readonly device: BlockDevice;
  readonly target: string;
  readonly log: EventLog;
}

/**
 * Writes what happens on some devices to a file, one JSON object a line, each with its target.
 * `open`, `breathe` and `close` throw BlockError when the file cannot be made or written.
 */
export class TraceFile {
  readonly #path: string;
  readonly #traced: Traced[] = [];
  #fd = -1;

  constructor(path: string) {
    this.#path = path;
  }

  /** Makes or empties the file. */
  open(): void {
    const { O_WRONLY, O_CREAT, O_NONBLOCK = 0 } = constants;
    let probe = -1;
    try {
      // A named pipe that nobody reads would hold up the whole process, its signals too.
      probe = openSync(this.#path, O_WRONLY | O_CREAT | O_NONBLOCK);
      this.#fd = openSync(this.#path, 'w');
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      const isPipe = code === 'ENXIO';
      const reason = isPipe ? 'nobody reads the pipe' : 'the trace cannot be written there';
      throw this.#error(cause, reason);
    } finally {
      if (probe >= 0) closeSync(probe);
    }
  }

  /** From now on. Pre: the device has no probe. */
  add(device: BlockDevice): void {
    const log = new EventLog(nodeEnv().nowNs);
    device.probe = log;
    this.#traced.push({ device, target: device.engine.info.target, log });
  }

  /** Between transfers: writes what has gathered, if it is much. */
  breathe(): void {
    if (this.#traced.some(({ log }) => log.events.length >= EVENTS_KEPT)) this.#write();
  }

  /** Nothing when it is closed already. */
  close(): void {
    if (this.#fd < 0) return;
    for (const { device } of this.#traced) device.probe = null;
    try {
      this.#write();
    } finally {
      closeSync(this.#fd);
      this.#fd = -1;
    }
  }

  /** After a failure: what there is helps to understand it, and nothing comes before it. */
  abandon(): void {
    try {
      this.close();
    } catch (error) {
      if (!(error instanceof BlockError)) throw error;
    }
  }

  #write(): void {
    for (const { target, log } of this.#traced) {
      const lines = log.drain().map((event) => JSON.stringify({ target, ...event }));
      if (lines.length === 0) continue;
      try {
        appendFileSync(this.#fd, `${lines.join('\n')}\n`);
      } catch (cause) {
        throw this.#error(cause, `the trace cannot be written: ${(cause as Error).message}`);
      }
    }
  }

  #error(cause: unknown, reason: string): BlockError {
    const { code = 'EIO' } = cause as NodeJS.ErrnoException;
    return new BlockError(errnoName(errnoNumber(code)), { reason, device: this.#path, cause });
  }
}
