// What the memory of processes must hold, kept as one array of bytes for each page of each
// process: no frames, no faults, no sharing that is not visible. A cell is what a device would
// write into: two processes have the same cell only where they share memory.

import assert from 'node:assert/strict';
import { PAGE_BYTES } from '../../base/units.ts';
import { Protection } from './area.ts';

export interface Cell {
  readonly bytes: Uint8Array;
}

export function zeroCell(): Cell {
  return { bytes: new Uint8Array(PAGE_BYTES) };
}

const ZERO: Cell = zeroCell();

/** A file, or anonymous memory that processes share. */
export class ModelObject {
  readonly #cells = new Map<number, Cell>();
  readonly #initial: (index: number) => number;
  sizePages: number;

  constructor(sizePages: number, initial: (index: number) => number) {
    this.sizePages = sizePages;
    this.#initial = initial;
  }

  cell(index: number): Cell {
    let cell = this.#cells.get(index);
    if (cell === undefined) {
      cell = { bytes: new Uint8Array(PAGE_BYTES).fill(this.#initial(index)) };
      this.#cells.set(index, cell);
    }
    return cell;
  }

  /** What comes back when the file grows again is zeros. */
  truncate(sizePages: number): void {
    const before = Math.max(this.sizePages, sizePages);
    this.sizePages = sizePages;
    for (let index = sizePages; index < before; index++) this.#cells.set(index, zeroCell());
  }
}

export interface ModelPage {
  protection: number;
  readonly isShared: boolean;
  readonly object: ModelObject | null;
  readonly index: number;
  /** Private memory that was written to; null: still what the object (or zero) is. */
  cell: Cell | null;
}

export class ModelSpace {
  /** By virtual page number. */
  readonly pages = new Map<number, ModelPage>();

  map(vpn: number, count: number, page: Omit<ModelPage, 'cell'>): void {
    for (let i = 0; i < count; i++) {
      this.pages.set(vpn + i, { ...page, index: page.index + i, cell: null });
    }
  }

  unmap(vpn: number, count: number): void {
    for (let i = 0; i < count; i++) this.pages.delete(vpn + i);
  }

  /** Up to the first hole. True: there is none. */
  protect(vpn: number, count: number, protection: number): boolean {
    for (let i = 0; i < count; i++) {
      const page = this.pages.get(vpn + i);
      if (page === undefined) return false;
      page.protection = protection;
    }
    return true;
  }

  move(from: number, before: number, to: number, after: number): void {
    const moved = Array.from({ length: before }, (_, i) => this.#page(from + i));
    this.unmap(from, before);
    const last = moved[before - 1] as ModelPage;
    for (let i = 0; i < Math.max(before, after); i++) {
      if (i >= after) continue;
      assert.ok(!this.pages.has(to + i), 'moved over other memory');
      const page = moved[i] ?? { ...last, index: last.index + i - before + 1, cell: null };
      this.pages.set(to + i, page);
    }
  }

  fork(): ModelSpace {
    const child = new ModelSpace();
    for (const [vpn, page] of this.pages) {
      const cell = page.cell === null ? null : { bytes: page.cell.bytes.slice() };
      child.pages.set(vpn, { ...page, cell });
    }
    return child;
  }

  /** Private copies go with the file's pages. */
  truncated(object: ModelObject): void {
    for (const page of this.pages.values()) {
      if (page.object === object && page.index >= object.sizePages) page.cell = null;
    }
  }

  allows(vpn: number, protection: number): boolean {
    const page = this.pages.get(vpn);
    if (page === undefined || (page.protection & protection) === 0) return false;
    return page.object === null || page.index < page.object.sizePages;
  }

  /** Bytes from `addr` on that the program may touch, at most `bytes`. */
  reach(addr: number, bytes: number, protection: number): number {
    let at = addr;
    while (at < addr + bytes && this.allows(Math.floor(at / PAGE_BYTES), protection)) {
      at = (Math.floor(at / PAGE_BYTES) + 1) * PAGE_BYTES;
    }
    return Math.max(Math.min(at - addr, bytes), 0);
  }

  /** What the program sees at `vpn`. */
  seen(vpn: number): Cell {
    const page = this.#page(vpn);
    return page.cell ?? page.object?.cell(page.index) ?? ZERO;
  }

  /** Where a write of the program, or a device with a pin for write, goes. */
  written(vpn: number): Cell {
    const page = this.#page(vpn);
    if (page.isShared) return this.seen(vpn);
    page.cell ??= { bytes: this.seen(vpn).bytes.slice() };
    return page.cell;
  }

  write(addr: number, bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i++) {
      const vpn = Math.floor((addr + i) / PAGE_BYTES);
      this.written(vpn).bytes[(addr + i) % PAGE_BYTES] = bytes[i] as number;
    }
  }

  read(addr: number, bytes: number): Uint8Array {
    const out = new Uint8Array(bytes);
    for (let i = 0; i < bytes; i++) {
      const vpn = Math.floor((addr + i) / PAGE_BYTES);
      out[i] = this.seen(vpn).bytes[(addr + i) % PAGE_BYTES] as number;
    }
    return out;
  }

  isReadable(vpn: number): boolean {
    return this.allows(vpn, Protection.READ);
  }

  #page(vpn: number): ModelPage {
    const page = this.pages.get(vpn);
    assert.ok(page !== undefined, `the model has no page ${vpn}`);
    return page;
  }
}
