import { MIB, PAGE_BYTES, roundDown } from '../../base/units.ts';
import type { DiskStats } from '../../device/disk-stats.ts';
import { Arena } from '../../memory/arena.ts';
import type { ArenaBuffer } from '../../memory/arena-buffer.ts';
import type { Target } from '../../targets/target.ts';
import { ChunkDigests } from './chunk-digests.ts';
import { allData, type Chunk, planCopy, planStream } from './copy-plan.ts';
import { type CopySink, type CopySource, knowsHoles, type SparsePolicy } from './endpoint.ts';
import { type EndpointOptions, openSink, openSource } from './open-endpoints.ts';
import { Pump, type PumpResult, shrunk } from './pump.ts';
import { StreamSink } from './stream-sink.ts';
import type { TraceFile } from './trace-file.ts';
import { Verifier } from './verify.ts';

export interface CopyOptions {
  readonly requestBytes: number;
  readonly requests: number;
  readonly direct: boolean;
  readonly sparse: SparsePolicy;
  readonly flush: boolean;
  readonly verify: boolean;
  /** Keep tuples beside the destination. */
  readonly protect: boolean;
  /** Where; null: beside it, by the same name and `.pi`. */
  readonly store: string | null;
  /** null: what happens is not written down. */
  readonly trace: TraceFile | null;
}

export type CopyPhase = 'copy' | 'generate' | 'flush' | 'verify';

/** Where a job tells how it gets on. */
export interface CopyWatcher {
  /** `total`: bytes; null where nobody knows. */
  start(phase: CopyPhase, total: number | null): void;
  advance(bytes: number): void;
}

/** How holes were found: those of the source, blocks of zeros, both, or not looked for. */
export type HolesBy = 'extents' | 'zeros' | 'extents and zeros' | 'none';

export interface CopyReport extends PumpResult {
  /** Bytes that there were to copy; null for a stream that was stopped. */
  readonly size: number | null;
  readonly holesBy: HolesBy;
  /** Why holes are not those of the source, or null. */
  readonly holesNote: string | null;
  /** From the first read to the end of the flush. */
  readonly seconds: number;
  readonly isFlushed: boolean;
  /** null: not asked for, or not come to its end. */
  readonly verifiedBytes: number | null;
  /** Of verifying; 0 without. */
  readonly verifySeconds: number;
  /** null: a stream. */
  readonly sourceStats: DiskStats | null;
  readonly destinationStats: DiskStats | null;
}

/** Bounce pages and scratch, beside the buffers: enough for a request of the largest size twice. */
const SPARE_BYTES = 64 * MIB;
/** Smallest hole that is worth a call: a file takes any block, a device does a command for each. */
const FILE_ZERO_BYTES = PAGE_BYTES;
const DEVICE_ZERO_BYTES = 64 * 1024;

/** One copy from opening to closing. Rejects with BlockError; resolves also after an abort. */
export class CopyJob {
  readonly #options: CopyOptions;
  readonly #signal: AbortSignal;
  readonly #watcher: CopyWatcher;
  readonly #arena: Arena;
  readonly #digests: ChunkDigests | null;
  #advanced = 0;
  #sink: CopySink | null = null;

  constructor(options: CopyOptions, signal: AbortSignal, watcher: CopyWatcher) {
    this.#options = options;
    this.#signal = signal;
    this.#watcher = watcher;
    const bytes = Math.max(options.requests, 2) * options.requestBytes;
    this.#arena = new Arena({ label: 'copy', maxBytes: bytes + SPARE_BYTES, places: false });
    this.#digests = options.verify ? new ChunkDigests() : null;
  }

  /** Bytes of the source that are in the destination so far. */
  get advanced(): number {
    return this.#advanced;
  }

  /** The destination is open: a file was emptied, and is not what it was before. */
  get hasBegun(): boolean {
    return this.#sink !== null;
  }

  /** A write of a stream was given up but goes on: leave by the signal, not by an exit. */
  get isBlocked(): boolean {
    return this.#sink instanceof StreamSink && this.#sink.isBlocked;
  }

  async run(from: Target, to: Target): Promise<CopyReport> {
    const { direct, sparse, trace, protect, store, flush } = this.#options;
    const arena = this.#arena;
    const opening: EndpointOptions = { arena, direct, sparse, protect, store, flush };
    const source = await openSource(from, opening);
    let report: CopyReport;
    try {
      const sink = await openSink(to, source.size, opening);
      this.#sink = sink;
      for (const { disk } of [source, sink]) if (disk !== null) trace?.add(disk.device);
      try {
        report = await this.#withBuffers(source, sink);
      } finally {
        await sink.close();
      }
    } finally {
      await source.close();
    }
    this.#arena.assertNothingOutstanding();
    this.#arena[Symbol.dispose]();
    return report;
  }

