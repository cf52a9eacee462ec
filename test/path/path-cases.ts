import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RUNS as BASE } from '../../src/base/runs.fuzz.ts';
import type { Disk } from '../../src/device/disk.ts';
import type { Limits, LimitsInput } from '../../src/limits/limits.ts';
import { validateLimits } from '../../src/limits/validate.ts';
import type { CopyPolicy } from '../../src/map/verdict.ts';
import type { Arena } from '../../src/memory/arena.ts';
import type { ArenaBuffer } from '../../src/memory/arena-buffer.ts';

// Random transfers on a random device, and a model of both sides: the bytes of the disk, and every
// byte of the program's memory, also those that no transfer may touch.

export const RUNS = BASE.numRuns;
export const DISK_BYTES = 96 * 1024;
/** The program's arena memory. */
export const HEAP_BYTES = 256 * 1024;

/** Bytes without a period: everybody takes another window of them. */
const NOISE = new Uint8Array(HEAP_BYTES * 2);
for (let i = 0, value = 1; i < NOISE.length; i++) {
  value = (Math.imul(value, 1664525) + 1013904223) | 0;
  NOISE[i] = value >>> 24;
}

/** Valid limits of any strictness, with logical blocks of `blocks` bytes. */
export function limitsCases(blocks: readonly number[]): fc.Arbitrary<Limits> {
  return fc
    .record({
      block: fc.constantFrom(...blocks),
      physical: fc.constantFrom(1, 1, 2, 8),
      sectors: fc.constantFrom(8, 9, 16, 24, 64, 255, 1024, 4294967295),
      segments: fc.constantFrom(1, 1, 2, 3, 4, 7, 16, 128, 65535),
      size: fc.oneof(
        fc.constantFrom(4096, 5000, 8192, 65536, 4294967295),
        fc.integer({ min: 4096, max: 20000 }),
      ),
      boundary: fc.constantFrom(4095, 8191, 65535, 4294967295, Number.MAX_SAFE_INTEGER),
      virt: fc.constantFrom(0, 0, 0, 511, 4095, 8191, 65535),
      dma: fc.constantFrom(0, 0, 1, 3, 31, 511, 1023, 4095),
      chunk: fc.constantFrom(0, 0, 0, 1, 3, 8, 40),
      nomerges: fc.constantFrom<0 | 1 | 2>(0, 0, 1, 2),
    })
    .map((wish) => {
      const sectors = wish.block / 512;
      const input: LimitsInput = {
        logical_block_size: wish.block,
        physical_block_size: wish.block * wish.physical,
        max_hw_sectors: Math.max(wish.sectors, sectors),
        max_segments: wish.segments,
        max_segment_size: wish.size,
        seg_boundary_mask: wish.boundary,
        virt_boundary_mask: wish.virt,
        dma_alignment: wish.dma,
        chunk_sectors: wish.chunk * sectors,
        nomerges: wish.nomerges,
        max_hw_discard_sectors: 64,
        max_write_zeroes_sectors: 64,
      };
      return validateLimits(input);
    });
}

/** One piece of the program's memory: where in the heap, or outside of it. */
interface SegmentCase {
  readonly len: number;
  /** Bytes of the heap that stay free before it. */
  readonly gap: number;
  readonly isOutside: boolean;
}

export interface OpCase {
  readonly isWrite: boolean;
  /** Bytes between this op and the one before it. */
  readonly skip: number;
  readonly segments: readonly SegmentCase[];
  readonly copy: CopyPolicy;
}

const policies = fc.constantFrom<CopyPolicy>('auto', 'auto', 'auto', 'always');

/** Any bytes anywhere: nearly everything is copied. */
const raggedOps: fc.Arbitrary<OpCase> = fc.record({
  isWrite: fc.boolean(),
  skip: fc.oneof(fc.constant(0), fc.nat(700), fc.nat(9000)),
  segments: fc.array(
    fc.record({
      len: fc.oneof(fc.nat(40), fc.nat(600), fc.nat(12000)),
      gap: fc.oneof(fc.constant(0), fc.nat(5000)),
      isOutside: fc.boolean(),
    }),
    { minLength: 1, maxLength: 12 },
  ),
  copy: policies,
});

