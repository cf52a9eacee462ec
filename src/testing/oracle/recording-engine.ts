import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { slotOf } from '../../base/slots.ts';
import { BIO_OP_NAMES } from '../../bio/bio-op.ts';
import type { Engine, EngineInfo } from '../../engine/contract.ts';
import type { RequestTable } from '../../queue/request-table.ts';
import { checkRequest } from '../simulator/request-checker.ts';
import type { CasePayloads } from './case-payloads.ts';
import type { CaseTrace } from './case-trace.ts';
import { DeadlineScheduler, type Parts } from './deadline-scheduler.ts';
import { MEDIUM_ERROR, type RecordedDevice, recordedStatus } from './recorded-device.ts';
import type { RequestRecord } from './schema.ts';

/** blk_status_t. */
const STATUS_OK = 0;
const STATUS_MEDIUM = 7;
const STATUS_PROTECTION = 8;
const STATUS_IOERR = 10;

export interface RecordingOptions {
  readonly device: RecordedDevice;
  readonly trace: CaseTrace;
  readonly depth: number;
  /** The device has metadata. */
  readonly payloads?: CasePayloads | null;
  /** What the recorded device did: its statuses are an input. */
  readonly recorded?: readonly RequestRecord[];
}

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
  readonly #payloads: CasePayloads | null;
  readonly #recorded: readonly RequestRecord[];
  #table: RequestTable | null = null;

  constructor({ device, trace, depth, payloads = null, recorded = [] }: RecordingOptions) {
    this.#device = device;
    this.#trace = trace;
    this.#payloads = payloads;
    this.#recorded = recorded;
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
    const status = this.#statusOf(parts);
    this.#trace.issue(parts, this.#device.limits, statusNumber(status), this.#payloads);
    for (const part of parts) {
      const fault = checkRequest(part, judgedLimits(this.#device));
      if (fault !== null) this.faults.push(`request at sector ${part.sector}: ${fault}`);
      table.status[slotOf(part.tag)] = status;
      table.bytesDone[slotOf(part.tag)] = status < 0 ? 0 : part.bytes;
      this.#done.push(part.tag);
    }
  }

  /** 0 or -errno. */
  #statusOf(parts: Parts): number {
    const [{ op, sector }] = parts;
    const { failSector, hasOwnStatus } = this.#device;
    if (hasOwnStatus) return recordedStatus(this.#recorded, BIO_OP_NAMES[op], sector);
    const last = parts[parts.length - 1];
    const fails = failSector >= sector && failSector < last.sector + last.sectors;
    return fails ? MEDIUM_ERROR : 0;
  }

  reap(tags: Uint32Array, max: number): number {
    const table = this.#table;
    assert(table !== null, 'recording engine: not attached');
    const done = this.#done.splice(0, max);
    done.forEach((tag, i) => {
      const request = table.get(tag);
      const status = table.status[slotOf(tag)];
      this.#trace.complete(request.sector, request.bytes, statusNumber(status));
      if (status === 0) this.#payloads?.complete(request);
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

function statusNumber(error: number): number {
  if (error === 0) return STATUS_OK;
  if (error === MEDIUM_ERROR) return STATUS_MEDIUM;
  return error === -Errno.EILSEQ ? STATUS_PROTECTION : STATUS_IOERR;
}

/**
 * A virtual boundary above a page is measured from the first page of a segment (README item 2), so
 * the judge, who looks at physical addresses, can hold requests to a page of it only.
 */
function judgedLimits(device: RecordedDevice): RecordedDevice['limits'] {
  const { limits } = device;
  return { ...limits, virt_boundary_mask: limits.virt_boundary_mask & 0xfff };
}
