// Random iterators over random memory, and a second opinion: the same bytes translated one by one,
// without any of the code under test.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import { Access } from '../memory/address-space.ts';
import { Arena } from '../memory/arena.ts';
import { copyPages } from '../memory/copy.ts';
import { folioHead, pinCount, refCount } from '../memory/holds.ts';
import { FaultSpace } from './fault-space.fuzz.ts';
import { IovIter, IterDirection, IterKind } from './iov-iter.ts';
import { Iovec } from './iovec.ts';
import { HOLE } from './page-source.ts';

export { RUNS } from '../base/runs.fuzz.ts';

/** Address of the first mapped page of a USER case. */
const SPACE_BASE = 0x10000;
/** Byte under an absent page, a hole, or a page that must be waited for or forbids the access. */
export const FAULT = -1;
/** Bytes of the outside have an address below this: OUTSIDE_TOP - (segment * 2^20 + offset). */
export const OUTSIDE_TOP = -2;

export interface SegmentCase {
  readonly page: number;
  readonly offset: number;
  readonly len: number;
  /** Starts where the segment before ends. */
  readonly follows: boolean;
  readonly outside: boolean;
  /** BVEC rows: written relative to the head of the folio. */
  readonly raw: boolean;
}

export interface PageCase {
  /** Jump to this frame instead of the next one. */
  readonly jump: number | null;
  /** 'shared': a write goes to a copy, the frame before it. */
  readonly state: 'present' | 'absent' | 'read-only' | 'wait' | 'shared';
}

export interface IterCase {
  readonly kind: IterKind;
  readonly direction: IterDirection;
  readonly orders: readonly number[];
  readonly pages: readonly PageCase[];
  readonly segments: readonly SegmentCase[];
  /** Share of the bytes, 0..1000, that is behind at the start, and that is cut off the end. */
  readonly behind: number;
  readonly cut: number;
  /** USER: pages that the space gives at once, at most. */
  readonly atOnce: number;
}

const offsetArb = fc.oneof(
  fc.constantFrom(0, 0, 0, 1, 512, 2048, 4095),
  fc.integer({ min: 0, max: PAGE_BYTES - 1 }),
);
const lenArb = fc.oneof(
  fc.constantFrom(0, 0, 1, 511, 512, 4095, 4096, 4097, 8192, 12288),
  fc.integer({ min: 1, max: 9000 }),
);
const shareArb = fc.oneof(fc.constantFrom(0, 0, 0, 1, 500, 999), fc.integer({ min: 0, max: 1000 }));

export interface CaseOptions {
  readonly kinds?: readonly IterKind[];
  readonly faults?: boolean;
  readonly outside?: boolean;
  readonly direction?: IterDirection;
  /** USER pages that must be waited for or are shared, and spaces that give a few at once. */
  readonly waits?: boolean;
}

const { BYTES, USER, BVEC, KERNEL, PAGES } = IterKind;
const PROGRAM_KINDS = [BYTES, USER, BVEC, PAGES] as const;
const EVERY_KIND = [BYTES, USER, USER, BVEC, KERNEL, PAGES] as const;
const FAULTS = ['absent', 'read-only', 'present'] as const;
const WAITS = ['wait', 'shared'] as const;
const ALL = Number.POSITIVE_INFINITY;

/** Every kind, and every way in which a space may answer. */
export function everyCase(options: CaseOptions = {}): fc.Arbitrary<IterCase> {
  return iterCases({ kinds: EVERY_KIND, waits: true, ...options });
}

