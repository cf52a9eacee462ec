import { AssertionError, assert } from '../../../base/assert.ts';
import { SECTOR_BYTES } from '../../../base/units.ts';
import type { Bio } from '../../../bio/bio.ts';
import { releasePages } from '../../../bio/bio-add.ts';
import { BioFlag, BioOp, opHasData, opIsWrite } from '../../../bio/bio-op.ts';
import type { BlockDevice } from '../../../device/block-device.ts';
import { IterDirection } from '../../../iter/iov-iter.ts';
import { HoldKind } from '../../../memory/holds.ts';
import { holdPiece } from '../hold-piece.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { firstDifference } from '../sim-op.ts';
import type { SimRecords } from '../sim-records.ts';
import type { Tally } from '../tally.ts';
import { checkImage } from './check-image.ts';
import { AreaMemory, ProcessMemory } from './op-memory.ts';
import { StackedBios } from './stacked-bios.ts';
import { damageInterval } from './tuple-damage.ts';
import { TupleJudge } from './tuple-judge.ts';
import { TupleModel } from './tuple-model.ts';
import type { TupleOp } from './tuple-op.ts';
import { type FindPlace, TupleStarts } from './tuple-starts.ts';
import type { TupleWorld } from './tuple-world.ts';

const PLACE_TRIES = 6;
const HOLDS = [HoldKind.PINNED, HoldKind.REFERENCED, HoldKind.BORROWED] as const;

/**
 * Random operations against a disk with tuples: with metadata of the block layer and of programs,
 * as bios, transfers and clones; damage, races and ends of processes between them.
 */
export class TupleWorkload {
  readonly model: TupleModel;
  readonly judge: TupleJudge;
  readonly active = new Set<TupleOp>();
  readonly stacked: StackedBios;
  started = 0;
  readonly #world: TupleWorld;
  readonly #device: BlockDevice;
  readonly #random: SeededRandom;
  readonly #seed: number;
  readonly #starts: TupleStarts;
  readonly #counts: Tally;
  #plugs = 0;
  /** Reads or writes alone, for now. */
  #burstOp: BioOp | null = null;
  #lastStart = 0;
  #lastEnd = 0;

  constructor(world: TupleWorld, random: SeededRandom, counts: Tally) {
    const { device, engine, memory, processes, hasErrors } = world;
    this.#world = world;
    this.#device = device;
    this.#random = random;
    this.#counts = counts;
    this.#seed = random.uint32();
    const model = new TupleModel(engine);
    this.model = model;
    this.judge = new TupleJudge({ model, engine, limits: device.limits, hasErrors });
    this.#starts = new TupleStarts({ device, memory, processes, model, random });
    this.stacked = new StackedBios(device, random, (op, status, shortAt) => {
      op.shortAt = shortAt;
      this.#ended(op, status, doneOf(op, shortAt));
    });
  }

