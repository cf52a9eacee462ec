import assert from 'node:assert/strict';
import { PAGE_BYTES } from '../../base/units.ts';
import { BioOp } from '../../bio/bio-op.ts';
import type { Engine } from '../../engine/contract.ts';
import { Arena } from '../../memory/arena.ts';
import type { ArenaBuffer } from '../../memory/arena-buffer.ts';
import { type DrivenResult, type DrivenSegment, EngineDriver } from '../engine-driver.ts';
import { SEGMENT_SHAPES, type SegmentShape, SHAPE_PAGES, shapeBytes } from '../segment-shapes.ts';
import { checkRequest } from '../simulator/request-checker.ts';
import { SeededRandom } from '../simulator/seeded-random.ts';
import { fillPattern, firstDifference } from '../simulator/sim-op.ts';

/** A freshly opened engine; each test of the suite asks for one. At least 1 MiB large. */
export interface EngineUnderTest {
  readonly engine: Engine;
  /** The medium's bytes by a way that does not go through the engine. Default: through it. */
  readonly readBack?:
    | ((start: number, bytes: number) => Uint8Array | Promise<Uint8Array>)
    | undefined;
  /** Lets time pass for an engine that has a clock of its own. */
  readonly tick?: (() => void) | undefined;
  /** After `engine.close()`: temporary files and the like. */
  readonly dispose?: (() => void | Promise<void>) | undefined;
}

export interface EngineTraits {
  /** False: every read gives zeros, whatever was written. Default true. */
  readonly keepsData?: boolean | undefined;
  /** True: discarded bytes read as zeros. Default false: as zeros or as they were. */
  readonly discardsToZero?: boolean | undefined;
  /** True: it has a profile, and the tests of metadata run too. Default false. */
  readonly hasMetadata?: boolean | undefined;
}

export type OpenEngine = () => Promise<EngineUnderTest>;

/** What the suite lays around the memory of a read, to see that it stays. */
export const CANARY = 0xc7;

let arena: Arena | null = null;

export function assertNoMemoryHeld(): void {
  arena?.assertNothingOutstanding();
}

/** An engine, its driver, and a buffer that shapes are laid on. */
export class EngineBench {
  readonly under: EngineUnderTest;
  readonly engine: Engine;
  readonly driver: EngineDriver;
  readonly traits: EngineTraits;
  readonly memory: ArenaBuffer;
  readonly #scratch: ArenaBuffer;
  readonly #random = new SeededRandom(7);

  constructor(under: EngineUnderTest, traits: EngineTraits) {
    arena ??= new Arena({ label: 'engine suite', maxBytes: 16 * 2 ** 20 });
    this.under = under;
    this.engine = under.engine;
    this.traits = traits;
    this.driver = new EngineDriver({ engine: under.engine, tick: under.tick });
    this.memory = arena.alloc(SHAPE_PAGES * PAGE_BYTES, 'shapes');
    this.#scratch = arena.alloc(this.unitBytes, 'scratch');
    assert(this.engine.sizeBytes() >= 2 ** 20, 'the suite needs an engine of at least 1 MiB');
  }

  /** What every device takes as one segment: a page, or a logical block that is larger. */
  get unitBytes(): number {
    return Math.max(PAGE_BYTES, this.engine.info.limits.logical_block_size);
  }

  /** Random bytes, or zeros where the engine forgets. */
  expected(written: Uint8Array): Uint8Array {
    return this.traits.keepsData === false ? new Uint8Array(written.length) : written;
  }

