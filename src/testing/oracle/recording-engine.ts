import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { slotOf } from '../../base/slots.ts';
import type { Engine, EngineInfo } from '../../engine/contract.ts';
import type { RequestTable } from '../../queue/request-table.ts';
import { checkRequest } from '../simulator/request-checker.ts';
import type { CaseTrace } from './case-trace.ts';
import { DeadlineScheduler, type Parts } from './deadline-scheduler.ts';
import { MEDIUM_ERROR, type RecordedDevice } from './recorded-device.ts';

/** blk_status_t of the two ends that a recorded RAM disk has. */
const STATUS_OK = 0;
const STATUS_MEDIUM = 7;

/**
 * A device that moves no byte and writes every request down. Requests complete in the order of
 * their issue, at the next reap.
 */
export class RecordingEngine implements Engine {
  readonly info: EngineInfo;
  /** What an independent judge has against the requests, one sentence each. */
  readonly faults: string[] = [];
  readonly #device: RecordedDevice;
  readonly #trace: CaseTrace;
  readonly #scheduler: DeadlineScheduler | null;
  readonly #done: number[] = [];
  #table: RequestTable | null = null;

  constructor(device: RecordedDevice, trace: CaseTrace, depth: number) {
    this.#device = device;
    this.#trace = trace;
    this.info = {
      kind: 'recording',
      target: 'record',
      depth,
      limits: device.limits,
      byteGranular: false,
      integrity: null,
      fixedSize: true,
      facts: {},
    };
    this.#scheduler =
      device.scheduler === 'none'
        ? null
        : new DeadlineScheduler(device.limits, (next) => trace.requestMerge(next));
  }

  sizeBytes(): number {
    return this.#device.sizeBytes;
  }

  attach(table: RequestTable): void {
    this.#table = table;
  }

  submit(tags: Uint32Array, first: number, count: number): number {
    const table = this.#table;
    assert(table !== null, 'recording engine: not attached');
    for (let i = first; i < first + count; i++) {
      const request = table.get(tags[i]);
      if (this.#scheduler === null) this.#issue([request], table);
      else this.#scheduler.insert(request);
    }
    for (;;) {
      const parts = this.#scheduler?.dispatch() ?? null;
      if (parts === null) return count;
      this.#issue(parts, table);
    }
  }

  #issue(parts: Parts, table: RequestTable): void {
    const last = parts[parts.length - 1];
    const end = last.sector + last.sectors;
    const bad = this.#device.failSector;
    const fails = bad >= parts[0].sector && bad < end;
    this.#trace.issue(parts, this.#device.limits, fails ? STATUS_MEDIUM : STATUS_OK);
    for (const part of parts) {
      const fault = checkRequest(part, judgedLimits(this.#device));
      if (fault !== null) this.faults.push(`request at sector ${part.sector}: ${fault}`);
      table.status[slotOf(part.tag)] = fails ? MEDIUM_ERROR : 0;
      table.bytesDone[slotOf(part.tag)] = fails ? 0 : part.bytes;
      this.#done.push(part.tag);
    }
  }

  reap(tags: Uint32Array, max: number): number {
    const table = this.#table;
    assert(table !== null, 'recording engine: not attached');
    const done = this.#done.splice(0, max);
    done.forEach((tag, i) => {
      const { sector, bytes } = table.get(tag);
      const isGood = table.status[slotOf(tag)] === 0;
      this.#trace.complete(sector, bytes, isGood ? STATUS_OK : STATUS_MEDIUM);
      tags[i] = tag;
    });
    return done.length;
  }

  cancel(tag: number): number {
    return this.#done.includes(tag) ? 0 : -Errno.ENOENT;
  }

  arm(wake: () => void): void {
    queueMicrotask(wake);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/**
 * A virtual boundary above a page is measured from the first page of a segment (README item 2), so
 * the judge, who looks at physical addresses, can hold requests to a page of it only.
 */
function judgedLimits(device: RecordedDevice): RecordedDevice['limits'] {
  const { limits } = device;
  return { ...limits, virt_boundary_mask: limits.virt_boundary_mask & 0xfff };
}