  step(index: number): void {
    this.#random.reseed(this.#seed, index);
    const choice = this.#random.below(100);
    if (choice < 30 && this.#hasRoom) this.#start();
    else if (choice < 37) this.#burst();
    else if (choice < 46) this.#togglePlug();
    else if (choice < 49) this.#cancelOne();
    else if (choice < 52) this.#damage();
    else if (choice < 55) this.#scribble();
    else if (choice < 57) this.#world.processes.spawn();
    else if (choice < 58) this.#killOne();
    else if (choice < 59) checkImage(this.#world, this.model, this.#random);
    else if (!this.#world.clock.step() && this.active.size > 0) this.#sleep();
  }

  /** Lets everything end, and compares the whole disk. */
  finish(): void {
    while (this.active.size > 0) this.#sleep();
    while (this.#plugs > 0) this.#unplug(false);
    const { model } = this;
    const { medium, records } = this.#world.engine;
    const wrong = firstDifference(medium.peek(0, medium.sizeBytes), model.data);
    if (wrong >= 0) throw new AssertionError(`sim: byte ${wrong} of the medium is not the model's`);
    const stored = (records as SimRecords).medium;
    const record = firstDifference(stored.peek(0, stored.sizeBytes), model.records);
    if (record >= 0) throw new AssertionError(`sim: byte ${record} of the records is not right`);
    model.verifyGuards();
    assert(!this.#device.queue.isBlocked, 'sim: bios wait, but nothing is in flight');
    this.stacked.assertIdle();
  }

  #start(): void {
    const random = this.#random;
    const roll = random.below(100);
    const find: FindPlace = this.#findPlace;
    const op = this.#burstOp ?? (random.chance(0.5) ? BioOp.READ : BioOp.WRITE);
    let made: TupleOp | null = null;
    if (roll < 3) made = this.#starts.range(BioOp.FLUSH, find);
    else if (roll < 6) made = this.#starts.range(BioOp.WRITE_ZEROES, find);
    else if (roll < 9) made = this.#starts.range(BioOp.DISCARD, find);
    else if (roll < 35) made = this.#starts.bio(op, find);
    else if (roll < 60) made = this.#starts.transfer(op, false, find);
    else if (roll < 85) made = this.#starts.transfer(op, true, find);
    else made = this.#starts.stacked(op, find);
    if (made === null) return;
    if (made.way === 'bio') this.#startBio(made);
    else if (made.way === 'transfer') this.#startTransfer(made);
    else this.#startStacked(made);
  }

  #startBio(op: TupleOp): void {
    const pieces = op.data instanceof AreaMemory ? op.data.pieces : [];
    const bio = this.#device.bios.acquire(op.op, op.start / SECTOR_BYTES, pieces.length);
    if (bio === null) {
      op.give();
      this.#sleep(); // Back-pressure: a completion will bring one.
      return;
    }
    for (const { area, at, len } of pieces) {
      holdPiece(bio, area.page, at, len, this.#random.pick(HOLDS));
    }
    if (!opHasData(op.op)) bio.size = op.bytes;
    if (op.op === BioOp.WRITE && this.#random.chance(0.05)) bio.flags |= BioFlag.FUA;
    bio.owner = op;
    bio.endIo = this.#bioEnded;
    this.#activate(op);
    this.#device.submitBio(bio);
    assert(op.ends === 0, 'sim: a bio ended inside submit');
  }

  readonly #bioEnded = (bio: Bio): void => {
    const op = bio.owner as TupleOp;
    const { status, shortAt } = bio;
    releasePages(bio, op.op === BioOp.READ);
    this.#device.bios.release(bio);
    op.shortAt = shortAt;
    this.#ended(op, status, doneOf(op, shortAt));
  };

  #startTransfer(op: TupleOp): void {
    const { data, metadata, copy, start, bytes } = op;
    assert(data !== null, 'sim: a transfer without memory');
    const direction = op.op === BioOp.READ ? IterDirection.DEST : IterDirection.SOURCE;
    const fua = op.op === BioOp.WRITE && this.#random.chance(0.05);
    const wish =
      metadata === null
        ? undefined
        : {
            iter: metadata.memory.iter(direction),
            check: metadata.check,
            appTag: metadata.appTag,
            seed: metadata.seed,
          };
    const options = { copy, fua, metadata: wish };
    this.#activate(op);
    op.transfer = this.#device.transfer(
      op.op,
      start,
      data.iter(direction),
      bytes,
      options,
      (transfer, result) => {
        op.transfer = null;
        const report = transfer.fault;
        this.#end(op, Math.min(result, 0), Math.max(result, 0), report);
      },
    );
    assert(op.ends === 0, 'sim: a transfer ended inside its start');
  }

  #startStacked(op: TupleOp): void {
    if (!this.stacked.submit(op)) {
      op.give();
      this.#sleep();
      return;
    }
    assert(op.ends === 0, 'sim: a clone ended inside its start');
    this.#activate(op);
  }

  #activate(op: TupleOp): void {
    this.started++;
    const own = op.metadata === null ? 'automatic' : 'own metadata';
    this.#counts.add(opHasData(op.op) ? `tuples: ${op.way}, ${own}` : 'tuples: range or flush');
    this.active.add(op);
    if (op.op === BioOp.FLUSH || op.end > this.model.sizeBytes) return;
    this.#lastStart = op.start;
    this.#lastEnd = op.end;
  }