export function iterCases(options: CaseOptions = {}): fc.Arbitrary<IterCase> {
  const waits = options.waits === true;
  const faults = waits ? [...FAULTS, ...WAITS] : FAULTS;
  const states = options.faults === false ? ['present'] : faults;
  const directions = options.direction === undefined ? [0, 1] : [options.direction];
  const state = fc.oneof(
    { weight: 6, arbitrary: fc.constant('present') },
    { weight: 1, arbitrary: fc.constantFrom(...states) },
  ) as fc.Arbitrary<PageCase['state']>;
  const outside = options.outside === false ? fc.constant(false) : sometimes(5);
  return fc.record({
    kind: fc.constantFrom(...(options.kinds ?? PROGRAM_KINDS)),
    direction: fc.constantFrom(...directions) as fc.Arbitrary<IterDirection>,
    orders: fc.array(fc.constantFrom(0, 0, 0, 1, 2, 3), { minLength: 2, maxLength: 6 }),
    pages: fc.array(fc.record({ jump: fc.option(fc.nat(40), { freq: 2 }), state }), {
      minLength: 2,
      maxLength: 10,
    }),
    segments: fc.array(
      fc.record({
        page: fc.nat(10),
        offset: offsetArb,
        len: lenArb,
        follows: sometimes(3),
        outside,
        raw: fc.boolean(),
      }),
      { minLength: 0, maxLength: 6 },
    ),
    behind: shareArb,
    cut: shareArb,
    atOnce: waits ? fc.constantFrom(1, 2, 5, ALL, ALL) : fc.constant(ALL),
  });
}

function sometimes(inverse: number): fc.Arbitrary<boolean> {
  return fc.nat(inverse - 1).map((value) => value === 0);
}

/** One arena for all cases of a process: each case gives everything back. */
export const arena = new Arena({ maxBytes: 16 * 2 ** 20, label: 'iter cases', places: false });

/** Memory and an armed iterator for one case, and the address of every byte of it. */
export class IterWorld {
  readonly iter = new IovIter();
  /** Every frame that the case owns, ascending. */
  readonly frames: number[] = [];
  /** Physical address (or FAULT, or outside) and segment of each byte from the case's start. */
  readonly addr: number[] = [];
  readonly seg: number[] = [];
  /** Bytes of it that were behind when the iterator was armed. */
  readonly start: number;
  readonly views: (Uint8Array | null)[] = [];
  readonly access: Access;
  readonly #heads: number[] = [];
  readonly #lens: number[] = [];
  readonly space = new FaultSpace();
  /** Virtual pages, or file pages, that must be waited for. */
  readonly #waits = new Set<number>();

  constructor(given: IterCase) {
    for (const order of given.orders) {
      const head = arena.getFolio(order);
      assert.ok(head >= 0);
      this.#heads.push(head);
      for (let i = 0; i < 2 ** order; i++) this.frames.push(head + i);
    }
    this.frames.sort((a, b) => a - b);
    for (const frame of this.frames) this.#scribble(frame);
    this.access = given.direction === IterDirection.DEST ? Access.WRITE : Access.READ;
    this.space.atOnceMost = given.atOnce;
    if (given.kind === USER || given.kind === KERNEL) this.#armUser(given);
    else if (given.kind === IterKind.PAGES) this.#armPages(given);
    else this.#armOwn(given);
    const total = this.iter.count;
    this.iter.truncate(total - Math.floor((total * given.cut) / 1000));
    this.addr.length = this.iter.count;
    this.seg.length = this.iter.count;
    this.start = Math.floor((this.iter.count * given.behind) / 1000);
    this.iter.advance(this.start);
  }

  /** Bytes consumed since the case's start: equal places answer the same. */
  get place(): number {
    const { iter } = this;
    if (iter.kind === IterKind.PAGES) return iter.offset;
    let bytes = iter.offset;
    for (let i = 0; i < iter.index; i++) bytes += this.#lens[i] as number;
    return bytes;
  }

  /** What asking for the faulting byte `at` answers. */
  errorAt(at: number): number {
    if (this.iter.kind !== IterKind.USER) return -Errno.EFAULT;
    const first = this.seg.indexOf(this.seg[at] as number);
    const base = this.iter.iovec.base[this.seg[at] as number] as number;
    const page = Math.floor((base + at - first) / PAGE_BYTES);
    return this.#waits.has(page) ? -Errno.EAGAIN : -Errno.EFAULT;
  }

  get left(): number {
    return this.addr.length - this.place;
  }

  readAt(address: number): number {
    if (address <= OUTSIDE_TOP) {
      const at = OUTSIDE_TOP - address;
      return (this.views[Math.floor(at / 2 ** 20)] as Uint8Array)[at % 2 ** 20] as number;
    }
    return arena.region.u8[address - arena.region.firstPage * PAGE_BYTES] as number;
  }

