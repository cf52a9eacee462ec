import { assert } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import { Errno } from '../base/errno.ts';
import { Fifo } from '../base/fifo.ts';
import type { Probe } from '../base/probe.ts';
import type { Bio } from '../bio/bio.ts';
import type { BioOp } from '../bio/bio-op.ts';
import { BioPool } from '../bio/bio-pool.ts';
import type { Engine } from '../engine/contract.ts';
import type { IovIter } from '../iter/iov-iter.ts';
import type { Limits } from '../limits/limits.ts';
import { DEFAULT_PROFILE, type Profile } from '../limits/profile.ts';
import { BounceReserve } from '../map/bounce-reserve.ts';
import type { MapContext } from '../map/map-context.ts';
import { MapCounters } from '../map/map-counters.ts';
import type { MetaContext } from '../map/metadata/meta-context.ts';
import type { MetadataWish } from '../map/metadata/meta-mapping.ts';
import { Piece } from '../map/piece.ts';
import type { CopyPolicy } from '../map/verdict.ts';
import { Arena } from '../memory/arena.ts';
import { type HoldSource, removeHoldSource } from '../memory/hold-source.ts';
import { BlockQueue } from '../queue/block-queue.ts';
import type { IntegrityStage } from '../queue/integrity-stage.ts';
import { RequestTable } from '../queue/request-table.ts';
import { drain } from './complete.ts';
import { openIntegrity } from './device-integrity.ts';
import { openMetadata } from './device-metadata.ts';
import { type LiveHold, liveHolds } from './live-holds.ts';
import { RangeLocks } from './range-locks.ts';
import { advanceTransfer, startGranted, startTransfer } from './submit.ts';
import { Transfer, type TransferEnd, TransferState } from './transfer.ts';

export interface DeviceOptions {
  readonly engine: Engine;
  /** Where bounce pages come from. Default: the process's shared arena. */
  readonly arena?: Arena | undefined;
  readonly profile?: Profile | undefined;
  /** Instead of the engine's: for trying limits out. They must be at least as strict. */
  readonly limits?: Limits | undefined;
  /** Bios of transfers in flight. Default 256. */
  readonly bios?: number | undefined;
  /** Fronts of splits in flight. Default 1024. */
  readonly splits?: number | undefined;
  /** Payloads in flight, where the engine keeps metadata. Default 256. */
  readonly payloads?: number | undefined;
  /** Runs a function later, from the loop. Default: a microtask. */
  readonly defer?: ((run: () => void) => void) | undefined;
  /** Monotonic, for `holds`: the environment's clock. Default: none, and all begin at 0. */
  readonly nowNs?: (() => number) | undefined;
}

export interface TransferOptions {
  readonly copy?: CopyPolicy | undefined;
  /** The bytes are on the medium when the write completes. */
  readonly fua?: boolean | undefined;
  readonly noWait?: boolean | undefined;
  readonly traceId?: number | undefined;
  /** Reads and writes of whole blocks, where the engine keeps metadata. */
  readonly metadata?: MetadataWish | undefined;
}

/** Segment rows a bio needs on average: transfers of scattered memory are rare. */
const ROWS_PER_BIO = 64;

/**
 * The path from a bio or a transfer to an engine and back. `submit.ts` and `complete.ts` are its
 * two directions, one call a layer.
 *
 * Low level: fill bios from `bios`, `submitBio`, `poll`. Above it: `transfer`, which maps or
 * copies any memory. Nothing here throws for a failed transfer: results are bytes or -errno.
 */
