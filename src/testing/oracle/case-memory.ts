import { BlockError } from '../../base/block-error.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { ADDRESS_END, type Iovec } from '../../iter/iovec.ts';
import { MappedSpace } from '../../memory/address-space.ts';
import type { Arena } from '../../memory/arena.ts';
import { REGION_FRAMES } from '../../memory/region.unsafe.ts';
import { type CaseRecord, type IovRecord, vectorsOf } from './schema.ts';

/** 2 MiB: what a vector of kind 'huge' lies in. */
export const HUGE_ORDER = 9;
const HUGE_PAGES = 2 ** HUGE_ORDER;
/** Frames that stand in for lost ones start here, every second one, so that none is adjacent. */
const STAND_IN_FIRST = 1024;
const STAND_IN_STEP = 2;

/** Frames of a region that has room for every page of `cases`, in whole 4 MiB. */
export function framesFor(cases: readonly CaseRecord[]): number {
  let most = STAND_IN_FIRST;
  for (const one of cases) {
    for (const vector of vectorsOf(one)) {
      for (const [pfn, count] of vector.pages) most = Math.max(most, pfn + count);
      if (one.pagesUnknown === true) most = Math.max(most, standInEnd(vector));
    }
    most = Math.max(most, payloadEnd(one));
  }
  const frames = Math.ceil(most / (2 * HUGE_PAGES)) * 2 * HUGE_PAGES;
  if (frames <= REGION_FRAMES) return frames;
  const reason = `the record has frame number ${most}; a replay has room for 4 GiB, 2^20 of them`;
  throw new BlockError('EINVAL', { reason });
}

/** The kernel's own buffers for metadata lie at their recorded places, too. */
function payloadEnd(one: CaseRecord): number {
  const records = (one.requests ?? []).flatMap(({ pi, deviceTuples }) => pi ?? deviceTuples ?? []);
  const vecs = records.flatMap(({ vecs }) => vecs);
  const ends = vecs.map(([pfn, offset, bytes]) => pfn + Math.ceil((offset + bytes) / PAGE_BYTES));
  return ends.reduce((most, end) => Math.max(most, end), 0);
}

function standInEnd(vector: IovRecord): number {
  const pages = Math.ceil((vector.offset + vector.length) / PAGE_BYTES);
  return 2 * STAND_IN_FIRST + STAND_IN_STEP * pages;
}

/** The physical pages of one case at their recorded places, mapped into one address space. */
export class CaseMemory {
  readonly space = new MappedSpace();
  readonly #arena: Arena;
  readonly #claimed = new Set<number>();
  #nextAddress = PAGE_BYTES;
  #nextStandIn = STAND_IN_FIRST;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  /**
   * Maps `vectors` at addresses of their own and imports them into `iovec` as a system call would:
   * bytes, or -EFAULT for an address that no program has.
   */
  mapVectors(vectors: readonly IovRecord[], iovec: Iovec): number {
    const bases = vectors.map((vector) => this.mapVector(vector));
    const lens = vectors.map((vector) => vector.length);
    return iovec.importRanges(bases, lens, vectors.length);
  }

  /** The pages under `vector`, one by one, as page numbers of this process. */
  claimPages(vector: IovRecord): number[] {
    const pages: number[] = [];
    for (const [pfn, count] of this.#runsOf(vector)) {
      for (let frame = pfn; frame < pfn + count; frame++) {
        this.#claim(frame, vector.kind === 'huge' ? HUGE_ORDER : 0);
        pages.push(this.#arena.region.firstPage + frame);
      }
    }
    return pages;
  }

  /** Pre: no pins. */
  [Symbol.dispose](): void {
    for (const frame of this.#claimed) this.#arena.putFolio(this.#arena.region.firstPage + frame);
    this.#claimed.clear();
  }

  /** Maps `vector` at an address of its own: that address. */
  mapVector(vector: IovRecord): number {
    if (vector.kind === 'null') return vector.offset; // Nothing is ever mapped in the first page.
    if (vector.kind === 'kernel-address') return ADDRESS_END + vector.offset;
    const first = this.#nextAddress;
    const pages = this.claimPages(vector);
    const readOnly = vector.kind === 'readonly';
    pages.forEach((page, index) => {
      // Without access or without a mapping: both fault, and nobody can tell which it is.
      if (index !== vector.holePage) this.space.map(first + index * PAGE_BYTES, page, { readOnly });
    });
    // One page stays unmapped between two vectors: a walk beyond the end of one must fault.
    this.#nextAddress += (Math.max(pages.length, 1) + 1) * PAGE_BYTES;
    return first + vector.offset;
  }

  #runsOf(vector: IovRecord): IovRecord['pages'] {
    const isLost = vector.pages.length === 0 && vector.length > 0;
    if (!isLost) return vector.pages;
    const pages = Math.ceil((vector.offset + vector.length) / PAGE_BYTES);
    return Array.from({ length: pages }, () => {
      const frame = this.#nextStandIn;
      this.#nextStandIn += STAND_IN_STEP;
      return [frame, 1] as const;
    });
  }

  /** The same page may stand under several vectors. */
  #claim(frame: number, order: number): void {
    const head = frame - (frame % 2 ** order);
    if (this.#claimed.has(head)) return;
    if (!this.#arena.claimFolio(head, order)) {
      const reason = `frame ${frame} of the record cannot be had as a folio of order ${order}`;
      throw new BlockError('EINVAL', { reason });
    }
    this.#claimed.add(head);
  }
}
