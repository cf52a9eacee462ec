import { PAGE_BYTES } from '../../../base/units.ts';
import { BioOp } from '../../../bio/bio-op.ts';
import type { BlockDevice } from '../../../device/block-device.ts';
import type { SeededRandom } from '../seeded-random.ts';
import type { AreaPiece, SimMemory } from '../sim-memory.ts';
import { fillPattern } from '../sim-op.ts';
import { AreaMemory, type OpMemory, ProcessMemory } from './op-memory.ts';
import { TupleCheck } from './tuple-format.ts';
import type { TupleModel } from './tuple-model.ts';
import { type OpMetadata, TupleOp } from './tuple-op.ts';
import type { TupleProcesses } from './tuple-processes.ts';

const SMALL_PIECES = [1, 1, 1, 2, 3, 4, 8] as const;
/** Seeds far from any block: where 32 and 48 bits end, and the largest numbers. */
const FAR_SEEDS = [0, 2 ** 32 - 3, 2 ** 32 + 5, 2 ** 48 - 2, 2 ** 53 - 4096] as const;

export interface StartsOptions {
  readonly device: BlockDevice;
  readonly memory: SimMemory;
  readonly processes: TupleProcesses;
  readonly model: TupleModel;
  readonly random: SeededRandom;
}

/** Where an operation may go: a start at which it disturbs nothing in flight, or -1. */
export type FindPlace = (op: BioOp, bytes: number, unit: number, beyond: boolean) => number;

/** Makes random operations: their memory, their place, and what they bring beside their data. */
export class TupleStarts {
  readonly #device: BlockDevice;
  readonly #memory: SimMemory;
  readonly #processes: TupleProcesses;
  readonly #model: TupleModel;
  readonly #random: SeededRandom;

  constructor(options: StartsOptions) {
    this.#device = options.device;
    this.#memory = options.memory;
    this.#processes = options.processes;
    this.#model = options.model;
    this.#random = options.random;
  }

