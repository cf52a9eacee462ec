// Every count of a machine's memory, counted again from the page tables.

import assert from 'node:assert/strict';
import { PAGE_BYTES } from '../../base/units.ts';
import type { ArenaBuffer } from '../arena-buffer.ts';
import { byteAt, FrameFlag, FrameState, regionOf } from '../region.unsafe.ts';
import { Protection } from './area.ts';
import { Pte } from './page-table.ts';
import type { ModelSpace } from './space-model.fuzz.ts';
import type { UserMemory } from './user-memory.ts';
import type { UserSpace } from './user-space.ts';

interface Count {
  entries: number;
  refs: number;
  pins: number;
}

/** Holds of the test itself, and frames outside address spaces and caches (order 0). */
export interface KnownHolds {
  /** Pages with one reference each. */
  readonly references: readonly number[];
  readonly pins: readonly number[];
}

/** Throws where counts, reverse map, exclusivity, rights or slots do not fit the tables. */
export function verifyMemory(memory: UserMemory, known: KnownHolds): void {
  const counts = new Map<number, Count>();
  const perPage = new Map<number, number>();
  const slots = new Map<number, number>();
  countEntries(memory, counts, perPage, slots);
  for (const page of known.references) countAt(memory, counts, page).refs++;
  for (const page of known.pins) {
    if (page !== memory.zeroPage) countAt(memory, counts, page).pins++;
  }
  countAt(memory, counts, memory.zeroPage).refs++;
  checkFolios(memory, counts);
  checkPages(memory, perPage);
  let used = 0;
  for (const [slot, count] of slots) {
    assert.equal(memory.swap.countOf(slot), count, 'entries that name a swap slot');
    used++;
  }
  assert.ok(memory.swap.slots - memory.swap.freeSlots >= used);
}

function countAt(memory: UserMemory, counts: Map<number, Count>, page: number): Count {
  const { region } = memory;
  const head = region.head[page - region.firstPage];
  const known = counts.get(head);
  if (known !== undefined) return known;
  const count = { entries: 0, refs: 0, pins: 0 };
  counts.set(head, count);
  return count;
}

function countEntries(
  memory: UserMemory,
  counts: Map<number, Count>,
  perPage: Map<number, number>,
  slots: Map<number, number>,
): void {
  const { region, columns } = memory;
  for (const space of memory.spaces) {
    if (space === null) continue;
    let last = -1;
    let mapped = 0;
    for (const area of space.areas) {
      assert.ok(area.start >= last && area.end > area.start, 'areas are apart and ascending');
      last = area.end;
      mapped += (area.end - area.start) / PAGE_BYTES;
    }
    assert.equal(space.mappedPages, mapped);
    for (const vpn of space.table.entries()) {
      const bits = space.table.bitsAt(vpn);
      const page: number = space.table.frameAt(vpn);
      const area = space.areaAt(vpn * PAGE_BYTES);
      assert.ok(area !== null, 'an entry outside all areas');
      if ((bits & Pte.WRITE) !== 0) assert.ok((area.protection & Protection.WRITE) !== 0);
      if (area.protection === Protection.NONE && (bits & Pte.PRESENT) !== 0) {
        assert.ok((bits & Pte.HINTED) !== 0, 'no access, but the hardware allows it');
      }
      if ((bits & Pte.SWAPPED) !== 0) slots.set(page, (slots.get(page) ?? 0) + 1);
      else if ((bits & Pte.SPECIAL) === 0) {
        const frame: number = page - region.firstPage;
        const head = region.head[frame];
        const count = countAt(memory, counts, page);
        count.entries++;
        count.refs++;
        perPage.set(frame, (perPage.get(frame) ?? 0) + 1);
        const isAnonymous = (region.flags[head] & FrameFlag.ANON) !== 0;
        const isExclusive: boolean = columns.exclusive[frame] === 1;
        if (isAnonymous && (bits & Pte.WRITE) !== 0) assert.ok(isExclusive, 'writable, not alone');
        if (isAnonymous) assert.ok(!area.isShared, 'anonymous memory in a shared area');
        else assert.ok(columns.owner[head] !== null || (bits & Pte.DIRTY) === 0, 'no owner');
        if (!isAnonymous && !area.isShared) assert.equal(bits & Pte.WRITE, 0, 'the file itself');
      }
    }
  }
}

function checkFolios(memory: UserMemory, counts: Map<number, Count>): void {
  const { region, columns } = memory;
  let pinned = 0;
  let pages = 0;
  for (let head = 0; head < region.frames; head++) {
    if (region.state[head] !== FrameState.USED) continue;
    pages += 1 << region.order[head];
    const count = counts.get(head) ?? { entries: 0, refs: 0, pins: 0 };
    const owner = columns.owner[head];
    const refs = count.refs + (owner === null ? 0 : owner.ownRefs);
    assert.equal(columns.mapCount[head], count.entries, `entries of folio ${head}`);
    assert.equal(region.refs[head], refs, `references of folio ${head}`);
    assert.equal(region.pins[head], count.pins, `pins of folio ${head}`);
    assert.ok(refs + count.pins > 0, 'in use, but nobody holds it');
    assert.equal(region.flags[head] & FrameFlag.LOCKED, 0, 'somebody forgot a folio lock');
    pinned += count.pins;
  }
  assert.equal(region.pinnedPages, pinned);
  assert.equal(memory.usedPages, pages);
}

function checkPages(memory: UserMemory, perPage: Map<number, number>): void {
  const { region, columns, rmap } = memory;
  let entries = 0;
  for (let frame = 0; frame < region.frames; frame++) {
    let chain = 0;
    for (let row = columns.rmapFirst[frame]; row !== -1; row = rmap.next[row]) {
      const space = memory.spaces[rmap.space[row]];
      assert.ok(space !== null && space !== undefined, 'the reverse map names a dead process');
      assert.equal(space.table.frameAt(rmap.vpn[row]), region.firstPage + frame);
      chain++;
    }
    assert.equal(chain, perPage.get(frame) ?? 0, `reverse map of page ${frame}`);
    if (columns.exclusive[frame] === 1) assert.ok(chain <= 1, 'exclusive, but mapped twice');
    entries += chain;
  }
  assert.equal(rmap.used, entries);
}

/** A view of the bytes of a frame: looking at them has no effect on the counts. */
export function frameBytes(page: number): Uint8Array {
  const { u8 } = regionOf(page);
  return u8.subarray(byteAt(page, 0), byteAt(page, PAGE_BYTES));
}

/** Every byte of a process against its model, without touching it: nothing faults in here. */
export function verifyBytes(space: UserSpace, model: ModelSpace, scratch: ArenaBuffer): void {
  for (const [vpn, page] of model.pages) {
    const bits = space.table.bitsAt(vpn);
    if (bits === 0) {
      if (page.object === null) assert.equal(page.cell, null, `page ${vpn} was lost`);
      continue;
    }
    const frame = space.table.frameAt(vpn);
    const isSwapped = (bits & Pte.SWAPPED) !== 0;
    if (isSwapped) space.memory.swap.load(frame, scratch.page);
    const bytes = isSwapped ? scratch.bytes : frameBytes(frame);
    const difference = Buffer.compare(bytes, model.seen(vpn).bytes);
    assert.equal(difference, 0, `page ${vpn} has other bytes`);
  }
  for (const vpn of space.table.entries()) assert.ok(model.pages.has(vpn), 'mapped for nobody');
}
