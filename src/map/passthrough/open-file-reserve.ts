import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { zeroPages } from '../../memory/copy.ts';
import type { FolioSource } from './passthrough-context.ts';
import { RequestMemory } from './request-memory.ts';

/** Bytes of a reserve, and of the folios that it is made of (Linux: SG_SCATTER_SZ). */
export const RESERVE_BYTES = 8 * PAGE_BYTES;
const ELEMENT_ORDER = 3;
/** Lengths are rounded up to this. */
const SECTOR = 512;

/** Where a command through an open file gets pages for its data from. */
export interface RequestMemorySource {
  /**
   * Pages for `bytes`, or a negative errno. `isMmap`: the program sees the reserve itself, so no
   * other pages will do.
   */
  take(bytes: number, isMmap: boolean): RequestMemory | number;
  /** Pre: no request uses them. */
  giveBack(memory: RequestMemory): void;
}

/**
 * Pages that belong to one open file, for one command at a time; others at the same time get pages
 * of their own. Linux: Sg_fd.reserve, sg_build_indirect(), drivers/scsi/sg.c.
 */
export class OpenFileReserve implements RequestMemorySource {
  readonly #folios: FolioSource;
  readonly #elementsMax: number;
  readonly #reserve: RequestMemory;
  #isTaken = false;
  #private = 0;

  /** `elementsMax`: folios that one command may have. */
  constructor(folios: FolioSource, bytes: number, elementsMax: number) {
    this.#folios = folios;
    this.#elementsMax = elementsMax;
    const reserve = this.#build(bytes);
    // Without memory now the file has no reserve, and each command tries for itself.
    this.#reserve = reserve ?? new RequestMemory(new Uint32Array(0), 0);
  }

  get bytes(): number {
    return this.#reserve.bytes;
  }

  get isTaken(): boolean {
    return this.#isTaken;
  }

  take(bytes: number, isMmap: boolean): RequestMemory | number {
    if (bytes <= this.bytes && !this.#isTaken) {
      this.#isTaken = true;
      this.#reserve.offset = 0;
      return this.#reserve;
    }
    if (isMmap) return bytes > this.bytes ? -Errno.ENOMEM : -Errno.EBUSY;
    const memory = this.#build(bytes);
    if (memory === null) return -Errno.ENOMEM;
    this.#private++;
    return memory;
  }

  giveBack(memory: RequestMemory): void {
    memory.isNullMapped = false;
    memory.isFromUser = false;
    if (memory === this.#reserve) {
      assert(this.#isTaken, 'file reserve: given back twice');
      this.#isTaken = false;
      return;
    }
    assert(this.#private > 0, 'file reserve: pages of somebody else');
    this.#private--;
    this.#free(memory.pages, memory.entries);
  }

  /** The file is closed. Pre: no command is under way. */
  [Symbol.dispose](): void {
    assert(!this.#isTaken && this.#private === 0, 'file reserve: closed with commands under way');
    this.#free(this.#reserve.pages, this.#reserve.entries);
    this.#reserve.entries = 0;
  }

  /** Folios of one order for all, cleared: of 32 KiB if there are, else of less. */
  #build(bytes: number): RequestMemory | null {
    const whole = Math.ceil(Math.max(bytes, 1) / SECTOR) * SECTOR;
    for (let order = ELEMENT_ORDER; order >= 0; order--) {
      const entries = Math.ceil(whole / (2 ** order * PAGE_BYTES));
      if (entries > this.#elementsMax) return null;
      const pages = new Uint32Array(entries);
      let got = 0;
      while (got < entries) {
        const page = this.#folios.getFolio(order);
        if (page < 0) break;
        zeroPages(page, 0, 2 ** order * PAGE_BYTES);
        pages[got++] = page;
      }
      if (got === entries) return new RequestMemory(pages, order);
      this.#free(pages, got);
    }
    return null;
  }

  #free(pages: Uint32Array, count: number): void {
    for (let i = 0; i < count; i++) this.#folios.putFolio(pages[i]);
  }
}
