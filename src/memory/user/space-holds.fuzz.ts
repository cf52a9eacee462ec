// Pins and references that devices have on the memory of the processes in a random life.

import assert from 'node:assert/strict';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import { copyIn } from '../copy.ts';
import { dirtyRange, getPages, isDirty, maybePinned, putPages, unpinPages } from '../holds.ts';
import { Protection } from './area.ts';
import { PinFlag, tryPinUserPages } from './pin-user-pages.ts';
import { type Cell, type ModelSpace, zeroCell } from './space-model.fuzz.ts';
import type { Step } from './space-step.fuzz.ts';
import type { UserMemory } from './user-memory.ts';
import type { UserSpace } from './user-space.ts';
import { frameBytes, type KnownHolds } from './verify-memory.fuzz.ts';

const { READ, WRITE } = Protection;
const PINS_MAX = 8;
const REFERENCES_MAX = 6;

export interface Process {
  readonly space: UserSpace;
  readonly model: ModelSpace;
}

interface Pin {
  readonly page: number;
  /** What the device sees and writes, wherever the process has gone. */
  readonly cell: Cell;
  readonly writes: boolean;
}

export class SpaceHolds {
  readonly #memory: UserMemory;
  readonly #pins: Pin[] = [];
  readonly #references: number[] = [];

  constructor(memory: UserMemory) {
    this.#memory = memory;
  }

  known(): KnownHolds {
    return { references: this.#references, pins: this.#pins.map(({ page }) => page) };
  }

  verify(): void {
    for (const { page, cell } of this.#pins) {
      const difference = Buffer.compare(frameBytes(page), cell.bytes);
      assert.equal(difference, 0, 'a pinned page has other bytes');
    }
  }

  pin({ space, model }: Process, vpn: number, count: number, writes: boolean): void {
    if (this.#pins.length > PINS_MAX) return;
    const out = new Uint32Array(count);
    const flags = writes ? PinFlag.WRITE : 0;
    const need = writes ? WRITE : READ;
    const got = tryPinUserPages(space, vpn * PAGE_BYTES, count, flags, out, 0);
    assert.notEqual(got, 0);
    if (got === -Errno.EFAULT) assert.ok(!model.allows(vpn, need), 'refused without a reason');
    for (let i = 0; i < got; i++) {
      const page = out[i] as number;
      assert.ok(model.allows(vpn + i, need), 'pinned what is forbidden');
      this.#pins.push({ page, cell: this.#cellOf(model, vpn + i, page, writes), writes });
    }
  }

  /** A device writes into a page that is pinned for it, whoever has it now. */
  device(step: Step): void {
    const pin = this.#pins[step.value % Math.max(this.#pins.length, 1)];
    if (pin === undefined || !pin.writes) return;
    const offset = step.offset - (step.offset % 16);
    const bytes = new Uint8Array(16).fill(step.value);
    copyIn(pin.page, offset, bytes, 0, 16);
    pin.cell.bytes.set(bytes, offset);
  }

  unpin(which: number): void {
    const [pin] = this.#pins.splice(which % Math.max(this.#pins.length, 1), 1);
    if (pin === undefined) return;
    assert.equal(maybePinned(pin.page), pin.page !== this.#memory.zeroPage);
    if (pin.writes) {
      dirtyRange(pin.page, 0, PAGE_BYTES);
      assert.ok(isDirty(pin.page));
    }
    unpinPages(pin.page, 1);
  }

  get(space: UserSpace, addr: number): void {
    if (this.#references.length > REFERENCES_MAX) return;
    const page = space.pageAt(addr, Access.READ);
    if (page < 0) return;
    assert.equal(getPages(page, 1), 1);
    this.#references.push(page);
  }

  put(which: number): void {
    const [page] = this.#references.splice(which % Math.max(this.#references.length, 1), 1);
    if (page !== undefined) putPages(page, 1);
  }

  end(): void {
    while (this.#pins.length > 0) this.unpin(0);
    while (this.#references.length > 0) this.put(0);
  }

  /** The zero page is nobody's; a page of a file stays the file's if it is only read. */
  #cellOf(model: ModelSpace, vpn: number, page: number, writes: boolean): Cell {
    if (page === this.#memory.zeroPage) return zeroCell();
    const isOwn = model.pages.get(vpn)?.object === null;
    return writes || isOwn ? model.written(vpn) : model.seen(vpn);
  }
}
