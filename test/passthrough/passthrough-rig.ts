// A program with real address space, a device context beside it, and a device that the test plays.

import assert from 'node:assert/strict';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { type Bio, BioState } from '../../src/bio/bio.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { BioPool } from '../../src/bio/bio-pool.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { Iovec } from '../../src/iter/iovec.ts';
import type { LimitsInput } from '../../src/limits/limits.ts';
import { DEFAULT_PROFILE, type Profile } from '../../src/limits/profile.ts';
import { validateLimits } from '../../src/limits/validate.ts';
import { type BioChain, PassthroughChain } from '../../src/map/passthrough/bio-chain.ts';
import { mapUser } from '../../src/map/passthrough/map-user.ts';
import {
  MapOutcome,
  type MapUserOptions,
  PassthroughContext,
} from '../../src/map/passthrough/passthrough-context.ts';
import type { PassthroughRules } from '../../src/map/passthrough/passthrough-rules.ts';
import { unmapUser } from '../../src/map/passthrough/unmap-user.ts';
import { Access, type AddressSpace } from '../../src/memory/address-space.ts';
import { Arena } from '../../src/memory/arena.ts';
import { copyIn, copyOut } from '../../src/memory/copy.ts';
import { pinTotals } from '../../src/memory/holds.ts';
import { Protection } from '../../src/memory/user/area.ts';
import { UserMemory } from '../../src/memory/user/user-memory.ts';
import type { UserSpace } from '../../src/memory/user/user-space.ts';

export type UserRange = readonly [addr: number, bytes: number];

export interface RigOptions {
  readonly limits?: LimitsInput;
  readonly profile?: Profile;
  readonly rules?: PassthroughRules;
  /** Pages of the device's own arena. */
  readonly ownPages?: number;
  /** Pages of the program's arena. */
  readonly userPages?: number;
  readonly bios?: number;
}

/** Ends with nothing outstanding, or the test fails. */
export class PassthroughRig implements Disposable {
  readonly users: Arena;
  readonly own: Arena;
  readonly memory: UserMemory;
  readonly space: UserSpace;
  readonly context: PassthroughContext;
  readonly outcome = new MapOutcome();
  readonly #totals = { ...pinTotals };
  readonly #spares: number[] = [];

  constructor(options: RigOptions = {}) {
    const { userPages = 2048, ownPages = 1024, bios = 64 } = options;
    this.users = new Arena({ maxBytes: userPages * PAGE_BYTES, label: 'users', places: false });
    this.own = new Arena({ maxBytes: ownPages * PAGE_BYTES, label: 'own', places: false });
    this.memory = new UserMemory({ arena: this.users, label: 'passthrough' });
    this.space = this.memory.newSpace('program');
    const profile = options.profile ?? DEFAULT_PROFILE;
    const rules = options.rules === undefined ? {} : { rules: options.rules };
    this.context = new PassthroughContext({
      limits: validateLimits({ dma_alignment: 3, ...options.limits }, profile),
      folios: this.own,
      bios: new BioPool({ bios, rows: bios * 256 }),
      profile,
      ...rules,
    });
  }

  /** Memory of the program of which no two pages are neighbours. Its address. */
  scattered(pages: number): number {
    const addr = this.area(pages);
    for (let i = 0; i < pages; i++) {
      assert.equal(this.space.fault(addr + i * PAGE_BYTES, Access.WRITE, 0), 0);
      this.#spares.push(this.users.getFolio(0));
    }
    return addr;
  }

  /** One folio of 2^order pages. Its address. */
  huge(order: number): number {
    const bytes = 2 ** order * PAGE_BYTES;
    const addr = this.space.mmap({ bytes, protection: Protection.WRITE, folioOrder: order });
    for (let at = 0; at < bytes; at += PAGE_BYTES) {
      assert.equal(this.space.fault(addr + at, Access.WRITE, 0), 0);
    }
    return addr;
  }

  /** Memory that nobody touched. */
  area(pages: number, protection: number = Protection.WRITE): number {
    const addr = this.space.mmap({ bytes: pages * PAGE_BYTES, protection });
    assert.ok(addr > 0);
    return addr;
  }

  /** Takes folios of the own arena until none of 2^`order` pages is left in one piece. */
  fragment(order: number): Disposable {
    const taken: number[] = [];
    for (;;) {
      const page = this.own.getFolio(0);
      if (page < 0) break;
      taken.push(page);
    }
    const held = taken.filter((page) => (page - this.own.region.firstPage) % 2 ** order === 0);
    for (const page of taken) if (!held.includes(page)) this.own.putFolio(page);
    return { [Symbol.dispose]: () => held.forEach((page) => void this.own.putFolio(page)) };
  }

  /** Every free page of the own arena gets bytes that nobody may see. */
  soilOwnPages(): void {
    const pages: number[] = [];
    for (let page = this.own.getFolio(0); page >= 0; page = this.own.getFolio(0)) pages.push(page);
    const soil = new Uint8Array(PAGE_BYTES).fill(0xee);
    for (const page of pages) copyIn(page, 0, soil, 0, PAGE_BYTES);
    for (const page of pages) this.own.putFolio(page);
  }

  frameAt(addr: number): number {
    return this.space.table.frameAt(Math.floor(addr / PAGE_BYTES));
  }

  read(addr: number, bytes: number): Uint8Array {
    const into = new Uint8Array(bytes);
    assert.equal(this.space.read(addr, into), bytes);
    return into;
  }