/** In units of a power of two, in the arena: much of it can be mapped. */
function alignedOps(unit: number): fc.Arbitrary<OpCase> {
  const units = fc.oneof(fc.nat(3), fc.nat(24)).map((count) => count * unit);
  return fc.record({
    isWrite: fc.boolean(),
    skip: fc.oneof(
      fc.constant(0),
      fc.nat(12).map((count) => count * unit),
    ),
    segments: fc.array(fc.record({ len: units, gap: units, isOutside: fc.constant(false) }), {
      minLength: 1,
      maxLength: 12,
    }),
    copy: policies,
  });
}

/** Ops of one batch run at the same time, on ranges that share no byte. */
export const opCases: fc.Arbitrary<readonly OpCase[]> = fc
  .constantFrom(0, 0, 4, 64, 512, 4096)
  .chain((unit) =>
    fc.array(unit === 0 ? raggedOps : alignedOps(unit), { minLength: 1, maxLength: 8 }),
  );

interface Op {
  readonly isWrite: boolean;
  readonly position: number;
  readonly views: readonly Uint8Array[];
  readonly bytes: number;
  readonly copy: CopyPolicy;
}

async function transfer(disk: Disk, { isWrite, position, views, copy }: Op): Promise<number> {
  if (isWrite) return (await disk.writev(views, position, { copy })).bytesWritten;
  return (await disk.readv(views, position, { copy })).bytesRead;
}

/** Bytes and events of all transfers of this process, by name: shows that nothing was left out. */
export const seen: Record<string, number> = {};

export function note(disk: Disk): void {
  const { copiedByReason, bytesMapped: mapped, splits, merges, requeues } = disk.stats();
  const { bytesReadBeforeWrite: readBeforeWrite } = disk.stats();
  const counts = { ...copiedByReason, mapped, splits, merges, requeues, readBeforeWrite };
  for (const [name, count] of Object.entries(counts)) seen[name] = (seen[name] ?? 0) + count;
}

/** The program, its memory and what the disk must hold. */
export class PathModel {
  readonly disk: Uint8Array;
  readonly heap: ArenaBuffer;
  readonly #shadow: Uint8Array;
  #outside: { readonly bytes: Uint8Array; readonly shadow: Uint8Array }[] = [];
  #used = 0;
  #seed: number;

  constructor(arena: Arena, seed: number, diskBytes = DISK_BYTES) {
    this.#seed = seed;
    this.disk = new Uint8Array(diskBytes);
    this.heap = arena.alloc(HEAP_BYTES, 'heap');
    this.#noise(this.heap.bytes);
    this.#shadow = new Uint8Array(this.heap.bytes);
  }

