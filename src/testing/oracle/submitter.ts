import { assert } from '../../base/assert.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { BlockDevice } from '../../device/block-device.ts';
import { IovIter, IterDirection } from '../../iter/iov-iter.ts';
import { Iovec } from '../../iter/iovec.ts';
import type { Profile } from '../../limits/profile.ts';
import { Arena } from '../../memory/arena.ts';
import { CaseMemory, framesFor } from './case-memory.ts';
import { CaseTrace } from './case-trace.ts';
import { recordedDevice } from './recorded-device.ts';
import { RecordingEngine } from './recording-engine.ts';
import type { CaseRecord, DeviceRecord, Outcome, TransferCase } from './schema.ts';

/** Requests at once: the largest recorded fault has 140. */
const DEPTH = 512;
/** Turns of the device's loop without an end: then it never ends. */
const TURNS_MAX = 10_000;
/** Own pages of the device, which faults of aligned memory never need. */
const BOUNCE_BYTES = 4 * 1024 * 1024;

export interface Submitted extends Outcome {
  /** After a short count: the result of asking for the rest. Else null. */
  readonly again: number | null;
}

/**
 * Runs recorded transfers through the library's own submitter: `device/submit.ts` and `map/`
 * instead of the kernel's file operations in `direct-io.ts`, on the same memory and device.
 */
export class SubmitterReplay {
  readonly #pages: Arena;
  readonly #own = new Arena({ label: 'oracle device', maxBytes: BOUNCE_BYTES, places: false });

  /** `cases`: those that may be asked for; the page frames are sized for them. */
  constructor(cases: readonly CaseRecord[]) {
    const maxBytes = framesFor(cases) * PAGE_BYTES;
    this.#pages = new Arena({ label: 'oracle program', maxBytes, places: false });
  }

  async run(one: TransferCase, record: DeviceRecord, profile: Profile): Promise<Submitted> {
    const recorded = recordedDevice(record, profile);
    const trace = new CaseTrace(this.#pages.region.firstPage);
    const engine = new RecordingEngine({ device: recorded, trace, depth: DEPTH });
    const device = new BlockDevice({ engine, arena: this.#own, profile });
    device.probe = trace;
    const outcome = this.#transferAll(one, trace, device);
    await device.close();
    this.#pages.assertNothingOutstanding({ buffers: false });
    return outcome;
  }

  #transferAll(one: TransferCase, trace: CaseTrace, device: BlockDevice): Submitted {
    using memory = new CaseMemory(this.#pages);
    const iter = new IovIter();
    const bytes = importUser(iter, one, memory);
    const ret = bytes < 0 ? bytes : transferBytes(one.op, one.fileOffset, iter, device);
    // What the program asks next is no part of the record.
    const bios = [...trace.bios];
    const events = [...trace.events];
    const requests = [...trace.requests];
    const result = ret < 0 ? { ret: -1, errno: -ret } : { ret, errno: 0 };
    let again: number | null = null;
    if (ret > 0 && ret < bytes) {
      iter.advance(ret);
      again = transferBytes(one.op, one.fileOffset + ret, iter, device);
    }
    device.assertNothingOutstanding();
    return { result, bios, events, requests, again };
  }

  [Symbol.dispose](): void {
    this.#pages[Symbol.dispose]();
    this.#own[Symbol.dispose]();
  }
}

/** Bytes, or the errno with which a system call refuses the vectors. */
function importUser(iter: IovIter, one: TransferCase, memory: CaseMemory): number {
  const iovec = new Iovec();
  const bytes = memory.mapVectors(one.iov, iovec);
  const direction = one.op === 'read' ? IterDirection.DEST : IterDirection.SOURCE;
  if (bytes >= 0) iter.initUser(direction, memory.space, iovec);
  return bytes;
}

/** One transfer to its end. The device works on a copy of `iter`. Bytes or -errno. */
function transferBytes(
  op: TransferCase['op'],
  position: number,
  iter: IovIter,
  device: BlockDevice,
): number {
  let end: number | null = null;
  const onEnd = (_transfer: unknown, result: number): void => {
    end = result;
  };
  const bioOp = op === 'read' ? BioOp.READ : BioOp.WRITE;
  device.transfer(bioOp, position, iter, iter.count, {}, onEnd);
  for (let turn = 0; end === null; turn++) {
    assert(turn < TURNS_MAX, 'submitter: a recorded transfer does not end');
    device.poll();
  }
  return end;
}