export class BlockDevice implements HoldSource {
  readonly engine: Engine;
  readonly limits: Limits;
  readonly profile: Profile;
  readonly arena: Arena;
  readonly bios: BioPool;
  readonly queue: BlockQueue;
  /** null: the engine keeps no metadata. */
  readonly integrity: IntegrityStage | null = null;
  /** What it has for the metadata of programs; null like `integrity`. */
  readonly metadata: MetaContext | null;
  readonly requests: RequestTable;
  readonly counters = new MapCounters();
  readonly context: MapContext;
  readonly locks = new RangeLocks<Transfer>();
  /** Transfers that wait for a bio, a page or a tag, in order. */
  readonly waiting = new Fifo<Transfer>();
  /** Transfers that waited for a page of the program, which may be there now. */
  readonly woken: Transfer[] = [];
  /** Transfers that wait for a page with nothing in flight: they give their range back. */
  readonly leaving: Transfer[] = [];
  /** Transfers whose last bio is gone: the loop ends them. */
  readonly ended = new Fifo<Transfer>();
  /** What the engine completed last, and how far the loop has come with it. */
  readonly reaped: Uint32Array;
  reapedAt = 0;
  reapedCount = 0;
  transfersActive = 0;
  /** The engine will call when it has something. */
  isArmed = false;
  /** A turn is on its way that needs no completion of the engine. */
  isDeferred = false;
  isDraining = false;
  readonly #splits: BioPool;
  /** All there are, in use or not. */
  readonly #pieces: Piece[] = [];
  readonly #freeTransfers: Transfer[] = [];
  readonly #freePieces: Piece[] = [];
  readonly #reserve: BounceReserve;
  readonly #defer: (run: () => void) => void;
  #closing: Promise<void> | null = null;
  #onIdle: (() => void) | null = null;
  #nextTrace = 1;
  #nextId = 1;
  readonly #nowNs: (() => number) | null;

  constructor(options: DeviceOptions) {
    const { engine } = options;
    this.engine = engine;
    this.limits = options.limits ?? engine.info.limits;
    this.profile = options.profile ?? DEFAULT_PROFILE;
    this.arena = options.arena ?? Arena.shared();
    this.#defer = options.defer ?? ((run) => queueMicrotask(run));
    this.#nowNs = options.nowNs ?? null;
    this.#reserve = new BounceReserve(this.arena, this.limits);
    const bios = options.bios ?? 256;
    try {
      this.integrity = openIntegrity(this, options);
      this.metadata = openMetadata(this, bios);
    } catch (error) {
      this.#reserve.release();
      this.integrity?.close();
      throw error;
    }
    const splits = options.splits ?? 1024;
    this.bios = new BioPool({ bios, rows: bios * ROWS_PER_BIO });
    this.#splits = new BioPool({ bios: splits, rows: 0 });
    this.requests = new RequestTable(engine.info.depth);
    this.reaped = new Uint32Array(engine.info.depth);
    engine.attach(this.requests);
    this.queue = new BlockQueue({
      integrity: this.integrity ?? undefined,
      limits: this.limits,
      profile: this.profile,
      table: this.requests,
      sink: engine,
      splitPool: this.#splits,
      sizeBytes: engine.info.fixedSize ? () => engine.sizeBytes() : undefined,
    });
    this.context = {
      limits: this.limits,
      profile: this.profile,
      arena: this.arena,
      reserve: this.#reserve,
      counters: this.counters,
      blockBytes: engine.info.byteGranular ? 1 : this.limits.logical_block_size,
    };
  }

  set probe(probe: Probe | null) {
    this.queue.probe = probe;
    if (this.integrity !== null) this.integrity.probe = probe;
  }

  get probe(): Probe | null {
    return this.queue.probe;
  }

  get isClosed(): boolean {
    return this.#closing !== null;
  }

  /** Low level: takes the bio over until its endIo, which `poll` or the loop runs. */
  submitBio(bio: Bio): void {
    this.queue.submitBio(bio);
    this.arm();
  }

  /** Runs what has completed now, at most `max` requests. Returns how many. */
  poll(max = this.reaped.length): number {
    return drain(this, max);
  }

  /** Makes the loop call `poll` when there is something to do, once. */
  arm(): void {
    if (!this.isDeferred && this.#hasWork()) {
      this.isDeferred = true; // Beside the engine's call: that one may be a slow request away.
      this.#defer(this.#turn);
    }
    if (!this.isArmed && this.queue.inFlight > 0) {
      this.isArmed = true;
      this.engine.arm(this.#wake);
    }
  }

  /** Something to do without any completion. */
  #hasWork(): boolean {
    if (this.ended.length > 0 || this.queue.hasFailed) return true;
    if (this.reapedAt < this.reapedCount) return true;
    return this.woken.length > 0 || this.leaving.length > 0;
  }