  fill(addr: number, bytes: number, seed: number): Uint8Array {
    const from = pattern(bytes, seed);
    assert.equal(this.space.write(addr, from), bytes);
    return from;
  }

  iter(op: BioOp, ranges: readonly UserRange[], space: AddressSpace = this.space): IovIter {
    const iovec = new Iovec(Math.max(ranges.length, 1));
    const bases = ranges.map(([base]) => base);
    const lens = ranges.map(([, len]) => len);
    assert.ok(iovec.importRanges(bases, lens, ranges.length) >= 0);
    const iter = new IovIter();
    const direction = op === BioOp.READ ? IterDirection.DEST : IterDirection.SOURCE;
    iter.initUser(direction, space, iovec);
    return iter;
  }

  map(chain: BioChain, iter: IovIter, options: Partial<MapUserOptions> = {}): number {
    return mapUser(chain, iter, { context: this.context, outcome: this.outcome, ...options });
  }

  unmap(chain: BioChain, transferredBytes = chain.bytes, hasMemory = true): number {
    return unmapUser(chain.bio, this.context, { transferredBytes, hasMemory });
  }

  /** Pins of this rig that nobody released. */
  get pins(): number {
    const { acquired, released } = this.#totals;
    return pinTotals.acquired - acquired - (pinTotals.released - released);
  }

  assertNothingOutstanding(): void {
    this.context.assertNothingOutstanding();
    assert.equal(this.pins, 0, 'pins');
    this.own.assertNothingOutstanding();
  }

  [Symbol.dispose](): void {
    this.assertNothingOutstanding();
    for (const page of this.#spares) this.users.putFolio(page);
    for (const space of this.memory.spaces) space?.exit();
    this.memory[Symbol.dispose]();
    this.users.assertNothingOutstanding();
    this.users[Symbol.dispose]();
    this.own[Symbol.dispose]();
  }
}

export function pattern(bytes: number, seed: number): Uint8Array {
  return new Uint8Array(bytes).map((_, i) => (i * 7 + (i >> 8) + seed * 31 + 1) & 255);
}

export function chainOf(op: BioOp): PassthroughChain {
  return new PassthroughChain(op);
}

export interface Row {
  readonly addr: number;
  readonly len: number;
}

/** Every row of every bio: physical address and bytes. */
export function rowsOf(chain: BioChain): Row[] {
  const rows: Row[] = [];
  for (const bio of biosOf(chain)) {
    const { page, offset, len } = bio.table;
    let left = bio.size;
    let done = bio.done;
    for (let row = bio.row; left > 0; row++) {
      const bytes = Math.min(len[row] - done, left);
      rows.push({ addr: page[row] * PAGE_BYTES + offset[row] + done, len: bytes });
      left -= bytes;
      done = 0;
    }
  }
  return rows;
}

export function biosOf(chain: BioChain): Bio[] {
  const bios: Bio[] = [];
  for (let bio = chain.bio; bio !== null; bio = bio.next) bios.push(bio);
  return bios;
}

/** What a device reads of the request, bounce or not. */
export function deviceReads(chain: BioChain): Uint8Array {
  const out = new Uint8Array(chain.bytes);
  let at = 0;
  for (const { addr, len } of rowsOf(chain)) {
    copyOut(out, at, Math.floor(addr / PAGE_BYTES), addr % PAGE_BYTES, len);
    at += len;
  }
  return out;
}

/** The device writes the first of `bytes` that the request has room for. */
export function deviceWrites(chain: BioChain, bytes: Uint8Array): void {
  let at = 0;
  for (const { addr, len } of rowsOf(chain)) {
    const take = Math.min(len, bytes.length - at);
    if (take > 0) copyIn(Math.floor(addr / PAGE_BYTES), addr % PAGE_BYTES, bytes, at, take);
    at += len;
  }
}

/** The device is done with the request. */
export function endRequest(chain: BioChain): void {
  for (const bio of biosOf(chain)) {
    assert.equal(bio.state, BioState.BUILT);
    bio.state = BioState.ENDED;
  }
}

/**
 * A second opinion on limits: the segments that a device gets of `rows`, each cut where the
 * reference cuts (5.2), and what is wrong with them. It knows none of the code under test.
 */
export function judgeRows(
  rows: readonly Row[],
  limits: PassthroughContext['limits'],
): { readonly segments: number; readonly faults: string[] } {
  const faults: string[] = [];
  const window = limits.seg_boundary_mask + 1;
  const virtual = limits.virt_boundary_mask + 1;
  let segments = 0;
  let total = 0;
  rows.forEach(({ addr, len }, index) => {
    if (addr % (limits.dma_alignment + 1) !== 0) faults.push(`row ${index} starts off alignment`);
    const isFirst = index === 0;
    const isLast = index === rows.length - 1;
    if (!isFirst && addr % virtual !== 0) faults.push(`row ${index} starts in a gap`);
    if (!isLast && (addr + len) % virtual !== 0) faults.push(`row ${index} ends in a gap`);
    for (let at = addr; at < addr + len; ) {
      const most = Math.min(limits.max_segment_size, window - (at % window), 2 ** 32);
      at += Math.min(most, addr + len - at);
      if (at < addr + len && at % virtual !== 0) faults.push(`row ${index} is cut in a gap`);
      segments++;
    }
    total += len;
  });
  if (segments > limits.max_segments) faults.push(`${segments} segments`);
  if (total > limits.max_hw_sectors * 512) faults.push(`${total} bytes`);
  return { segments, faults };
}
