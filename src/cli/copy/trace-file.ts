import { closeSync, openSync, writeSync } from 'node:fs';
import { BlockError, type BlockErrorCode } from '../../base/block-error.ts';
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

/** Writes what happens on some devices to a file, one JSON object a line, each with its target. */
export class TraceFile {
  readonly #fd: number;
  readonly #traced: Traced[] = [];

  /** Makes or empties the file; throws BlockError when that cannot be. */
  constructor(path: string) {
    try {
      this.#fd = openSync(path, 'w');
    } catch (cause) {
      const code = ((cause as NodeJS.ErrnoException).code ?? 'EIO') as BlockErrorCode;
      const reason = 'the trace cannot be written there';
      throw new BlockError(code, { reason, device: path, cause });
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

  close(): void {
    for (const { device } of this.#traced) device.probe = null;
    this.#write();
    closeSync(this.#fd);
  }

  #write(): void {
    for (const { target, log } of this.#traced) {
      const lines = log.drain().map((event) => JSON.stringify({ target, ...event }));
      if (lines.length > 0) writeSync(this.#fd, `${lines.join('\n')}\n`);
    }
  }
}
