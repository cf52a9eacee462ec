// A machine with one process and a file that answers faults by script, for the tests of pins.

import assert from 'node:assert/strict';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import type { Access } from '../address-space.ts';
import { Arena } from '../arena.ts';
import { folioHead, pinCount, pinTotals } from '../holds.ts';
import { type Area, type AreaOps, type FaultRequest, FaultResult, Protection } from './area.ts';
import { PinFlag, tryPinUserPages } from './pin-user-pages.ts';
import type { FolioOwner } from './user-columns.ts';
import { UserMemory } from './user-memory.ts';
import type { UserSpace } from './user-space.ts';

/** What `out` holds where nothing was written. */
export const UNTOUCHED = 0xdeadbeef;
export const { NONE, READ, WRITE } = Protection;

export interface PinWorldOptions {
  readonly pages?: number;
  /** First frame of the movable zone. */
  readonly movableFrom?: number;
  readonly swapPages?: number;
}

/** Ends with nothing outstanding, or the test fails. */
export class PinWorld {
  readonly arena: Arena;
  readonly memory: UserMemory;
  readonly space: UserSpace;
  readonly files: ScriptedFile[] = [];
  readonly #totals = { ...pinTotals };

  constructor(options: PinWorldOptions = {}) {
    this.arena = new Arena({ maxBytes: (options.pages ?? 256) * PAGE_BYTES, label: 'pin world' });
    this.memory = new UserMemory({ arena: this.arena, label: 'pin world', ...options });
    this.space = this.memory.newSpace('program');
  }

  file(pages: number, options: { readonly tracksDirty?: boolean } = {}): ScriptedFile {
    const file = new ScriptedFile(this.memory, pages, options.tracksDirty ?? false);
    this.files.push(file);
    return file;
  }

  /** Anonymous memory of the program; `touch` makes its pages present. Its address. */
  map(
    pages: number,
    options: { protection?: number; touch?: Access; order?: number } = {},
  ): number {
    const protection = options.protection ?? WRITE;
    const folioOrder = options.order ?? 0;
    const addr = this.space.mmap({ bytes: pages * PAGE_BYTES, protection, folioOrder });
    assert.ok(addr > 0);
    if (options.touch !== undefined) this.touch(addr, pages, options.touch);
    return addr;
  }

  touch(addr: number, pages: number, access: Access): void {
    for (let i = 0; i < pages; i++) {
      assert.equal(this.space.fault(addr + i * PAGE_BYTES, access, 0), 0);
    }
  }

  /** The frame that the program has at `addr`. */
  frameAt(addr: number): number {
    return this.space.table.frameAt(Math.floor(addr / PAGE_BYTES));
  }

  bitsAt(addr: number): number {
    return this.space.table.bitsAt(Math.floor(addr / PAGE_BYTES));
  }

  /** Pages pinned in this world and not released, by the totals of the process. */
  get outstandingPins(): number {
    const { acquired, released } = this.#totals;
    return pinTotals.acquired - acquired - (pinTotals.released - released);
  }

  [Symbol.dispose](): void {
    for (const space of this.memory.spaces) if (space !== null) space.exit();
    for (const file of this.files) file.dropAll();
    assert.equal(this.outstandingPins, 0, 'pins acquired and released balance');
    this.memory[Symbol.dispose]();
    this.arena.assertNothingOutstanding();
    this.arena[Symbol.dispose]();
  }
}

/** Answers of a script: a page, a wait, or a negative errno. */
export const WAIT = 'wait';
export type Answer = 'page' | typeof WAIT | number;

/** The pages of a file, all in memory; each fault may be told to wait or to fail first. */
export class ScriptedFile implements AreaOps, FolioOwner {
  readonly name = 'scripted file';
  readonly ownRefs = 1;
  readonly tracksDirty: boolean;
  readonly frames = new Map<number, number>();
  /** Answers by page, first come first; without one: the page. */
  readonly script = new Map<number, Answer[]>();
  readonly requests: { readonly index: number; readonly flags: number; readonly access: Access }[] =
    [];
  /** Folios that `dirtied` heard of. */
  readonly dirtiedPages: number[] = [];
  /** Run inside each fault, before its answer. */
  onFault: ((request: FaultRequest) => void) | null = null;
  readonly #memory: UserMemory;
  #wakes: (() => void)[] = [];