  /** Every byte of the case's memory, inside and outside. */
  contents(): Map<number, Uint8Array> {
    const all = new Map<number, Uint8Array>();
    const base = arena.region.firstPage;
    for (const frame of this.frames) {
      const at = (frame - base) * PAGE_BYTES;
      all.set(frame * PAGE_BYTES, arena.region.u8.slice(at, at + PAGE_BYTES));
    }
    for (const [i, view] of this.views.entries()) {
      if (view !== null) all.set(OUTSIDE_TOP - i * 2 ** 20, view.slice());
    }
    return all;
  }

  /** Pins and references by folio, and refuses folios that the case does not know. */
  holds(): { pins: number[]; refs: number[] } {
    return {
      pins: this.#heads.map((head) => pinCount(head)),
      refs: this.#heads.map((head) => refCount(head) - 1),
    };
  }

  /** The same from a list of held pages, one entry a hold. */
  holdsOf(pages: readonly number[]): number[] {
    const counts = this.#heads.map(() => 0);
    for (const page of pages) {
      const folio = this.#heads.indexOf(folioHead(page));
      counts[folio] = (counts[folio] as number) + 1;
    }
    return counts;
  }

  [Symbol.dispose](): void {
    this.iter.clear();
    for (const head of this.#heads) arena.putFolio(head);
    arena.assertNothingOutstanding();
  }

  #scribble(frame: number): void {
    const at = (frame - arena.region.firstPage) * PAGE_BYTES;
    const words = new Uint32Array(arena.region.u8.buffer, at, PAGE_BYTES / 4);
    for (let i = 0; i < words.length; i++) words[i] = Math.imul(frame * 1024 + i + 1, 2654435761);
  }

  #armUser(given: IterCase): void {
    const mapped = this.#mapPages(given);
    const end = SPACE_BASE + mapped.length * PAGE_BYTES;
    const bases: number[] = [];
    let next = SPACE_BASE;
    for (const [i, segment] of given.segments.entries()) {
      const first = SPACE_BASE + (segment.page % mapped.length) * PAGE_BYTES + segment.offset;
      const base = segment.follows ? next : first;
      const len = Math.min(segment.len, end - base);
      bases.push(base);
      this.#lens.push(len);
      next = base + len;
      for (let at = base; at < next; at++) {
        const frame = mapped[Math.floor((at - SPACE_BASE) / PAGE_BYTES)] as number;
        this.#byte(frame < 0 ? FAULT : frame * PAGE_BYTES + (at % PAGE_BYTES), i);
      }
    }
    const iovec = new Iovec();
    assert.equal(iovec.importRanges(bases, this.#lens, bases.length), this.addr.length);
    if (given.kind === KERNEL) this.iter.initKernel(given.direction, this.space, iovec);
    else if (bases.length === 1) {
      const [base = 0] = bases;
      this.iter.initUserRange(given.direction, this.space, base, this.#lens[0] as number);
    } else {
      this.iter.initUser(given.direction, this.space, iovec);
    }
  }

  /** Frame of each virtual page for this access, or FAULT. */
  #mapPages(given: IterCase): number[] {
    const own = [...this.frames]; // Copies for shared pages are mapped once, and come later.
    let frame = 0;
    return given.pages.map(({ jump, state }, i) => {
      frame = (jump ?? frame + 1) % own.length;
      const page = own[frame] as number;
      const isThere = given.kind === KERNEL || (given.kind === PAGES && state !== 'absent');
      if (isThere) this.space.map(pageAddress(i), { frame: page });
      if (isThere || state === 'absent') return isThere ? page : FAULT;
      return this.#mapUser(pageAddress(i), page, state);
    });
  }

  #mapUser(addr: number, frame: number, state: PageCase['state']): number {
    const isWrite = this.access === Access.WRITE;
    const readOnly = state === 'read-only';
    const waits = state === 'wait' ? Number.POSITIVE_INFINITY : 0;
    if (waits > 0) this.#waits.add(addr / PAGE_BYTES);
    // Reads that pin get a copy too: a test of its own. Here a read finds the page as it is.
    if (state !== 'shared' || !isWrite) {
      this.space.map(addr, { frame, readOnly, waits });
      return waits > 0 || (isWrite && readOnly) ? FAULT : frame;
    }
    // Neither is mapped anywhere else: a shared page is writable nowhere.
    const copyTo = this.#copyOf(frame);
    this.space.map(addr, { frame: this.#copyOf(frame), copyTo });
    return copyTo;
  }

  /** A frame of its own with the same contents. */
  #copyOf(frame: number): number {
    const copy = arena.getFolio(0);
    assert.ok(copy >= 0);
    this.#heads.push(copy);
    this.frames.push(copy);
    this.frames.sort((a, b) => a - b);
    copyPages(copy, 0, frame, 0, PAGE_BYTES);
    return copy;
  }

  #armPages(given: IterCase): void {
    const mapped = this.#mapPages(given);
    const first = given.segments[0];
    const position = ((first?.page ?? 0) % mapped.length) * PAGE_BYTES + (first?.offset ?? 0);
    let wanted = 0;
    for (const { len } of given.segments) wanted += len;
    const count = Math.min(wanted, mapped.length * PAGE_BYTES - position);
    for (let at = position; at < position + count; at++) {
      const frame = mapped[Math.floor(at / PAGE_BYTES)] as number;
      this.#byte(frame < 0 ? FAULT : frame * PAGE_BYTES + (at % PAGE_BYTES), 0);
    }
    const source = { pageAt: (index: number): number => mapped[index] ?? HOLE };
    this.iter.initPages(given.direction, source, position, count);
  }

