import { assert } from '../../base/assert.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { BioPool } from '../../bio/bio-pool.ts';
import { IovIter, IterDirection } from '../../iter/iov-iter.ts';
import { Iovec } from '../../iter/iovec.ts';
import type { Profile } from '../../limits/profile.ts';
import { Arena } from '../../memory/arena.ts';
import { BlockQueue } from '../../queue/block-queue.ts';
import { RequestTable } from '../../queue/request-table.ts';
import { CaseMemory, framesFor } from './case-memory.ts';
import { CaseTrace } from './case-trace.ts';
import { DirectFile } from './direct-io.ts';
import { type RecordedDevice, recordedDevice } from './recorded-device.ts';
import { RecordingEngine } from './recording-engine.ts';
import { registeredRows } from './registered-buffer.ts';
import type {
  AioCase,
  CaseRecord,
  DeviceRecord,
  FixedCase,
  Outcome,
  ReplayableCase,
  ResultRecord,
  TransferCase,
} from './schema.ts';
import { cutsBelowBlock } from './sub-block-cut.ts';

/** The one flag of preadv2 that the record has. */
const RWF_NOWAIT = 8;
/** Requests under way at once: 64 MiB in single sectors would need more, no case comes near. */
const DEPTH = 16384;
/** Bios under way at once, beside the fronts of splits. */
const BIOS = 2048;
const BIO_ROWS = 128 * 1024;

/** What this library makes of a case. */
export interface Replayed extends Outcome {
  /** The limits leave less than a block at a front: a fact of the input. */
  readonly cutsBelowBlock: boolean;
  /** What an independent judge has against the requests. */
  readonly faults: readonly string[];
}

/** Runs recorded cases through iterator, gather, split, plug, merge and an engine that records. */
export class Replayer {
  readonly #arena: Arena;
  readonly #table = new RequestTable(DEPTH);
  readonly #splitPool = new BioPool({ bios: DEPTH, rows: 1 });
  readonly #bios = new BioPool({ bios: BIOS, rows: BIO_ROWS });

  /** `cases`: those that may be asked for; the page frames are sized for them. */
  constructor(cases: readonly CaseRecord[]) {
    const maxBytes = framesFor(cases) * PAGE_BYTES;
    this.#arena = new Arena({ label: 'oracle', maxBytes, places: false });
  }

  run(one: ReplayableCase, record: DeviceRecord, profile: Profile): Replayed {
    const device = recordedDevice(record, profile);
    using memory = new CaseMemory(this.#arena);
    const trace = new CaseTrace(this.#arena.region.firstPage);
    const engine = new RecordingEngine(device, trace, DEPTH);
    engine.attach(this.#table);
    const queue = new BlockQueue({
      limits: device.limits,
      profile: profileBehind(device, profile),
      table: this.#table,
      sink: engine,
      splitPool: this.#splitPool,
    });
    queue.probe = trace;
    let isCutBelow = false;
    const file = new DirectFile({
      queue,
      engine,
      table: this.#table,
      bios: this.#bios,
      profile,
      onBio: (bio) => {
        isCutBelow ||= cutsBelowBlock(bio, device.limits);
      },
    });
    const result = resultOf(one, file, memory, profile);
    assert(this.#bios.busyCount === 0 && this.#splitPool.busyCount === 0, 'replay: bios leaked');
    assert(this.#table.busyCount === 0, 'replay: requests leaked');
    this.#arena.assertNothingOutstanding({ buffers: false });
    const { bios, events, requests } = trace;
    return { result, bios, events, requests, cutsBelowBlock: isCutBelow, faults: engine.faults };
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
  }
}

/** Linux hands a plug to a scheduler in order; only the direct way to a driver turns it round. */
function profileBehind(device: RecordedDevice, profile: Profile): Profile {
  return device.scheduler === 'none' ? profile : { ...profile, plugOrder: 'fifo' };
}

function resultOf(
  one: ReplayableCase,
  file: DirectFile,
  memory: CaseMemory,
  profile: Profile,
): ResultRecord {
  switch (one.op) {
    case 'aio':
      return aioResult(one, file, memory);
    case 'fixed':
      return fixedResult(one, file, memory, profile);
    case 'read':
    case 'write':
      return transferResult(one, file, memory);
  }
}

function transferResult(one: TransferCase, file: DirectFile, memory: CaseMemory): ResultRecord {
  const iter = new IovIter();
  const imported = importUser(iter, one.op, one.iov, memory);
  const nowait = (one.rwf & RWF_NOWAIT) !== 0;
  const bytes = imported < 0 ? imported : file.transfer(iter, one.fileOffset, nowait);
  return bytes < 0 ? { ret: -1, errno: -bytes } : { ret: bytes, errno: 0 };
}

function aioResult(one: AioCase, file: DirectFile, memory: CaseMemory): ResultRecord {
  const iocbs = one.submits.map((submit) => {
    const iter = new IovIter();
    const imported = importUser(iter, submit.op, submit.iov, memory);
    assert(imported >= 0, 'replay: an iocb with vectors that no program can have');
    return { iter, position: submit.fileOffset };
  });
  const results = file.submitAll(iocbs);
  return { ret: iocbs.length, errno: 0, results };
}

function fixedResult(
  one: FixedCase,
  file: DirectFile,
  memory: CaseMemory,
  profile: Profile,
): ResultRecord {
  const [buffer] = one.iov;
  const pages = memory.claimPages(buffer);
  const { table, rows } = registeredRows(pages, buffer.offset, buffer.length, profile);
  const iter = new IovIter();
  const count = one.bufferOffset + one.length;
  iter.initBvec(directionOf(one.write ? 'write' : 'read'), table, 0, rows, 0, count);
  iter.advance(one.bufferOffset);
  return { res: file.transferFixed(iter, one.fileOffset) };
}

/** Arms `iter` with `vectors`: bytes, or the errno with which a system call refuses them. */
function importUser(
  iter: IovIter,
  op: 'read' | 'write',
  vectors: TransferCase['iov'],
  memory: CaseMemory,
): number {
  const iovec = new Iovec();
  const bytes = memory.mapVectors(vectors, iovec);
  if (bytes >= 0) iter.initUser(directionOf(op), memory.space, iovec);
  return bytes;
}

function directionOf(op: 'read' | 'write'): IterDirection {
  return op === 'read' ? IterDirection.DEST : IterDirection.SOURCE;
}
