// A small machine with one program, for tests: two lines instead of ten.

import assert from 'node:assert/strict';
import { PAGE_BYTES } from '../../base/units.ts';
import { Arena } from '../arena.ts';
import { copyIn, copyOut } from '../copy.ts';
import { Protection } from './area.ts';
import { UserMemory, type UserMemoryOptions } from './user-memory.ts';
import type { MapOptions, UserSpace } from './user-space.ts';

export const READ_WRITE = Protection.READ | Protection.WRITE;

export class Machine {
  readonly arena: Arena;
  readonly memory: UserMemory;
  readonly space: UserSpace;

  constructor(frames = 64, options: Omit<UserMemoryOptions, 'arena'> = {}) {
    this.arena = new Arena({ maxBytes: frames * PAGE_BYTES, places: false });
    this.memory = new UserMemory({ arena: this.arena, swapPages: 64, ...options });
    this.space = this.memory.newSpace('program');
  }

  /** The address of `pages` new pages, anonymous and private unless said otherwise. */
  map(pages: number, options: Partial<MapOptions> = {}): number {
    const addr = this.space.mmap({ bytes: pages * PAGE_BYTES, protection: READ_WRITE, ...options });
    assert.ok(addr > 0);
    return addr;
  }

  /** Ends everything; nothing may be left. */
  [Symbol.dispose](): void {
    for (const space of this.memory.spaces) space?.exit();
    this.memory[Symbol.dispose]();
    this.arena.assertNothingOutstanding();
    this.arena[Symbol.dispose]();
  }
}

/** The program writes one byte. */
export function poke(space: UserSpace, addr: number, value: number): void {
  assert.equal(space.write(addr, new Uint8Array([value])), 1);
}

/** What the program reads there. */
export function peek(space: UserSpace, addr: number): number {
  const byte = new Uint8Array(1);
  assert.equal(space.read(addr, byte), 1);
  return byte[0] as number;
}

/** The frame behind `addr`, by the page table alone. */
export function frameAt(space: UserSpace, addr: number): number {
  return space.table.frameAt(Math.floor(addr / PAGE_BYTES));
}

export function bitsAt(space: UserSpace, addr: number): number {
  return space.table.bitsAt(Math.floor(addr / PAGE_BYTES));
}

/** A device writes one byte at the start of a page. */
export function deviceWrites(page: number, value: number): void {
  copyIn(page, 0, new Uint8Array([value]), 0, 1);
}

export function deviceReads(page: number): number {
  const byte = new Uint8Array(1);
  copyOut(byte, 0, page, 0, 1);
  return byte[0] as number;
}

/** Clears the accessed bits: the next reclaim may take what nobody touched since. */
export function age(space: UserSpace, addr: number, pages: number, bit: number): void {
  for (let i = 0; i < pages; i++) {
    const vpn = Math.floor(addr / PAGE_BYTES) + i;
    const bits = space.table.bitsAt(vpn);
    if (bits !== 0) space.table.setBits(vpn, bits & ~bit);
  }
}
