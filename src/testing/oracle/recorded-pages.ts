import { assert } from '../../base/assert.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import type { RequestMemorySource } from '../../map/passthrough/open-file-reserve.ts';
import type { FolioSource } from '../../map/passthrough/passthrough-context.ts';
import { RequestMemory } from '../../map/passthrough/request-memory.ts';
import type { Arena } from '../../memory/arena.ts';
import type { MappedRequestRecord } from './passthrough-schema.ts';

/**
 * The pages that a kernel happened to copy through, handed out in the recorded order. Where the
 * record has none, because the request was refused, pages of `spare` stand in: no two of them are
 * neighbours, which is the worst that a page allocator can give.
 */
export class RecordedPages implements FolioSource, RequestMemorySource {
  readonly #arena: Arena;
  readonly #spare: Arena;
  readonly #recorded: number[] = [];
  readonly #next: number[];
  readonly #gaps: number[] = [];
  #out = 0;

  constructor(arena: Arena, spare: Arena, request: MappedRequestRecord | undefined) {
    this.#arena = arena;
    this.#spare = spare;
    for (const bio of request?.bios ?? []) {
      for (const vec of bio.copied ? bio.vecs : []) this.#claim(vec);
    }
    this.#next = [...this.#recorded].reverse();
  }

  getFolio(order: number): number {
    this.#out++;
    // Data goes through single pages; a linear buffer for metadata is nobody's recorded page.
    if (order > 0) return this.#spare.getFolio(order);
    const recorded = this.#next.pop();
    if (recorded !== undefined) return recorded;
    const page = this.#spare.getFolio(0);
    const gap = this.#spare.getFolio(0);
    assert(page >= 0 && gap >= 0, 'recorded pages: no stand-in is left');
    this.#gaps.push(gap);
    return page;
  }

  /** A page that did not fit comes again: the allocator gives the last one first. */
  putFolio(page: number): void {
    this.#out--;
    if (this.#recorded.includes(page)) this.#next.push(page);
    else this.#spare.putFolio(page);
  }

  /** The reserve, or pages of the command's own: the record does not say which. */
  take(bytes: number): RequestMemory {
    const pages = new Uint32Array(Math.ceil(bytes / PAGE_BYTES));
    for (let i = 0; i < pages.length; i++) pages[i] = this.getFolio(0);
    return new RequestMemory(pages, 0);
  }

  giveBack(memory: RequestMemory): void {
    for (let i = memory.entries - 1; i >= 0; i--) this.putFolio(memory.pages[i]);
  }

  [Symbol.dispose](): void {
    assert(this.#out === 0, 'recorded pages: a page was not freed');
    for (const page of this.#recorded) this.#arena.putFolio(page);
    for (const page of this.#gaps) this.#spare.putFolio(page);
  }

  #claim([pfn, offset, bytes]: readonly number[]): void {
    const pages = Math.ceil((offset + bytes) / PAGE_BYTES);
    for (let frame = pfn; frame < pfn + pages; frame++) {
      assert(this.#arena.claimFolio(frame, 0), 'recorded pages: a frame is taken');
      this.#recorded.push(this.#arena.region.firstPage + frame);
    }
  }
}
