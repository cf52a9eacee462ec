import { PAGE_BYTES, pagesSpanned } from '../../src/base/units.ts';
import { Access, holdUserPages, UserHold } from '../../src/memory/address-space.ts';
import { unpinList } from '../../src/memory/holds.ts';
import type { Transfer } from './carrier.ts';

/**
 * The floor under every design: the pages of a transfer are pinned and unpinned, and nobody is
 * given anything. No carrier: a device learns nothing from it.
 */
export class PinsAlone {
  readonly #frames: Uint32Array;
  #count = 0;

  constructor(pagesMax: number) {
    this.#frames = new Uint32Array(pagesMax);
  }

  map({ space, addr, bytes }: Transfer): number {
    const pages = pagesSpanned(addr % PAGE_BYTES, bytes);
    const { READ } = Access;
    this.#count = holdUserPages(space, addr, pages, READ, UserHold.PIN, this.#frames, 0);
    return this.#count;
  }

  unmap(): void {
    unpinList(this.#frames, 0, this.#count);
  }
}