  readonly #wake = (): void => {
    this.isArmed = false;
    drain(this, this.reaped.length);
  };

  readonly #turn = (): void => {
    this.isDeferred = false;
    drain(this, this.reaped.length);
  };

  /**
   * Starts a read or write of `iter.count` bytes at `position`, or a flush, discard or
   * write-zeroes of `bytes`. `onEnd` runs later, never from inside this call.
   * Returns the transfer (for `cancel`).
   */
  transfer(
    op: BioOp,
    position: number,
    iter: IovIter | null,
    bytes: number,
    options: TransferOptions,
    onEnd: TransferEnd,
  ): Transfer {
    assert(this.#closing === null, 'device: used after close');
    const transfer = this.#freeTransfers.pop() ?? new Transfer(this);
    assert(transfer.state === TransferState.IDLE, 'device: a free transfer is active');
    transfer.state = TransferState.ACTIVE;
    transfer.op = op;
    transfer.position = position;
    transfer.bytes = bytes;
    transfer.sent = 0;
    transfer.bios = 0;
    transfer.stop = 0;
    transfer.fua = options.fua ?? false;
    transfer.noWait = options.noWait ?? false;
    transfer.metadata = options.metadata ?? null;
    transfer.id = this.#nextId++;
    transfer.traceId = options.traceId ?? this.#nextTrace++;
    transfer.startNs = this.#nowNs === null ? 0 : this.#nowNs();
    transfer.onEnd = onEnd;
    this.transfersActive++;
    startTransfer(this, transfer, iter, options.copy ?? 'auto');
    return transfer;
  }

  /**
   * Ends `transfer` with -ECANCELED: no more bios go out, and the end comes after the device has
   * let go of the memory of those that did. Pre: its `onEnd` has not run.
   */
  cancel(transfer: Transfer): void {
    if (transfer.state !== TransferState.ACTIVE && transfer.state !== TransferState.DRAINING)
      return;
    if (transfer.stop === 0) transfer.stop = -Errno.ECANCELED;
    if (transfer.isWaiting) this.waiting.remove(transfer);
    transfer.isWaiting = false;
    if (transfer.waitsForRange) this.locks.forget(transfer, startGranted);
    transfer.waitsForRange = false;
    advanceTransfer(this, transfer);
  }

  takePiece(): Piece {
    const free = this.#freePieces.pop();
    if (free !== undefined) return free;
    const piece = new Piece();
    this.#pieces.push(piece);
    return piece;
  }

  givePiece(piece: Piece): void {
    piece.owner = null;
    piece.bio = null;
    this.#freePieces.push(piece);
  }

  giveTransfer(transfer: Transfer): void {
    transfer.onEnd = null;
    transfer.owner = null;
    transfer.mapping.reset();
    transfer.fault = null;
    transfer.metadata = null;
    this.transfersActive--;
    this.#freeTransfers.push(transfer);
    if (this.transfersActive === 0 && this.#onIdle !== null) this.#onIdle();
  }

  /** In reports of holds. */
  get name(): string {
    return `device ${this.engine.info.target}`;
  }

  /**
   * Every page range that a transfer of this device holds now, by whom and since when; derived
   * from what is live, so it costs nothing until it is asked for. Borrowed rows are no holds, and
   * bios of `submitBio` are their submitter's to tell.
   */
  holds(): Iterable<LiveHold> {
    return liveHolds(this.#pieces);
  }

  /** Throws ERR_BIOVEC_LEAK unless everything that was acquired was given back. */
  assertNothingOutstanding(): void {
    const counts: readonly (readonly [string, number])[] = [
      ['transfers', this.transfersActive],
      ['requests', this.requests.busyCount],
      ['bios', this.bios.busyCount],
      ['split bios', this.#splits.busyCount],
      ['segment rows', this.bios.runs.rowsUsed],
      ['pinned pages', this.counters.pagesHeld],
      ['bounce pages', this.counters.bouncePages],
      ['payloads', this.integrity?.busyCount ?? 0],
      ['holds on metadata', this.metadata?.busyCount ?? 0],
    ];
    const left = counts.filter(([, count]) => count !== 0);
    if (left.length === 0 && this.locks.isIdle) return;
    const list = left.map(([name, count]) => `${count} ${name}`).join(', ') || 'a range lock';
    const device = this.engine.info.target;
    throw new BlockError('ERR_BIOVEC_LEAK', { reason: `the device still has ${list}`, device });
  }

  /** Waits until everything in flight has ended, then closes the engine. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.transfersActive > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    try {
      await this.engine.close();
    } finally {
      removeHoldSource(this);
      this.#reserve.release();
      this.integrity?.close();
      this.metadata?.close();
    }
  }
}