  randomBytes(count: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(count);
    fillPattern(bytes, this.#random.uint32());
    return bytes;
  }

  segmentsOf(shape: SegmentShape): DrivenSegment[][] {
    return shape.bios.map((pieces) =>
      pieces.map(({ page, offset, len }) => ({ page: this.memory.page + page, offset, len })),
    );
  }

  /** The shapes that the engine's limits allow at byte `start`. */
  shapes(op: BioOp, start: number): SegmentShape[] {
    const { limits } = this.engine.info;
    return SEGMENT_SHAPES.filter((shape) => {
      if (shape.repeats && op === BioOp.READ) return false;
      const tag = this.driver.build(op, start, this.segmentsOf(shape));
      const fault = checkRequest(this.driver.table.get(tag), limits);
      this.driver.release(tag);
      return fault === null;
    });
  }

  /** Lays `bytes` into the memory of the shape, in its order. */
  scatter(shape: SegmentShape, bytes: Uint8Array): void {
    let at = 0;
    for (const { page, offset, len } of shape.bios.flat()) {
      this.memory.bytes.set(bytes.subarray(at, at + len), page * PAGE_BYTES + offset);
      at += len;
    }
  }

  /** Reads the memory of the shape in its order. */
  gather(shape: SegmentShape): Uint8Array {
    const out = new Uint8Array(shapeBytes(shape));
    let at = 0;
    for (const { page, offset, len } of shape.bios.flat()) {
      const from = page * PAGE_BYTES + offset;
      out.set(this.memory.bytes.subarray(from, from + len), at);
      at += len;
    }
    return out;
  }

  /** Asserts that the buffer holds the canary wherever the shape has no memory. */
  assertOutsideUntouched(shape: SegmentShape): void {
    const copy = this.memory.copy();
    for (const { page, offset, len } of shape.bios.flat()) {
      const from = page * PAGE_BYTES + offset;
      copy.fill(CANARY, from, from + len);
    }
    const at = firstDifference(copy, new Uint8Array(copy.length).fill(CANARY));
    assert.equal(at, -1, `byte ${at} of the buffer changed, but no segment covers it`);
  }

  async transfer(op: BioOp, start: number, shape: SegmentShape): Promise<DrivenResult> {
    return this.driver.transfer(this.driver.build(op, start, this.segmentsOf(shape)));
  }

  /** A request that only names a range, or a flush. */
  async command(op: BioOp, start: number, bytes: number): Promise<DrivenResult> {
    return this.driver.transfer(this.driver.build(op, start, [[]], { bytes }));
  }

  /** A request of one unit with memory of its own: `index` picks the pages. */
  buildUnit(op: BioOp, start: number, index = 0, flags = 0): number {
    const units = Math.floor(this.memory.length / this.unitBytes);
    const page = this.memory.page + (index % units) * (this.unitBytes / PAGE_BYTES);
    return this.driver.build(op, start, [[{ page, offset: 0, len: this.unitBytes }]], { flags });
  }

  /** Puts `bytes`, whole units, on the medium through the engine. */
  async put(start: number, bytes: Uint8Array): Promise<void> {
    const unit = this.unitBytes;
    for (let at = 0; at < bytes.length; at += unit) {
      const len = Math.min(unit, bytes.length - at);
      this.#scratch.bytes.set(bytes.subarray(at, at + len));
      const segment = { page: this.#scratch.page, offset: 0, len };
      const tag = this.driver.build(BioOp.WRITE, start + at, [[segment]]);
      const result = await this.driver.transfer(tag);
      assert.deepEqual(result, { status: 0, bytesDone: len }, 'put: the write failed');
    }
  }

  /** The medium's bytes: behind the engine where that is possible, else in the plainest reads. */
  async medium(start: number, bytes: number): Promise<Uint8Array> {
    if (this.under.readBack !== undefined) {
      return new Uint8Array(await this.under.readBack(start, bytes));
    }
    const out = new Uint8Array(bytes);
    const unit = this.unitBytes;
    const first = start - (start % unit);
    for (let at = first; at < start + bytes; at += unit) {
      const segment = { page: this.#scratch.page, offset: 0, len: unit };
      const tag = this.driver.build(BioOp.READ, at, [[segment]]);
      const { status, bytesDone } = await this.driver.transfer(tag);
      assert.equal(status, 0, 'medium: the read failed');
      const from = Math.max(start, at);
      const to = Math.min(start + bytes, at + bytesDone);
      out.set(this.#scratch.bytes.subarray(from - at, to - at), from - start);
    }
    return out;
  }

  async assertMedium(start: number, bytes: Uint8Array): Promise<void> {
    assertSameBytes(await this.medium(start, bytes.length), bytes, `medium at ${start}`);
  }

  /** Closes the engine and gives the memory back; after a failure as far as it goes. */
  async release(hasFailed: boolean): Promise<void> {
    try {
      await this.engine.close();
    } catch (error) {
      if (!hasFailed) throw error; // Else the first failure is the one to show.
    }
    await this.under.dispose?.();
    this.#scratch.release();
    this.memory.release();
  }
}

/** `deepEqual` of large arrays takes seconds to fail; this names the first difference. */
export function assertSameBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  assert.equal(actual.length, expected.length, `${what}: length`);
  const at = firstDifference(actual, expected);
  assert.equal(at, -1, `${what}: byte ${at} is ${actual[at]}, expected ${expected[at]}`);
}
