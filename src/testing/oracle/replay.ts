import { assert } from '../../base/assert.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { BioPool } from '../../bio/bio-pool.ts';
import { SplitPoint, splitPoint } from '../../bio/split-point.ts';
import { BioIntegrityPool } from '../../integrity/bio-integrity-pool.ts';
import { IovIter } from '../../iter/iov-iter.ts';
import type { Limits } from '../../limits/limits.ts';
import type { Profile } from '../../limits/profile.ts';
import { Arena } from '../../memory/arena.ts';
import { BlockQueue } from '../../queue/block-queue.ts';
import { IntegrityStage } from '../../queue/integrity-stage.ts';
import { RequestTable } from '../../queue/request-table.ts';
import { CaseMemory, framesFor } from './case-memory.ts';
import { CasePayloads } from './case-payloads.ts';
import { CaseProgram, directionOf, knownData } from './case-program.ts';
import { CaseTrace } from './case-trace.ts';
import { DirectFile } from './direct-io.ts';
import { type RecordedDevice, recordedDevice } from './recorded-device.ts';
import { recordedIntegrity } from './recorded-integrity.ts';
import type { RecordedStore } from './recorded-store.ts';
import { RecordingEngine } from './recording-engine.ts';
import { registeredRows } from './registered-buffer.ts';
import type {
  AioCase,
  DeviceRecord,
  FixedCase,
  Outcome,
  RecordFile,
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
/** A recorded case has a few requests at once, each with one piece of metadata. */
const STAGE_PAYLOADS = 64;
const STAGE_BYTES = 16 * 2 ** 20;
/** Metadata of a bio is one buffer. */
const PAYLOAD_ROWS = 2 * BIOS;

/** What this library makes of a case. */
export interface Replayed extends Outcome {
  /** The limits leave less than a block at a front: a fact of the input. */
  readonly cutsBelowBlock: boolean;
  /** A read whose data nobody knows: its guards were not compared. */
  readonly isPartial: boolean;
  /** What an independent judge has against the requests. */
  readonly faults: readonly string[];
}

/** Runs recorded cases through iterator, gather, split, plug, merge and an engine that records. */
export class Replayer {
  readonly #arena: Arena;
  readonly #table = new RequestTable(DEPTH);
  readonly #splitPool = new BioPool({ bios: DEPTH, rows: 1 });
  readonly #bios = new BioPool({ bios: BIOS, rows: BIO_ROWS });

  readonly #payloads = new BioIntegrityPool({ payloads: BIOS, rows: PAYLOAD_ROWS });
  /** Where a stage has its metadata. */
  readonly #own = new Arena({ label: 'oracle metadata', maxBytes: STAGE_BYTES, places: false });
  readonly #kernel: string;
  readonly #store: RecordedStore;

  /**
   * `cases`: those that may be asked for; the page frames are sized for them. `store`: what earlier
   * cases of the file have written.
   */
  constructor({ cases, kernel }: Pick<RecordFile, 'cases' | 'kernel'>, store: RecordedStore) {
    const maxBytes = framesFor(cases) * PAGE_BYTES;
    this.#arena = new Arena({ label: 'oracle', maxBytes, places: false });
    this.#kernel = kernel;
    this.#store = store;
  }

  /**
   * `way`: 'kernel' does with metadata what a kernel does, where it does it; with 'stage' the queue
   * has the stage for metadata that it has in this library.
   */
  run(
    one: ReplayableCase,
    record: DeviceRecord,
    profile: Profile,
    way: 'kernel' | 'stage' = 'kernel',
  ): Replayed {
    const device = recordedDevice(record, profile);
    using memory = new CaseMemory(this.#arena);
    using payloads = this.#payloadsOf(one, record, profile, way === 'stage');
    const hasStage = payloads !== null && way === 'stage';
    const stage = hasStage ? this.#stage(record, device.limits) : undefined;
    const trace = new CaseTrace(this.#arena.region.firstPage);
    const recorded = one.requests ?? [];
    const engine = new RecordingEngine({ device, trace, depth: DEPTH, payloads, recorded });
    engine.attach(this.#table);
    const queue = new BlockQueue({
      limits: device.limits,
      profile: profileBehind(device, profile),
      table: this.#table,
      sink: engine,
      splitPool: this.#splitPool,
      integrity: stage,
    });
    queue.probe = trace;
    let isCutBelow = false;
    const point = new SplitPoint();
    const file = new DirectFile({
      queue,
      engine,
      table: this.#table,
      bios: this.#bios,
      profile,
      onBio: (bio) => {
        isCutBelow ||= cutsBelowBlock(bio, device.limits);
        splitPoint(bio, device.limits, point);
        // A bio that is split gets metadata part by part, when they are issued: they do not merge.
        if (point.bytes === 0 && !hasStage) payloads?.attach(bio);
      },
    });
    const result = resultOf(one, file, new CaseProgram(one, memory), profile);
    const outside = stage === undefined ? 0 : stage.busyCount;
    assert(this.#payloads.busyCount + outside === 0, 'replay: metadata leaked');
    stage?.close();
    assert(this.#bios.busyCount === 0 && this.#splitPool.busyCount === 0, 'replay: bios leaked');
    assert(this.#table.busyCount === 0, 'replay: requests leaked');
    this.#arena.assertNothingOutstanding({ buffers: false });
    const { bios, events, requests } = trace;
    const { faults } = engine;
    const isPartial = payloads?.isPartial === true;
    return { result, bios, events, requests, cutsBelowBlock: isCutBelow, isPartial, faults };
  }

  /** null: the kernel knows of no metadata there. */
  #payloadsOf(
    one: ReplayableCase,
    record: DeviceRecord,
    profile: Profile,
    hasStage: boolean,
  ): CasePayloads | null {
    const integrity = recordedIntegrity(record, this.#kernel);
    if (integrity.profile.metadata_size === 0) return null;
    return new CasePayloads({
      one,
      integrity,
      count: profile.metadataCount,
      arena: this.#arena,
      pool: this.#payloads,
      store: this.#store,
      hasStage,
      data: one.op === 'read' ? knownData(one) : null,
    });
  }

  #stage(record: DeviceRecord, limits: Limits): IntegrityStage {
    const { profile } = recordedIntegrity(record, this.#kernel);
    return new IntegrityStage({ profile, limits, arena: this.#own, payloads: STAGE_PAYLOADS });
  }

  [Symbol.dispose](): void {
    this.#arena[Symbol.dispose]();
    this.#own[Symbol.dispose]();
  }
}

/** Linux hands a plug to a scheduler in order; only the direct way to a driver turns it round. */
function profileBehind(device: RecordedDevice, profile: Profile): Profile {
  return device.scheduler === 'none' ? profile : { ...profile, plugOrder: 'fifo' };
}

function resultOf(
  one: ReplayableCase,
  file: DirectFile,
  program: CaseProgram,
  profile: Profile,
): ResultRecord {
  switch (one.op) {
    case 'aio':
      return aioResult(one, file, program);
    case 'fixed':
      return fixedResult(one, file, program, profile);
    case 'read':
    case 'write':
      return transferResult(one, file, program);
  }
}

function transferResult(one: TransferCase, file: DirectFile, program: CaseProgram): ResultRecord {
  const iter = new IovIter();
  const imported = program.importUser(iter, one.op, one.iov);
  const nowait = (one.rwf & RWF_NOWAIT) !== 0;
  const bytes = imported < 0 ? imported : file.transfer(iter, one.fileOffset, nowait);
  return bytes < 0 ? { ret: -1, errno: -bytes } : { ret: bytes, errno: 0 };
}

function aioResult(one: AioCase, file: DirectFile, program: CaseProgram): ResultRecord {
  const iocbs = one.submits.map((submit) => {
    const iter = new IovIter();
    const imported = program.importUser(iter, submit.op, submit.iov);
    assert(imported >= 0, 'replay: an iocb with vectors that no program can have');
    return { iter, position: submit.fileOffset };
  });
  const results = file.submitAll(iocbs);
  return { ret: iocbs.length, errno: 0, results };
}

function fixedResult(
  one: FixedCase,
  file: DirectFile,
  program: CaseProgram,
  profile: Profile,
): ResultRecord {
  const [buffer] = one.iov;
  const pages = program.memory.claimPages(buffer);
  const { table, rows } = registeredRows(pages, buffer.offset, buffer.length, profile);
  const iter = new IovIter();
  const count = one.bufferOffset + one.length;
  iter.initBvec(directionOf(one.write ? 'write' : 'read'), table, 0, rows, 0, count);
  iter.advance(one.bufferOffset);
  return { res: file.transferFixed(iter, one.fileOffset) };
}