  #noise(bytes: Uint8Array): void {
    this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) >>> 0;
    const start = this.#seed % (NOISE.length - HEAP_BYTES);
    bytes.set(NOISE.subarray(start, start + bytes.length));
  }

  /** Lays the memory of a batch out and puts fresh bytes into what will be written. */
  plan(cases: readonly OpCase[]): Op[] {
    this.#used = 0;
    this.#outside = [];
    const ops: Op[] = [];
    let position = 0;
    for (const { isWrite, skip, segments, copy } of cases) {
      position += skip;
      const views: Uint8Array[] = [];
      let bytes = 0;
      for (const segment of segments) {
        const len = Math.min(segment.len, this.disk.length - position - bytes);
        const view = segment.isOutside ? this.#makeOutside(len) : this.#takeHeap(segment.gap, len);
        views.push(view);
        bytes += view.length;
      }
      if (position + bytes > this.disk.length) break;
      if (isWrite) for (const view of views) this.#noise(view);
      ops.push({ isWrite, position, views, bytes, copy });
      position += bytes;
    }
    this.#shadow.set(this.heap.bytes);
    for (const { bytes, shadow } of this.#outside) shadow.set(bytes);
    return ops;
  }

  #takeHeap(gap: number, len: number): Uint8Array {
    const start = Math.min(this.#used + gap, HEAP_BYTES);
    const end = Math.min(start + Math.max(len, 0), HEAP_BYTES);
    this.#used = end;
    return this.heap.bytes.subarray(start, end);
  }

  /** In the middle of an array, with bytes around that nobody may touch. */
  #makeOutside(len: number): Uint8Array {
    const bytes = new Uint8Array(Math.max(len, 0) + 8);
    this.#noise(bytes);
    this.#outside.push({ bytes, shadow: new Uint8Array(bytes.length) });
    return bytes.subarray(3, bytes.length - 5);
  }

  /** Runs a batch at once and checks every byte of the program's memory. */
  async run(disk: Disk, ops: readonly Op[]): Promise<void> {
    const results = await Promise.all(ops.map((op) => transfer(disk, op)));
    for (const [i, op] of ops.entries()) {
      assert.equal(results[i], op.bytes, 'a transfer is short');
      this.#apply(op);
    }
    this.#checkMemory();
  }

  #checkMemory(): void {
    assert.equal(Buffer.compare(this.heap.bytes, this.#shadow), 0, 'the heap is wrong');
    for (const { bytes, shadow } of this.#outside) {
      assert.equal(Buffer.compare(bytes, shadow), 0, 'memory of the outside is wrong');
    }
  }

  #apply({ isWrite, position, views }: Op): void {
    let at = position;
    for (const view of views) {
      if (isWrite) this.disk.set(view, at);
      else this.#shadowOf(view).set(this.disk.subarray(at, at + view.length));
      at += view.length;
    }
  }

  /** The same range of the copy of what `view` lies in. */
  #shadowOf(view: Uint8Array): Uint8Array {
    const outside = this.#outside.find(({ bytes }) => bytes.buffer === view.buffer);
    if (outside !== undefined) return outside.shadow.subarray(3, 3 + view.length);
    const start = view.byteOffset - this.heap.bytes.byteOffset;
    return this.#shadow.subarray(start, start + view.length);
  }

  /**
   * Runs a batch of which some may fail. Memory that is read into after a failure has old and new
   * bytes mixed, a range whose write failed too; whatever no transfer names must stay.
   */
  async runFailing(disk: Disk, ops: readonly Op[], medium: () => Uint8Array): Promise<void> {
    const results = await Promise.allSettled(ops.map((op) => transfer(disk, op)));
    for (const [i, op] of ops.entries()) {
      const result = results[i];
      if (result.status === 'fulfilled') {
        assert.equal(result.value, op.bytes, 'a transfer is short');
        this.#apply(op);
      } else if (op.isWrite) {
        assert.ok(['EIO', 'EAGAIN'].includes(result.reason.code), String(result.reason));
        this.#checkMixed(op, medium());
      } else {
        this.#checkRead(op);
      }
    }
    this.#checkMemory();
  }

  /** Of a failed write: each byte of its range is the old one or the new one. */
  #checkMixed({ position, views }: Op, medium: Uint8Array): void {
    let at = position;
    for (const view of views) {
      for (let i = 0; i < view.length; i++, at++) {
        assert.ok(medium[at] === this.disk[at] || medium[at] === view[i], 'a byte of nobody');
        this.disk[at] = medium[at];
      }
    }
  }

  /** Of a failed read: each byte of the memory is the old one or that of the disk. */
  #checkRead({ position, views }: Op): void {
    let at = position;
    for (const view of views) {
      const shadow = this.#shadowOf(view);
      for (let i = 0; i < view.length; i++, at++) {
        assert.ok(view[i] === shadow[i] || view[i] === this.disk[at], 'a byte of nobody');
        shadow[i] = view[i];
      }
    }
  }

  async checkDisk(disk: Disk): Promise<void> {
    const all = new Uint8Array(this.disk.length);
    const { bytesRead } = await disk.read(all, { position: 0 });
    assert.equal(bytesRead, all.length);
    assert.equal(Buffer.compare(all, this.disk), 0, 'the disk is wrong');
  }
}
