import { PAGE_BYTES, roundUp } from '../../base/units.ts';
import { Area } from './area.ts';
import { USER_END } from './page-table.ts';

/** Below this nothing is placed: a null pointer with an offset must fault. */
export const PLACE_START = 2 ** 20;

/** The areas of one address space: ascending, apart from each other. */
export class AreaList {
  readonly #areas: Area[] = [];
  #last: Area | null = null;

  get areas(): readonly Area[] {
    return this.#areas;
  }

  /** The area that contains `addr`, or null. */
  find(addr: number): Area | null {
    const last = this.#last;
    if (last !== null && addr >= last.start && addr < last.end) return last;
    const area = this.#areas[this.indexFrom(addr)];
    if (area === undefined || addr < area.start) return null;
    this.#last = area;
    return area;
  }

  /** Index of the first area that ends behind `addr`. */
  indexFrom(addr: number): number {
    let low = 0;
    let high = this.#areas.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#areas[middle] as Area).end <= addr) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Pre: nothing lies in its range. */
  insert(area: Area): void {
    this.#areas.splice(this.indexFrom(area.start), 0, area);
    this.#last = area;
  }

  remove(area: Area): void {
    this.#areas.splice(this.#areas.indexOf(area), 1);
    this.#last = null;
  }

  /** Cuts the area that contains `addr` inside in two, so that one starts there. */
  splitAt(addr: number): void {
    const index = this.indexFrom(addr);
    const area = this.#areas[index];
    if (area === undefined || area.start >= addr) return;
    const startIndex = area.startIndex + (addr - area.start) / PAGE_BYTES;
    const tail = new Area({ ...area, start: addr, startIndex });
    area.end = addr;
    this.#areas.splice(index + 1, 0, tail);
    this.#last = null;
    tail.ops?.opened?.(tail);
  }

  /** Joins neighbours that differ in nothing but their place. */
  mergeAround(start: number, end: number): void {
    let index = Math.max(this.indexFrom(start) - 1, 0);
    while (index + 1 < this.#areas.length) {
      const area = this.#areas[index] as Area;
      const after = this.#areas[index + 1] as Area;
      if (area.start >= end) break;
      if (!canMerge(area, after)) {
        index++;
        continue;
      }
      area.end = after.end;
      this.#areas.splice(index + 1, 1);
      this.#last = null;
      after.ops?.closed?.(after);
    }
  }

  /** First free range of `bytes` from `from` on, aligned to `align`; -1: the addresses are used. */
  place(bytes: number, align: number, from: number): number {
    let start = roundUp(Math.max(from, PLACE_START), align);
    for (let i = this.indexFrom(start); i < this.#areas.length; i++) {
      const area = this.#areas[i] as Area;
      if (area.start >= start + bytes) break;
      start = roundUp(Math.max(start, area.end), align);
    }
    return start + bytes <= USER_END ? start : -1;
  }

  /** True when no area touches [start, end). */
  isFree(start: number, end: number): boolean {
    const area = this.#areas[this.indexFrom(start)];
    return area === undefined || area.start >= end;
  }
}

function canMerge(area: Area, after: Area): boolean {
  if (area.end !== after.start) return false;
  const pages = (area.end - area.start) / PAGE_BYTES;
  return (
    area.protection === after.protection &&
    area.isShared === after.isShared &&
    area.ops === after.ops &&
    area.isIo === after.isIo &&
    area.folioOrder === after.folioOrder &&
    area.startIndex + pages === after.startIndex
  );
}