  async #withBuffers(source: CopySource, sink: CopySink): Promise<CopyReport> {
    const buffers = this.#makeBuffers();
    try {
      return await this.#copy(source, sink, buffers);
    } finally {
      for (const buffer of buffers) buffer.release();
    }
  }

  async #copy(
    source: CopySource,
    sink: CopySink,
    buffers: readonly ArenaBuffer[],
  ): Promise<CopyReport> {
    const start = performance.now();
    const pumped = await this.#pump(source, sink, buffers);
    const { isComplete } = pumped;
    const size = source.size ?? (isComplete ? pumped.bytes : null);
    if (isComplete) {
      if (pumped.holeBytes > 0) await requireWhole(source, buffers[0], pumped.bytes);
      await this.#finish(sink, pumped.bytes);
    }
    const seconds = (performance.now() - start) / 1000;
    const verify = { isDone: false, seconds: 0 };
    if (isComplete && this.#options.verify && !this.#signal.aborted) {
      verify.isDone = await this.#verify(source, sink, pumped.bytes, buffers);
      verify.seconds = (performance.now() - start) / 1000 - seconds;
    }
    return {
      ...pumped,
      size,
      ...this.#holes(source, sink),
      seconds,
      isFlushed: isComplete && this.#options.flush,
      verifiedBytes: verify.isDone ? pumped.bytes : null,
      verifySeconds: verify.seconds,
      sourceStats: source.disk?.stats() ?? null,
      destinationStats: sink.disk?.stats() ?? null,
    };
  }

  #makeBuffers(): ArenaBuffer[] {
    const { requests, requestBytes, verify } = this.#options;
    const count = verify ? Math.max(requests, 2) : requests;
    return Array.from({ length: count }, (_, i) => this.#arena.alloc(requestBytes, `slot ${i}`));
  }

  #pump(source: CopySource, sink: CopySink, buffers: readonly ArenaBuffer[]): Promise<PumpResult> {
    this.#watcher.start('copy', source.size);
    const pump = new Pump({
      source,
      sink,
      plan: this.#plan(source, sink, source.size),
      buffers: buffers.slice(0, this.#options.requests),
      zeroBytes: this.#zeroBytes(source, sink),
      signal: this.#signal,
      onProgress: (bytes) => {
        this.#advanced += bytes;
        this.#watcher.advance(bytes);
        this.#options.trace?.breathe();
      },
      digests: source.disk === null ? this.#digests : null,
    });
    return pump.run();
  }

  async #finish(sink: CopySink, bytes: number): Promise<void> {
    await sink.finish(bytes);
    if (!this.#options.flush) return;
    this.#watcher.start('flush', null);
    await sink.flush();
  }

  #plan(source: CopySource, sink: CopySink, size: number | null): AsyncGenerator<Chunk> {
    const { requestBytes, sparse } = this.#options;
    if (size === null) return planStream(requestBytes);
    const { disk } = source;
    const keepsHoles = disk !== null && sparse !== 'never' && knowsHoles(disk);
    const alignBytes = Math.min(blockOf(source, sink), requestBytes);
    const extents = keepsHoles ? disk.extents(0, size) : allData(size);
    return planCopy(extents, { size, requestBytes, alignBytes });
  }

  #zeroBytes(source: CopySource, sink: CopySink): number {
    const { sparse } = this.#options;
    if (sparse === 'never' || sink.disk === null) return 0;
    if (sparse === 'auto' && source.disk !== null && knowsHoles(source.disk)) return 0;
    return sink.size === null ? FILE_ZERO_BYTES : DEVICE_ZERO_BYTES;
  }

  #holes(source: CopySource, sink: CopySink): Pick<CopyReport, 'holesBy' | 'holesNote'> {
    const { sparse } = this.#options;
    if (sparse === 'never') return { holesBy: 'none', holesNote: null };
    const isKnown = source.disk !== null && knowsHoles(source.disk);
    if (sink.disk === null) return { holesBy: isKnown ? 'extents' : 'none', holesNote: null };
    if (isKnown) {
      return { holesBy: sparse === 'auto' ? 'extents' : 'extents and zeros', holesNote: null };
    }
    const { disk } = source;
    const ffi = String(disk?.device.engine.info.facts['ffi'] ?? '');
    const holesNote = ffi.startsWith('none')
      ? `without foreign functions (${ffi.slice('none: '.length)})`
      : `${source.name} does not tell where it has holes`;
    return { holesBy: 'zeros', holesNote };
  }

  async #verify(
    source: CopySource,
    sink: CopySink,
    size: number,
    buffers: readonly ArenaBuffer[],
  ): Promise<boolean> {
    if (sink.disk === null) return false;
    this.#watcher.start('verify', size);
    const verifier = new Verifier({
      source,
      destination: sink.disk,
      plan:
        source.disk === null
          ? planCopy(allData(size), {
              size,
              requestBytes: this.#options.requestBytes,
              alignBytes: PAGE_BYTES,
            })
          : this.#plan(source, sink, size),
      buffers,
      digests: source.disk === null ? this.#digests : null,
      signal: this.#signal,
      onProgress: (bytes) => this.#watcher.advance(bytes),
    });
    return await verifier.run();
  }
}

/** Bytes: the larger block of the two, and a page at least. */
function blockOf(source: CopySource, sink: CopySink): number {
  const of = (disk: CopySource['disk']): number => disk?.limits.logical_block_size ?? PAGE_BYTES;
  return Math.max(of(source.disk), of(sink.disk), PAGE_BYTES);
}

/** A source that was cut inside a hole reads as zeros to its old end: its last block tells. */
async function requireWhole(source: CopySource, buffer: ArenaBuffer, end: number): Promise<void> {
  const { disk } = source;
  if (disk === null || end === 0) return;
  const position = roundDown(end - 1, Math.min(disk.limits.logical_block_size, buffer.length));
  const length = end - position;
  const { bytesRead } = await disk.read(buffer.bytes, { position, length });
  if (bytesRead < length) throw shrunk(source, disk.size);
}