  /** BYTES and BVEC: ranges of the case's own frames, and for BYTES arrays of the outside. */
  #armOwn(given: IterCase): void {
    const isBvec = given.kind === IterKind.BVEC;
    const starts: number[] = [];
    let next = -1;
    for (const [i, segment] of given.segments.entries()) {
      const isOutside = segment.outside && !isBvec;
      const wanted = isBvec ? Math.max(segment.len, 1) : segment.len;
      const frame = this.frames[segment.page % this.frames.length] as number;
      let base = frame * PAGE_BYTES + segment.offset;
      if (segment.follows && this.#owns(next)) base = next;
      if (isOutside) base = OUTSIDE_TOP - i * 2 ** 20;
      const len = isOutside ? wanted : Math.min(wanted, this.#contiguous(base));
      starts.push(base);
      this.#lens.push(len);
      for (let k = 0; k < len; k++) this.#byte(isOutside ? base - k : base + k, i);
      next = isOutside ? -1 : base + len;
    }
    if (isBvec) this.#armBvec(given, starts);
    else this.#armBytes(given, starts);
  }

  #armBvec(given: IterCase, starts: readonly number[]): void {
    const table = new BvecTable(Math.max(1, starts.length));
    for (const [i, start] of starts.entries()) {
      const page = Math.floor(start / PAGE_BYTES);
      const base = given.segments[i]?.raw === true ? folioHead(page) : page;
      table.set(i, base, start - base * PAGE_BYTES, this.#lens[i] as number, 0);
    }
    const count = this.addr.length;
    this.iter.initBvec(given.direction, table, 0, starts.length, 0, count);
  }

  #armBytes(given: IterCase, starts: readonly number[]): void {
    for (const [i, start] of starts.entries()) {
      const len = this.#lens[i] as number;
      const isOutside = start <= OUTSIDE_TOP;
      this.views.push(isOutside ? Uint8Array.from({ length: len }, (_, k) => k * 7 + i) : null);
    }
    const iovec = new Iovec();
    const base = arena.region.firstPage * PAGE_BYTES;
    const views = starts.map((start, i) => {
      const own = this.views[i];
      if (own !== null && own !== undefined) return own;
      return new Uint8Array(arena.region.u8.buffer, start - base, this.#lens[i] as number);
    });
    assert.equal(iovec.importViews(views), this.addr.length);
    if (views.length === 1) this.iter.initView(given.direction, views[0] as Uint8Array);
    else this.iter.initBytes(given.direction, iovec);
  }

  #byte(address: number, segment: number): void {
    this.addr.push(address);
    this.seg.push(segment);
  }

  #owns(address: number): boolean {
    return address >= 0 && this.frames.includes(Math.floor(address / PAGE_BYTES));
  }

  /** Bytes from `address` to the end of the run of frames that the case owns. */
  #contiguous(address: number): number {
    let frame = Math.floor(address / PAGE_BYTES);
    while (this.frames.includes(frame + 1)) frame++;
    return (frame + 1) * PAGE_BYTES - address;
  }
}

function pageAddress(index: number): number {
  return SPACE_BASE + index * PAGE_BYTES;
}