  get #block(): number {
    return this.#device.limits.logical_block_size;
  }

  /** Discard and write zeroes name a range only; a flush not even that. */
  range(op: BioOp, find: FindPlace): TupleOp | null {
    const blockBytes = this.#block;
    const rest = { op, way: 'bio', data: null, blockBytes } as const;
    if (op === BioOp.FLUSH) return new TupleOp({ ...rest, start: 0, bytes: 0 });
    const bytes = this.#random.between(1, Math.ceil(32768 / blockBytes)) * blockBytes;
    const start = find(op, bytes, blockBytes, false);
    return start < 0 ? null : new TupleOp({ ...rest, start, bytes });
  }

  /** A bio without metadata, with segments in pages of the arena. */
  bio(op: BioOp, find: FindPlace): TupleOp | null {
    const random = this.#random;
    const { limits } = this.#device;
    const blockBytes = this.#block;
    const align = limits.dma_alignment + 1;
    const whole = Math.max(blockBytes, align);
    const isRagged = random.chance(0.25);
    const fine = align === 1 ? random.pick([1, 4, 256]) : align;
    const data = this.#areas(isRagged ? fine : whole, whole, false);
    if (data === null) return null;
    const start = find(op, data.bytes, blockBytes, random.chance(0.04));
    const { bytes } = data;
    return this.#built({ op, way: 'bio', start, bytes, data, isRagged, blockBytes });
  }

  /** Any memory at any place, or, with metadata of the program, whole blocks. */
  transfer(op: BioOp, isOwn: boolean, find: FindPlace): TupleOp | null {
    const random = this.#random;
    const blockBytes = this.#block;
    const unit = isOwn ? blockBytes : random.pick([1, 4, 512, blockBytes, blockBytes]);
    const data = this.#any(isOwn ? random.pick([4, 512, blockBytes]) : unit, unit);
    if (data === null) return null;
    const start = find(op, data.bytes, unit, false);
    const copy = random.chance(0.15) ? 'always' : 'auto';
    const rest = { op, way: 'transfer', start, bytes: data.bytes, data, copy, blockBytes } as const;
    if (!isOwn || start < 0) return this.#built(rest);
    const bytes = this.#model.format.intervals(data.bytes) * this.#model.format.metadataBytes;
    const memory = bytes === 0 ? null : this.#exactly(bytes);
    if (memory === null) {
      data.give();
      return null;
    }
    return this.#built({ ...rest, metadata: this.#metadata(op, start, data, memory) });
  }

  /** As `transfer` with metadata, for bios of a submitter that brings its own payloads. */
  stacked(op: BioOp, find: FindPlace): TupleOp | null {
    const random = this.#random;
    const { limits } = this.#device;
    const blockBytes = this.#block;
    const align = limits.dma_alignment + 1;
    const whole = Math.max(blockBytes, align);
    const data = this.#areas(whole, whole, false);
    if (data === null) return null;
    const { format } = this.#model;
    const bytes = format.intervals(data.bytes) * format.metadataBytes;
    const start = bytes > PAGE_BYTES ? -1 : find(op, data.bytes, blockBytes, false);
    // One range within one page is one segment for any device.
    const places = Math.floor((PAGE_BYTES - bytes) / align) + 1;
    const pieces = start < 0 ? [] : this.#page(random.below(places) * align, bytes);
    const memory = pieces.length === 0 ? null : new AreaMemory(this.#memory, pieces, start + 1);
    if (memory === null) {
      data.give();
      return null;
    }
    const metadata = this.#metadata(op, start, data, memory);
    return this.#built({
      op,
      way: 'stacked',
      start,
      bytes: data.bytes,
      data,
      metadata,
      blockBytes,
    });
  }

  /** Without a place there is no operation. */
  #built(options: ConstructorParameters<typeof TupleOp>[0]): TupleOp | null {
    if (options.start >= 0) return new TupleOp(options);
    options.data?.give();
    return null;
  }

  /** `bytes` of one page of the arena, from `at` on. */
  #page(at: number, bytes: number): AreaPiece[] {
    const wish = { unit: PAGE_BYTES, totalUnit: PAGE_BYTES, pieces: 1, pages: 1, plain: false };
    return this.#memory.take(wish).map(({ area }) => ({ area, at, len: bytes }));
  }

  #areas(unit: number, totalUnit: number, plain: boolean): OpMemory | null {
    const random = this.#random;
    const count = random.chance(0.04) ? 24 : random.pick(SMALL_PIECES);
    const pages = random.chance(0.1) ? 8 : 2;
    const pieces = this.#memory.take({ unit, totalUnit, pieces: count, pages, plain });
    if (pieces.length === 0) return null;
    const memory = new AreaMemory(this.#memory, pieces, random.uint32());
    memory.fill(null);
    return memory;
  }

  #any(unit: number, totalUnit: number): OpMemory | null {
    const random = this.#random;
    if (!random.chance(0.35)) return this.#areas(unit, totalUnit, true);
    const bytes = random.between(1, Math.ceil(20_000 / totalUnit)) * totalUnit;
    return this.#ofProcess(bytes, unit) ?? this.#areas(unit, totalUnit, true);
  }

  #ofProcess(bytes: number, unit: number): OpMemory | null {
    const random = this.#random;
    const taken = this.#processes.take(bytes, random.chance(0.3) ? 4 : unit, random);
    if (taken === null) return null;
    const [made, addr] = taken;
    const memory = new ProcessMemory(this.#processes, made, addr, bytes);
    const contents = new Uint8Array(bytes);
    fillPattern(contents, random.uint32());
    memory.fill(contents);
    return memory;
  }

  /** Exactly so many bytes, anywhere: what metadata needs. */
  #exactly(bytes: number): OpMemory | null {
    const random = this.#random;
    const unit = random.pick([1, 4, 8, 512]);
    if (random.chance(0.5)) return this.#ofProcess(bytes, unit);
    const pages = Math.ceil(bytes / PAGE_BYTES);
    const count = random.pick([1, 1, 2, 3]);
    const plain = random.chance(0.3);
    const wish = { unit, totalUnit: 1, pieces: 2 * count, pages: Math.ceil(pages / count), plain };
    const taken = this.#memory.take(wish);
    const pieces: AreaPiece[] = [];
    let left = bytes;
    for (const piece of taken) {
      const len = Math.min(piece.len, left);
      if (len > 0) pieces.push({ ...piece, len });
      left -= len;
    }
    const used = new Set(left === 0 ? pieces.map(({ area }) => area) : []);
    for (const area of new Set(taken.map((piece) => piece.area))) {
      if (!used.has(area)) this.#memory.give(area);
    }
    return left === 0 ? new AreaMemory(this.#memory, pieces, random.uint32()) : null;
  }

  /** What the program counts from, what it asks for, and records for a write. */
  #metadata(op: BioOp, start: number, data: OpMemory, memory: OpMemory): OpMetadata {
    const random = this.#random;
    const { format } = this.#model;
    const block = Math.floor(start / format.intervalBytes);
    // Seeds beside the block are the ones that a second mapping would change once more.
    const near = [block, block + 1, Math.max(block - 1, 0), block + 3];
    const seed = random.chance(0.3) ? random.pick(FAR_SEEDS) : random.pick(near);
    const { GUARD, REF, APP } = TupleCheck;
    // What the block layer checks too: only then could the two be taken for one kind.
    const own = format.ownChecks;
    const check = random.pick([0, 0, own, own, own, GUARD, REF, APP, GUARD | REF | APP]);
    const appTag = random.pick([0, 0, 0x1234, 0xffff]);
    const metadata = { memory, check, appTag, seed };
    const records = new Uint8Array(memory.bytes);
    fillPattern(records, random.uint32());
    if (op === BioOp.WRITE) this.#makeTuples(records, data, metadata);
    memory.fill(records);
    return metadata;
  }

  /** Mostly right ones; here and there a tag is another, or the tuple an escape. */
  #makeTuples(records: Uint8Array, data: OpMemory, { seed, appTag }: OpMetadata): void {
    const random = this.#random;
    const { format } = this.#model;
    const isSpoiled = random.chance(0.4);
    const { metadataBytes, intervalBytes } = format;
    for (let i = 0; i * metadataBytes < records.length; i++) {
      const at = i * metadataBytes;
      const tags = { app: appTag, ref: format.countsRef ? seed + i : random.below(1000) };
      format.makeWith(data.first, i * intervalBytes, records, at, tags);
      if (!isSpoiled || format.tupleBytes === 0 || !random.chance(0.3)) continue;
      const kind = random.below(4);
      if (kind === 0) records[at + format.prefixBytes] ^= 1 << random.below(8);
      else if (kind === 1) format.putApp(records, at, random.pick([appTag ^ 1, 0xffff]));
      else if (kind === 2) records[at + format.refAt + format.refBytes - 1] ^= 1;
      else records.fill(0xff, at + format.prefixBytes, at + format.prefixBytes + format.tupleBytes);
    }
  }
}