  #ended(op: TupleOp, status: number, done: number): void {
    this.#end(op, status, done, null);
  }

  #end(
    op: TupleOp,
    status: number,
    done: number,
    report: Parameters<TupleJudge['judge']>[1]['report'],
  ): void {
    op.ends++;
    assert(op.ends === 1, 'sim: an operation ended twice');
    assert(this.active.delete(op), 'sim: an operation ended that was not in flight');
    if (status !== 0) this.#counts.add(`tuples: ended with ${status}`);
    this.judge.judge(op, { status, done, report });
    op.give();
  }

  #cancelOne(): void {
    for (const op of this.active) {
      if (op.transfer === null || !this.#random.chance(0.3)) continue;
      op.isCancelled = true;
      this.#device.cancel(op.transfer);
      return;
    }
  }

  /** Only what nothing in flight touches: what a race there means, nobody could say. */
  #damage(): void {
    if (this.model.intervals === 0 || !this.#world.isSpoiling) return;
    const interval = this.#random.below(this.model.intervals);
    const { intervalBytes } = this.model.format;
    const start = interval * intervalBytes;
    if (this.#conflicts(BioOp.WRITE, start, start + intervalBytes)) return;
    const part = damageInterval(this.#world.engine, this.model, interval, this.#random);
    this.#counts.add(`damage: ${part}`);
  }

  /** A program writes into the memory of its own write; rather one that asked for a copy. */
  #scribble(): void {
    let chosen: TupleOp | null = null;
    for (const op of this.active) {
      const { data, metadata } = op;
      if (op.op !== BioOp.WRITE || data === null || metadata !== null || data.isGone) continue;
      if (chosen === null || op.copy === 'always') chosen = op;
    }
    const data = chosen?.data ?? null;
    if (chosen === null || data === null) return;
    const at = this.#random.below(data.bytes);
    const len = this.#random.between(1, Math.min(data.bytes - at, 600));
    data.scribble(at, len, this.#random);
    this.#counts.add(`tuples: raced, ${chosen.isCopied ? 'copied' : 'maybe mapped'}`);
  }

  /** Rather one that has something in flight. */
  #killOne(): void {
    const { processes } = this.#world;
    if (processes.alive.length === 0) return;
    let made = this.#random.pick(processes.alive);
    for (const { metadata } of this.active) {
      const memory = metadata?.memory ?? null;
      if (memory instanceof ProcessMemory && !memory.isGone) made = memory.made;
    }
    const isBusy = made.busy.includes(1);
    this.#counts.add(isBusy ? 'process: gone, with memory in flight' : 'process: gone');
    processes.kill(made);
  }

  /** Lets time pass: something may come free. A submitter that sleeps gives its plug up. */
  #sleep(): void {
    while (this.#plugs > 0) this.#unplug(true);
    if (this.#world.clock.step()) return;
    throw new AssertionError(`sim: stuck: ${this.active.size} operations never end`);
  }

  #burst(): void {
    this.#plugs++;
    this.#device.queue.startPlug();
    // Mostly of one kind: only those can merge.
    if (this.#random.chance(0.7)) this.#burstOp = this.#random.pick([BioOp.READ, BioOp.WRITE]);
    for (let i = this.#random.between(2, 8); i > 0 && this.#hasRoom; i--) this.#start();
    this.#burstOp = null;
    if (this.#plugs > 0) this.#unplug(false); // A start that had to sleep has unplugged already.
  }

  get #hasRoom(): boolean {
    return this.active.size < this.#world.opsMax;
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

  readonly #findPlace: FindPlace = (op, bytes, unit, beyond) => {
    const size = this.model.sizeBytes;
    if (bytes > size) return -1;
    for (let i = 0; i < PLACE_TRIES; i++) {
      const last = Math.floor((size - bytes) / unit);
      const over = this.#random.below(Math.ceil(bytes / unit) + 2);
      let start = (beyond ? last + 1 + over : this.#random.below(last + 1)) * unit;
      if (!beyond && i === 0) start = this.#neighbour(bytes, unit, start);
      if (!this.#conflicts(op, start, start + bytes)) return start;
    }
    return -1;
  };

  /** Often right behind the operation before, or in front of it: only neighbours can merge. */
  #neighbour(bytes: number, unit: number, otherwise: number): number {
    const behind = Math.ceil(this.#lastEnd / unit) * unit;
    const before = Math.floor(this.#lastStart / unit) * unit - Math.ceil(bytes / unit) * unit;
    const roll = this.#random.below(10);
    if (roll < 5 && behind + bytes <= this.model.sizeBytes) return behind;
    return roll < 7 && before >= 0 ? before : otherwise;
  }

  /** By whole blocks: a tuple is of one, or of a part of one that is written with it. */
  #conflicts(op: BioOp, start: number, end: number): boolean {
    const block = this.#device.limits.logical_block_size;
    const first = Math.floor(start / block) * block;
    for (const other of this.active) {
      if (op === BioOp.READ && !opIsWrite(other.op)) continue;
      if (first < other.blockEnd && end > other.blockStart) return true;
    }
    return false;
  }

  /** Where a misdirected write may land: the model takes it over from there. */
  quietPlace(bytes: number): number {
    const block = this.#device.limits.logical_block_size;
    const places = Math.floor((this.model.sizeBytes - bytes) / block);
    const start = places < 1 ? -1 : this.#random.below(places) * block;
    return start < 0 || this.#conflicts(BioOp.WRITE, start, start + bytes) ? -1 : start;
  }

  /** The disk spoils bytes of writes in flight. False: there is none, it is a place of its own. */
  spoiled(start: number, end: number): boolean {
    let isInFlight = false;
    for (const op of this.active) {
      if (!opIsWrite(op.op) || start >= op.blockEnd || end <= op.blockStart) continue;
      op.spoil(start, end);
      isInFlight = true;
    }
    return isInFlight;
  }
}

function doneOf(op: TupleOp, shortAt: number): number {
  return Math.max(Math.min(shortAt, op.end) - op.start, 0);
}
