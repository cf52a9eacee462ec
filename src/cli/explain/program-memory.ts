import { BlockError } from '../../base/block-error.ts';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES, pagesSpanned, roundDown } from '../../base/units.ts';
import { Iovec } from '../../iter/iovec.ts';
import { Access, MappedSpace } from '../../memory/address-space.ts';
import type { Arena } from '../../memory/arena.ts';
import { copyIn, copyOut } from '../../memory/copy.ts';
import type { AddressRange } from '../arguments.ts';
import { UsageError } from '../exit-code.ts';

/** A range of the program, and how it lies in the machine. */
export interface PlacedRange extends AddressRange {
  readonly pages: number;
  /** Physically contiguous pieces. */
  readonly fragments: number;
}

/** The next odd number from here is at 0.618 of a power of two: near neighbours land far apart. */
const GOLDEN = 0.618;

/**
 * The memory of an imagined program: its ranges at the addresses that it names, over real page
 * frames. Scattered as in a machine that has run for long (the same way each time), or contiguous.
 */
export class ProgramMemory {
  readonly space = new MappedSpace();
  readonly iovec: Iovec;
  readonly ranges: readonly PlacedRange[];
  readonly bytes: number;

  /** `others`: memory that is there, but no part of the transfer. */
  constructor(
    arena: Arena,
    ranges: readonly AddressRange[],
    isContiguous: boolean,
    others: readonly AddressRange[] = [],
  ) {
    this.iovec = new Iovec(Math.min(Math.max(ranges.length, 1), 1024));
    const bases = ranges.map((range) => range.addr);
    const lens = ranges.map((range) => range.bytes);
    const bytes = this.iovec.importRanges(bases, lens, ranges.length);
    if (bytes === -Errno.EFAULT) throw new UsageError('--iov: no program has such an address');
    if (bytes < 0) throw new UsageError('--iov: at most 1024 ranges');
    this.bytes = bytes;
    const numbers = pageNumbers([...ranges, ...others]);
    if (isContiguous) this.#placeRuns(arena, numbers);
    else this.#scatter(arena, numbers);
    this.ranges = ranges.map((range) => this.#place(range));
  }

  /** Page numbers that are neighbours become one run of frames, with a gap behind it. */
  #placeRuns(arena: Arena, numbers: readonly number[]): void {
    for (let first = 0; first < numbers.length; ) {
      let end = first + 1;
      while (numbers[end] === numbers[end - 1] + 1) end++;
      const run = arena.alloc((end - first + 1) * PAGE_BYTES, 'program memory');
      for (let i = first; i < end; i++) {
        this.space.map(numbers[i] * PAGE_BYTES, run.page + i - first);
      }
      first = end;
    }
  }

  /** 4 pages in a field of 64 frames: 0, 39, 14, 53. */
  #scatter(arena: Arena, numbers: readonly number[]): void {
    const field = Math.max(2 ** Math.ceil(Math.log2(numbers.length * 2)), 64);
    const stride = Math.floor((field * GOLDEN) / 2) * 2 + 1;
    const { firstPage } = arena.region;
    for (let i = 0; i < numbers.length; i++) {
      const frame = (i * stride) % field;
      if (!arena.claimFolio(frame, 0)) {
        const reason = `page frame ${frame} of arena '${arena.label}' is taken`;
        throw new BlockError('ENOMEM', { reason });
      }
      this.space.map(numbers[i] * PAGE_BYTES, firstPage + frame);
    }
  }

  #place(range: AddressRange): PlacedRange {
    const pages = pagesSpanned(range.addr, range.bytes);
    const first = roundDown(range.addr, PAGE_BYTES);
    let fragments = 0;
    let last = Number.NaN;
    for (let i = 0; i < pages; i++) {
      const page = this.space.pageAt(first + i * PAGE_BYTES, Access.READ);
      if (page !== last + 1) fragments++;
      last = page;
    }
    return { ...range, pages, fragments };
  }

  /** Puts `bytes` into the ranges, in their order. */
  fill(bytes: Uint8Array): void {
    this.#walk((page, offset, at, length) => copyIn(page, offset, bytes, at, length));
  }

  /** What the ranges hold, in their order. */
  contents(): Uint8Array {
    const out = new Uint8Array(this.bytes);
    this.#walk((page, offset, at, length) => copyOut(out, at, page, offset, length));
    return out;
  }

  #walk(visit: (page: number, offset: number, at: number, length: number) => void): void {
    let at = 0;
    for (const { addr, bytes } of this.ranges) {
      for (let done = 0; done < bytes; ) {
        const offset = (addr + done) % PAGE_BYTES;
        const length = Math.min(PAGE_BYTES - offset, bytes - done);
        visit(this.space.pageAt(addr + done, Access.WRITE), offset, at, length);
        at += length;
        done += length;
      }
    }
  }
}

/** Pages under the ranges, each once, in order. */
function pageNumbers(ranges: readonly AddressRange[]): number[] {
  const numbers = new Set<number>();
  for (const { addr, bytes } of ranges) {
    const first = Math.floor(addr / PAGE_BYTES);
    const count = pagesSpanned(addr, bytes);
    for (let i = 0; i < count; i++) numbers.add(first + i);
  }
  return [...numbers].sort((a, b) => a - b);
}

/** Two ranges share bytes, so a read leaves in them what came last. */
export function overlap(ranges: readonly AddressRange[]): boolean {
  const sorted = ranges.filter(({ bytes }) => bytes > 0).sort((a, b) => a.addr - b.addr);
  return sorted.some((range, i) => {
    const next = sorted[i + 1];
    return next !== undefined && range.addr + range.bytes > next.addr;
  });
}
