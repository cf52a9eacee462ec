import { AssertionError, assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES, SECTOR_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { releasePages } from '../../bio/bio-add.ts';
import { BIO_OP_NAMES, BioFlag, BioOp, opHasData } from '../../bio/bio-op.ts';
import { BVECS_PER_BIO_MAX } from '../../bvec/bvec-table.ts';
import type { BlockDevice } from '../../device/block-device.ts';
import type { Transfer } from '../../device/transfer.ts';
import { IovIter, IterDirection } from '../../iter/iov-iter.ts';
import { Iovec } from '../../iter/iovec.ts';
import { HoldKind } from '../../memory/holds.ts';
import { holdPiece } from './hold-piece.ts';
import type { SeededRandom } from './seeded-random.ts';
import { type AreaPiece, piecesBytes, type SimMemory } from './sim-memory.ts';
import { firstDifference, SimOp } from './sim-op.ts';
import type { SimWorld } from './sim-world.ts';

/** Errors that the fault plan may cause by itself. */
const INJECTED: readonly number[] = [
  Errno.EIO,
  Errno.ENOSPC,
  Errno.ETIMEDOUT,
  Errno.EREMOTEIO,
  Errno.EAGAIN,
].map((errno) => -errno);
const RANGE_TRIES = 6;
/** Of a hundred bios with data: those that are meant to go over a limit. */
const EDGE_PERCENT = 2;
const EDGE_PIECES_MAX = 200;
const SMALL_PIECES = [1, 1, 1, 2, 3, 4, 8] as const;

/** A bug of the submitter on purpose, to show that somebody notices. */
export type WorkloadMutant = 'leaked-pin' | 'leaked-bio';

/**
 * Random operations against a device, with a model of every byte. It drives the real layers: bios
 * with scattered segments and transfers of any memory, plugs, cancels; it waits when a pool is
 * empty, and judges each operation when it ends.
 */
export class SimWorkload {
  readonly #world: SimWorld;
  readonly #device: BlockDevice;
  readonly #memory: SimMemory;
  readonly #random: SeededRandom;
  readonly #seed: number;
  readonly #model: Uint8Array;
  #zero = new Uint8Array(0);
  readonly #active = new Set<SimOp>();
  #started = 0;
  #plugs = 0;
  #lastStart = 0;
  #lastEnd = 0;

  constructor(world: SimWorld, random: SeededRandom) {
    this.#world = world;
    this.#device = world.device;
    this.#memory = world.memory;
    this.#random = random;
    this.#seed = random.uint32();
    this.#model = world.engine.medium.peek(0, world.engine.medium.sizeBytes);
  }

  /** Operations that were started. */
  get started(): number {
    return this.#started;
  }

  /** One random thing, decided by the seed and `index`: start, plug, cancel, let time pass. */
  step(index: number): void {
    this.#random.reseed(this.#seed, index);
    const choice = this.#random.below(100);
    if (choice < 35 && this.#hasRoom) this.#start();
    else if (choice < 43) this.#burst();
    else if (choice < 53) this.#togglePlug();
    else if (choice < 56) this.#cancelOne();
    else if (!this.#world.clock.step() && this.#active.size > 0) this.#sleep();
  }

  /** Lets everything end. Throws when something never does, or a byte is wrong. */
  finish(): void {
    while (this.#active.size > 0) this.#sleep();
    while (this.#plugs > 0) this.#unplug(false);
    const { medium } = this.#world.engine;
    const wrong = firstDifference(medium.peek(0, medium.sizeBytes), this.#model);
    if (wrong >= 0) this.#fault(`byte ${wrong} of the medium is not that of the model`, null);
    assert(!this.#device.queue.isBlocked, 'sim: bios wait, but nothing is in flight');
  }

  #start(): void {
    const random = this.#random;
    const roll = random.below(100);
    if (roll < 5) this.#startBio(BioOp.FLUSH, [], 0, 0, false);
    else if (roll < 11) this.#startRange(BioOp.WRITE_ZEROES);
    else if (roll < 17) this.#startRange(BioOp.DISCARD);
    else if (random.chance(this.#world.transferShare)) this.#startTransfer();
    else this.#startData(random.chance(0.55) ? BioOp.READ : BioOp.WRITE);
  }

  /** A bio of its own, with segments in page frames. */
  #startData(op: BioOp): void {
    const random = this.#random;
    const { limits } = this.#device;
    const block = limits.logical_block_size;
    const align = limits.dma_alignment + 1;
    const edge = random.below(100);
    const isEdge = edge < EDGE_PERCENT;
    const isRagged = !isEdge && random.chance(0.25);
    const fine = align === 1 ? random.pick([1, 4, 256]) : align;
    const whole = Math.max(block, align);
    // Without gaps: a gap would cut the bio before its segments or its size do.
    const unit = isRagged ? fine : Math.max(whole, isEdge ? limits.virt_boundary_mask + 1 : 1);
    let count: number = random.chance(0.05) ? 40 : random.pick(SMALL_PIECES);
    let pages = random.chance(0.1) ? 32 : 3;
    if (isEdge) {
      // More segments than a request may have, or more bytes; not many requests of a few sectors.
      const isBySegments = edge % 2 === 0;
      const most = Math.ceil((2 * this.#requestBytesMax()) / PAGE_BYTES);
      pages = isBySegments ? 1 : Math.min(most, 32);
      count = isBySegments
        ? limits.max_segments + random.between(1, 4)
        : Math.ceil(most / pages) * 2;
      count = Math.min(count, 2 * most, EDGE_PIECES_MAX);
    }
    const pieces = this.#memory.take({
      unit,
      totalUnit: whole,
      pieces: count,
      pages,
      plain: false,
    });
    const bytes = piecesBytes(pieces);
    const beyond = random.chance(0.04);
    const start = bytes === 0 ? -1 : this.#freeRange(op, bytes, block, beyond);
    if (start < 0) this.#giveUnused(pieces);
    else this.#startBio(op, pieces, start, bytes, isRagged);
  }

  #requestBytesMax(): number {
    const { max_sectors: most, chunk_sectors: chunk } = this.#device.limits;
    return SECTOR_BYTES * (chunk === 0 ? most : Math.min(most, chunk));
  }

  /** Discard and write zeroes name a range only. */
  #startRange(op: BioOp): void {
    const block = this.#device.limits.logical_block_size;
    const bytes = this.#random.between(1, Math.ceil(65536 / block)) * block;
    const start = this.#freeRange(op, bytes, block, false);
    if (start >= 0) this.#startBio(op, [], start, bytes, false);
  }

  #startBio(
    op: BioOp,
    pieces: readonly AreaPiece[],
    start: number,
    bytes: number,
    isRagged: boolean,
  ): void {
    const vecs = Math.min(pieces.length, BVECS_PER_BIO_MAX);
    const bio = this.#device.bios.acquire(op, start / SECTOR_BYTES, vecs);
    if (bio === null) {
      this.#giveUnused(pieces);
      this.#sleep(); // Back-pressure: a completion will bring one.
      return;
    }
    const salt = this.#started++;
    const sim = new SimOp({ op, start, bytes, pieces, isRagged, isTransfer: false, salt });
    for (const { area, at, len } of pieces) {
      const hold = this.#random.pick([HoldKind.PINNED, HoldKind.REFERENCED, HoldKind.BORROWED]);
      holdPiece(bio, area.page, at, len, hold);
    }
    if (!opHasData(op)) bio.size = bytes;
    if (op === BioOp.WRITE && this.#random.chance(0.05)) bio.flags |= BioFlag.FUA;
    bio.owner = sim;
    bio.endIo = this.#bioEnded;
    this.#activate(sim);
    this.#device.submitBio(bio);
    assert(sim.ends === 0, 'sim: a bio ended inside submit');
  }

  #activate(sim: SimOp): void {
    this.#active.add(sim);
    if (sim.op === BioOp.FLUSH || this.#isBeyond(sim)) return;
    this.#lastStart = sim.start;
    this.#lastEnd = sim.end;
  }

  readonly #bioEnded = (bio: Bio): void => {
    const sim = bio.owner as SimOp;
    const { status } = bio;
    const shortAt = Math.min(bio.shortAt, sim.end);
    const isLeak = this.#world.isLeak(this.#started);
    if (isLeak !== 'leaked-pin') releasePages(bio, sim.op === BioOp.READ);
    if (isLeak !== 'leaked-bio') this.#device.bios.release(bio);
    this.#ended(sim, status, Math.max(shortAt - sim.start, 0));
  };

  /** Any memory at any position: the mapping decides what is copied. */
  #startTransfer(): void {
    const random = this.#random;
    const op = random.chance(0.5) ? BioOp.READ : BioOp.WRITE;
    const unit = random.pick([1, 1, 4, 512, this.#device.limits.logical_block_size]);
    const count = random.pick(SMALL_PIECES);
    const pages = random.chance(0.1) ? 16 : 2;
    const pieces = this.#memory.take({ unit, totalUnit: unit, pieces: count, pages, plain: true });
    const bytes = piecesBytes(pieces);
    const start = bytes === 0 ? -1 : this.#freeRange(op, bytes, unit, false, true);
    if (start < 0) {
      this.#giveUnused(pieces);
      return;
    }
    const salt = this.#started++;
    const sim = new SimOp({ op, start, bytes, pieces, isRagged: false, isTransfer: true, salt });
    const iovec = new Iovec(Math.max(pieces.length, 1));
    iovec.importViews(pieces.map(({ area, at, len }) => area.bytes.subarray(at, at + len)));
    const iter = new IovIter();
    iter.initBytes(op === BioOp.READ ? IterDirection.DEST : IterDirection.SOURCE, iovec);
    const copy = random.chance(0.1) ? 'always' : 'auto';
    const fua = op === BioOp.WRITE && random.chance(0.05);
    this.#activate(sim);
    const onEnd = (_: Transfer, result: number): void => {
      sim.transfer = null;
      this.#ended(sim, Math.min(result, 0), Math.max(result, 0));
    };
    const transfer = this.#device.transfer(op, start, iter, bytes, { copy, fua }, onEnd);
    if (sim.ends === 0) sim.transfer = transfer;
    assert(sim.ends === 0, 'sim: a transfer ended inside its start');
  }

  #cancelOne(): void {
    for (const sim of this.#active) {
      if (sim.transfer === null || !this.#random.chance(0.3)) continue;
      sim.isCancelled = true;
      this.#device.cancel(sim.transfer);
      return;
    }
  }

  /** Judges one ended operation: `done` bytes from its start, when the status is 0. */
  #ended(sim: SimOp, status: number, done: number): void {
    sim.ends++;
    if (sim.ends !== 1) this.#fault('it ended twice', sim);
    if (!this.#active.delete(sim)) this.#fault('it ended, but was not in flight', sim);
    const why = this.#statusFault(sim, status);
    if (why !== null) this.#fault(why, sim);
    if (sim.op === BioOp.READ) this.#judgeRead(sim, status, done);
    else this.#judgeWrite(sim, status, done);
    for (const area of sim.areas) this.#memory.give(area);
  }

  #statusFault(sim: SimOp, status: number): string | null {
    const { limits } = this.#device;
    const text = `it ended with ${status}`;
    const isNever =
      (sim.op === BioOp.DISCARD && limits.max_discard_sectors === 0) ||
      (sim.op === BioOp.WRITE_ZEROES && limits.max_write_zeroes_sectors === 0);
    if (isNever) return status === -Errno.EOPNOTSUPP ? null : `${text}, not EOPNOTSUPP`;
    if (this.#isBeyond(sim) && sim.op !== BioOp.READ && status === 0) {
      return `${text}, though it lies beyond the end of the device`;
    }
    if (sim.isTransfer && this.#writesCutBlock(sim)) {
      const isRight = status === -Errno.EINVAL || (status === -Errno.ECANCELED && sim.isCancelled);
      return isRight ? null : `${text}, but the device ends inside its last block`;
    }
    if (status === 0) return null;
    if (INJECTED.includes(status) && this.#world.hasErrors) return null;
    if (status === -Errno.ENOSPC && this.#isBeyond(sim)) return null;
    if (status === -Errno.EINVAL && sim.isRagged) return null;
    if (status === -Errno.ECANCELED && sim.isCancelled) return null;
    return `${text}, but nothing was wrong with it`;
  }

  #writesCutBlock(sim: SimOp): boolean {
    const size = this.#model.length;
    const cut = size % this.#device.limits.logical_block_size;
    return sim.op === BioOp.WRITE && cut > 0 && sim.start < size && sim.end > size - cut;
  }

  #isBeyond(sim: SimOp): boolean {
    return sim.end > this.#model.length;
  }

  #judgeRead(sim: SimOp, status: number, done: number): void {
    const end = Math.min(sim.end, this.#model.length);
    const readable = Math.max(end - sim.start, 0);
    if (status === 0 && done !== readable) this.#fault(`${done} of ${readable} bytes came`, sim);
    const arrived = status === 0 ? this.#model.subarray(sim.start, end) : null;
    const fault = sim.memoryFault(arrived, status !== 0);
    if (fault !== null) this.#fault(fault, sim);
  }

  #judgeWrite(sim: SimOp, status: number, done: number): void {
    const fault = sim.memoryFault(null, false);
    if (fault !== null) this.#fault(`the memory of a write changed: ${fault}`, sim);
    if (sim.op === BioOp.FLUSH) return;
    if (status === 0 && done !== sim.bytes) this.#fault(`${done} of ${sim.bytes} bytes went`, sim);
    const { medium } = this.#world.engine;
    const end = Math.min(sim.end, this.#model.length);
    const actual = medium.peek(sim.start, Math.max(end - sim.start, 0));
    const whole = sim.op === BioOp.WRITE ? sim.data : this.#zeros(actual.length);
    if (status === 0 && firstDifference(actual, whole) < 0) {
      this.#model.set(actual, sim.start);
      return;
    }
    for (let i = 0; i < actual.length; i++) {
      const fresh = sim.op === BioOp.WRITE ? sim.data[i] : 0;
      const isOld = status !== 0 && actual[i] === this.#model[sim.start + i];
      if (actual[i] !== fresh && !isOld) this.#fault(`byte ${i} on the medium is wrong`, sim);
      this.#model[sim.start + i] = actual[i] as number;
    }
  }

  #zeros(bytes: number): Uint8Array {
    if (bytes > this.#zero.length) this.#zero = new Uint8Array(bytes);
    return this.#zero.subarray(0, bytes);
  }

  /** Lets time pass: something may come free. A submitter that sleeps gives its plug up. */
  #sleep(): void {
    while (this.#plugs > 0) this.#unplug(true);
    if (!this.#world.clock.step()) {
      const [first = null] = this.#active;
      this.#fault(`stuck: ${this.#active.size} operations never end`, first);
    }
  }

  /** Several under one plug, as a program with a list of requests does. */
  #burst(): void {
    this.#plugs++;
    this.#device.queue.startPlug();
    for (let i = this.#random.between(2, 8); i > 0 && this.#hasRoom; i--) this.#start();
    if (this.#plugs > 0) this.#unplug(false); // A start that had to sleep has unplugged already.
  }

  get #hasRoom(): boolean {
    return this.#active.size < this.#world.opsMax;
  }

  #togglePlug(): void {
    if (this.#plugs > 1 || (this.#plugs > 0 && this.#random.chance(0.7))) {
      this.#unplug(false);
    } else {
      this.#plugs++;
      this.#device.queue.startPlug();
    }
  }

  #unplug(sleeping: boolean): void {
    this.#plugs--;
    this.#device.queue.finishPlug(sleeping);
    this.#device.arm();
  }

  /** A start at which no operation in flight is disturbed, or -1. */
  #freeRange(op: BioOp, bytes: number, unit: number, beyond: boolean, byBytes = false): number {
    const size = this.#model.length;
    if (bytes > size) return -1;
    for (let i = 0; i < RANGE_TRIES; i++) {
      const last = Math.floor((size - bytes) / unit);
      const over = this.#random.below(Math.ceil(bytes / unit) + 2);
      let start = (beyond ? last + 1 + over : this.#random.below(last + 1)) * unit;
      if (!beyond && i === 0) start = this.#neighbour(bytes, unit, start);
      if (!this.#conflicts(op, start, start + bytes, byBytes)) return start;
    }
    return -1;
  }

  /** Often right behind the operation before, or in front of it: only neighbours can merge. */
  #neighbour(bytes: number, unit: number, otherwise: number): number {
    const behind = Math.ceil(this.#lastEnd / unit) * unit;
    const before = Math.floor(this.#lastStart / unit) * unit - Math.ceil(bytes / unit) * unit;
    const roll = this.#random.below(10);
    if (roll < 5 && behind + bytes <= this.#model.length) return behind;
    return roll < 7 && before >= 0 ? before : otherwise;
  }

  /** Two transfers may share a block: the device keeps their halves apart. Bios may not. */
  #conflicts(op: BioOp, start: number, end: number, byBytes: boolean): boolean {
    const block = this.#device.limits.logical_block_size;
    for (const other of this.#active) {
      if (op === BioOp.READ && !other.changesMedium) continue;
      const unit = byBytes && other.isTransfer ? 1 : block;
      const isBefore = Math.ceil(end / unit) <= Math.floor(other.start / unit);
      const isBehind = Math.floor(start / unit) >= Math.ceil(other.end / unit);
      if (!isBefore && !isBehind) return true;
    }
    return false;
  }

  #giveUnused(pieces: readonly AreaPiece[]): void {
    for (const area of new Set(pieces.map((piece) => piece.area))) this.#memory.give(area);
  }

  #fault(what: string, sim: SimOp | null): never {
    if (sim === null) throw new AssertionError(`sim: ${what}`);
    const kind = `${BIO_OP_NAMES[sim.op]} of ${sim.bytes} bytes at ${sim.start}`;
    const way = sim.isTransfer ? 'transfer' : 'bio';
    throw new AssertionError(`sim: ${what} (${way}, ${kind})`);
  }
}
