import { assert } from '../../../base/assert.ts';
import { PAGE_BYTES } from '../../../base/units.ts';
import { IovIter, type IterDirection } from '../../../iter/iov-iter.ts';
import { Iovec } from '../../../iter/iovec.ts';
import type { SeededRandom } from '../seeded-random.ts';
import { type Area, type AreaPiece, piecesBytes, type SimMemory } from '../sim-memory.ts';
import { fillPattern, firstDifference } from '../sim-op.ts';
import type { TupleProcess, TupleProcesses } from './tuple-processes.ts';

/**
 * The memory of one side of an operation, data or metadata, and what must be in it: pages of the
 * arena, plain arrays, or a range of a process. It has whole areas (or pages) for itself, so that
 * a byte beside its own is noticed too.
 */
export abstract class OpMemory {
  readonly bytes: number;
  /** Everything that was ever in it since the operation began; the last is there now. */
  readonly versions: Uint8Array[] = [];

  protected constructor(bytes: number) {
    this.bytes = bytes;
  }

  /** What the program puts there before the operation; null: it has something there already. */
  fill(contents: Uint8Array | null): void {
    this.versions.length = 0;
    if (contents !== null) this.store(contents);
    this.remember();
  }

  /** The program writes over `len` bytes while a device may read them. */
  scribble(at: number, len: number, random: SeededRandom): void {
    const contents = this.now.slice();
    fillPattern(contents.subarray(at, at + len), random.uint32());
    this.store(contents);
    this.remember();
  }

  get isRaced(): boolean {
    return this.versions.length > 1;
  }

  get first(): Uint8Array {
    return this.versions[0] as Uint8Array;
  }

  get now(): Uint8Array {
    return this.versions.at(-1) as Uint8Array;
  }

  /** Some of it can be detached, so all of it is copied. */
  abstract get isPlain(): boolean;
  /** Its process is gone: nobody can look. */
  abstract get isGone(): boolean;
  abstract iter(direction: IterDirection): IovIter;
  abstract gather(): Uint8Array;
  protected abstract store(contents: Uint8Array): void;
  /** After `store`: this is what lies there, and beside it. */
  protected abstract remember(): void;
  /**
   * What is wrong, or null: `expected` is there now (null: what was), and beside it nothing has
   * changed. `mayScribble`: its own bytes are undefined.
   */
  abstract fault(expected: Uint8Array | null, mayScribble: boolean): string | null;
  abstract give(): void;
}

/** Areas of a `SimMemory`. */
export class AreaMemory extends OpMemory {
  readonly pieces: readonly AreaPiece[];
  readonly #memory: SimMemory;
  readonly #areas: readonly Area[];
  #before: readonly Uint8Array[] = [];

  constructor(memory: SimMemory, pieces: readonly AreaPiece[], salt: number) {
    super(piecesBytes(pieces));
    this.#memory = memory;
    this.pieces = pieces;
    this.#areas = [...new Set(pieces.map(({ area }) => area))];
    this.#areas.forEach(({ bytes }, index) => {
      fillPattern(bytes, salt + index);
    });
  }

  get isPlain(): boolean {
    return this.#areas.some(({ page }) => page < 0);
  }

  get isGone(): boolean {
    return false;
  }

  iter(direction: IterDirection): IovIter {
    const iovec = new Iovec(Math.max(this.pieces.length, 1));
    iovec.importViews(this.pieces.map(({ area, at, len }) => area.bytes.subarray(at, at + len)));
    const iter = new IovIter();
    iter.initBytes(direction, iovec);
    return iter;
  }

  gather(): Uint8Array {
    const out = new Uint8Array(this.bytes);
    let done = 0;
    for (const { area, at, len } of this.pieces) {
      out.set(area.bytes.subarray(at, at + len), done);
      done += len;
    }
    return out;
  }

  protected store(contents: Uint8Array): void {
    let done = 0;
    for (const { area, at, len } of this.pieces) {
      area.bytes.set(contents.subarray(done, done + len), at);
      done += len;
    }
  }

  protected remember(): void {
    // As the program sees it: of bytes that stand in two pieces, the later one.
    this.versions.push(this.gather());
    this.#before = this.#areas.map(({ bytes }) => new Uint8Array(bytes));
  }

  fault(expected: Uint8Array | null, mayScribble: boolean): string | null {
    let done = 0;
    for (const { area, at, len } of this.pieces) {
      const want = this.#before[this.#areas.indexOf(area)] as Uint8Array;
      if (mayScribble) want.set(area.bytes.subarray(at, at + len), at);
      else if (expected !== null) want.set(expected.subarray(done, done + len), at);
      done += len;
    }
    for (const [index, { bytes }] of this.#areas.entries()) {
      const wrong = firstDifference(bytes, this.#before[index] as Uint8Array);
      if (wrong >= 0) return `byte ${wrong} of area ${index} is wrong`;
    }
    return null;
  }

  give(): void {
    for (const area of this.#areas) this.#memory.give(area);
  }
}

/** A range of the window of a process, in whole pages that nobody else uses meanwhile. */
export class ProcessMemory extends OpMemory {
  readonly made: TupleProcess;
  readonly addr: number;
  readonly #processes: TupleProcesses;
  readonly #pageAddr: number;
  readonly #pages: number;
  #before: Uint8Array = new Uint8Array(0);

  constructor(processes: TupleProcesses, made: TupleProcess, addr: number, bytes: number) {
    super(bytes);
    this.#processes = processes;
    this.made = made;
    this.addr = addr;
    this.#pageAddr = addr - (addr % PAGE_BYTES);
    this.#pages = Math.ceil((addr + bytes - this.#pageAddr) / PAGE_BYTES);
  }

  get isPlain(): boolean {
    return false;
  }

  get isGone(): boolean {
    return !this.made.isAlive;
  }

  iter(direction: IterDirection): IovIter {
    const iter = new IovIter();
    iter.initUserRange(direction, this.made.process.space, this.addr, this.bytes);
    return iter;
  }

  gather(): Uint8Array {
    return this.#read(this.addr, this.bytes);
  }

  #read(addr: number, bytes: number): Uint8Array {
    const out = new Uint8Array(bytes);
    const count = this.made.process.space.read(addr, out);
    assert(count === bytes, 'sim: the program cannot read its own memory');
    return out;
  }

  protected store(contents: Uint8Array): void {
    const count = this.made.process.space.write(this.addr, contents);
    assert(count === contents.length, 'sim: the program cannot write its own memory');
  }

  protected remember(): void {
    this.#before = this.#read(this.#pageAddr, this.#pages * PAGE_BYTES);
    const at = this.addr - this.#pageAddr;
    this.versions.push(this.#before.slice(at, at + this.bytes));
  }

  fault(expected: Uint8Array | null, mayScribble: boolean): string | null {
    if (this.isGone) return null;
    const now = this.#read(this.#pageAddr, this.#before.length);
    const at = this.addr - this.#pageAddr;
    if (mayScribble) this.#before.set(now.subarray(at, at + this.bytes), at);
    else if (expected !== null) this.#before.set(expected, at);
    const wrong = firstDifference(now, this.#before);
    return wrong < 0 ? null : `byte ${wrong - at} of a process is wrong`;
  }

  give(): void {
    this.#processes.give(this.made, this.#pageAddr, this.#pages);
  }
}