  constructor(memory: UserMemory, pages: number, tracksDirty: boolean) {
    this.#memory = memory;
    this.tracksDirty = tracksDirty;
    for (let index = 0; index < pages; index++) {
      const page = memory.allocPage({ zeroed: true, movable: true });
      assert.ok(page >= 0);
      memory.columns.owner[folioHead(page) - memory.region.firstPage] = this;
      this.frames.set(index, page);
    }
  }

  get waiting(): number {
    return this.#wakes.length;
  }

  /** Everybody who waits may ask again. */
  wakeAll(): void {
    const wakes = this.#wakes;
    this.#wakes = [];
    for (const wake of wakes) wake();
  }

  fault(space: UserSpace, area: Area, request: FaultRequest): number {
    const { index, flags, access } = request;
    this.requests.push({ index, flags, access });
    this.onFault?.(request);
    const answer = this.script.get(index)?.shift() ?? 'page';
    if (typeof answer === 'number') return answer;
    if (answer === WAIT) {
      if ((flags & 2) === 0) space.dropLock(); // RETRY_NOWAIT keeps the lock.
      request.wait = { add: (wake) => void this.#wakes.push(wake) };
      return FaultResult.RETRY;
    }
    const page = this.frames.get(index);
    if (page === undefined) return -Errno.EFAULT;
    if (!area.isIo) this.#memory.getPage(page); // Registers are not counted.
    request.page = page;
    return FaultResult.DONE;
  }

  replaced(from: number, to: number): boolean {
    for (const [index, page] of this.frames) if (page === from) this.frames.set(index, to);
    return true;
  }

  dirtied(page: number): void {
    this.dirtiedPages.push(page);
  }

  dropAll(): void {
    for (const page of this.frames.values()) {
      this.#memory.columns.owner[folioHead(page) - this.#memory.region.firstPage] = null;
      this.#memory.putPage(page);
    }
    this.frames.clear();
  }
}

/** Room for `count` frames, with a mark in each entry and two entries to spare at both ends. */
export function emptyList(count: number): Uint32Array {
  return new Uint32Array(count + 4).fill(UNTOUCHED);
}

/** Entries 2 … 2 + held of an `emptyList` were written, and nothing else. */
export function assertWritten(out: Uint32Array, held: number): void {
  for (const [i, value] of out.entries()) {
    const isWritten = i >= 2 && i < 2 + held;
    assert.equal(value !== UNTOUCHED, isWritten, `entry ${i - 2} of a list of ${held}`);
  }
}

/** Each page of the list has `count` pins, or else the sum over its folio. */
export function assertPins(out: Uint32Array, held: number, zeroPage: number): void {
  const byHead = new Map<number, number>();
  for (let i = 2; i < 2 + held; i++) {
    const page = out[i] as number;
    const had = byHead.get(folioHead(page)) ?? 0;
    byHead.set(folioHead(page), had + (page === zeroPage ? 0 : 1));
  }
  for (const [head, pins] of byHead) assert.equal(pinCount(head), pins);
}

/** Asks for pages from entry 2 of a fresh list on, and looks at what was written. */
export function ask(world: PinWorld, addr: number, count: number, flags: number) {
  const out = emptyList(Math.min(count, 64));
  const held = tryPinUserPages(world.space, addr, count, flags, out, 2);
  assertWritten(out, Math.max(held, 0));
  return { held, out };
}

/** The error of a call that must hold nothing. */
export function refused(world: PinWorld, addr: number, count: number, flags: number): number {
  const before = world.outstandingPins;
  const { held } = ask(world, addr, count, flags);
  assert.equal(world.outstandingPins, before, 'an error holds nothing');
  return held;
}

/** The list of a call that must have everything. */
export function pinned(world: PinWorld, addr: number, count: number, flags: number): Uint32Array {
  const { held, out } = ask(world, addr, count, flags);
  assert.equal(held, count);
  return out;
}

export const { LONGTERM, NOFAULT, NOWAIT, GET, FAST_ONLY } = PinFlag;
export const PIN_WRITE = PinFlag.WRITE;
