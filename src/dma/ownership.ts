import { assert } from '../base/assert.ts';
import { PAGE_BYTES } from '../base/units.ts';

// Checked mode: who may touch which bytes. Between map and unmap (or a sync) memory belongs to the
// device; a program that touches it then reads stale bytes or loses its own. Off, it costs a
// branch; on, it keeps a map of pages, so it is for tests and for hunting a bug.

/** Ranges of one page that devices own, as start and end in pairs. */
type Ranges = number[];

class DmaOwnership {
  isEnabled = false;
  /** By frame number. A range that two mappings cover stands twice. */
  readonly #owned = new Map<number, Ranges>();
  /** Pages that both sides touch at any time: coherent memory. */
  readonly #shared = new Set<number>();

  /** Pages that devices own now. */
  get pages(): number {
    return this.#owned.size;
  }

  /** The device owns the range from here on. */
  give(page: number, offset: number, bytes: number): void {
    eachPage(page, offset, bytes, (at, start, end) => {
      const ranges = this.#owned.get(at) ?? [];
      ranges.push(start, end);
      this.#owned.set(at, ranges);
    });
  }

  /** The CPU owns the range again. Pre: it was given, with the same bounds. */
  take(page: number, offset: number, bytes: number): void {
    eachPage(page, offset, bytes, (at, start, end) => {
      const ranges = this.#owned.get(at) ?? [];
      let found = -1;
      for (let i = 0; i < ranges.length; i += 2) {
        if (ranges[i] === start && ranges[i + 1] === end) found = i;
      }
      assert(found >= 0, 'ownership: taken from a device that does not have it');
      ranges.splice(found, 2);
      if (ranges.length === 0) this.#owned.delete(at);
    });
  }

  share(page: number, pages: number): void {
    for (let i = 0; i < pages; i++) this.#shared.add(page + i);
  }

  unshare(page: number, pages: number): void {
    for (let i = 0; i < pages; i++) this.#shared.delete(page + i);
  }

  /** Fails when a device owns any byte of the range. Free while checked mode is off. */
  assertCpuOwns(page: number, offset: number, bytes: number): void {
    if (!this.isEnabled) return;
    eachPage(page, offset, bytes, (at, start, end) => {
      const ranges = this.#owned.get(at) ?? [];
      for (let i = 0; i < ranges.length; i += 2) {
        const isFree = ranges[i] >= end || ranges[i + 1] <= start;
        assert(isFree, 'ownership: the CPU touched memory that a device owns');
      }
    });
  }

  /** Fails when a device touches a byte that was not mapped for it. */
  assertDeviceOwns(page: number, offset: number, bytes: number): void {
    if (!this.isEnabled) return;
    eachPage(page, offset, bytes, (at, start, end) => {
      if (this.#shared.has(at)) return;
      const ranges = this.#owned.get(at) ?? [];
      let reached = start;
      for (let progress = true; progress && reached < end; ) {
        progress = false;
        for (let i = 0; i < ranges.length; i += 2) {
          if (ranges[i] > reached || ranges[i + 1] <= reached) continue;
          reached = ranges[i + 1];
          progress = true;
        }
      }
      assert(reached >= end, 'ownership: a device touched memory that the CPU owns');
    });
  }
}

/** The registry of this process. Copies ask it, mappings fill it. */
export const dmaOwnership = new DmaOwnership();

function eachPage(
  page: number,
  offset: number,
  bytes: number,
  visit: (page: number, start: number, end: number) => void,
): void {
  let at = page + Math.floor(offset / PAGE_BYTES);
  let start = offset % PAGE_BYTES;
  let left = bytes;
  while (left > 0) {
    const end = Math.min(start + left, PAGE_BYTES);
    visit(at, start, end);
    left -= end - start;
    start = 0;
    at++;
  }
}
