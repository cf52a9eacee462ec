import { IOV_MAX } from '../../abi/linux-fs.ts';
import { assert } from '../../base/assert.ts';
import { byteAt, regionOf } from '../../memory/region.unsafe.ts';
import { type Request, SegmentCursor } from '../../queue/request.ts';

/**
 * node:fs wants views, so here they are made, from the segments of one request. A slot keeps its
 * own: the same (page, offset, len) in the same place again costs nothing.
 */
export class SegmentViews {
  /** Exactly the views of the last `load`: node:fs looks at the length of the array. */
  readonly list: Uint8Array[] = [];
  readonly #cursor = new SegmentCursor();
  readonly #cache: Uint8Array[] = [];
  readonly #page: number[] = [];
  readonly #offset: number[] = [];

  /** Views of bytes [from, to) of the request's data. Returns their count. */
  load(request: Request, from: number, to: number): number {
    const cursor = this.#cursor;
    cursor.start(request);
    let at = 0;
    let count = 0;
    while (at < to && cursor.next()) {
      const start = at;
      at += cursor.len;
      if (at <= from) continue;
      const skip = start < from ? from - start : 0;
      const cut = at > to ? at - to : 0;
      this.#put(count, cursor.page, cursor.offset + skip, cursor.len - skip - cut);
      count++;
    }
    assert(at >= to, 'file: fewer bytes in segments than in the request');
    assert(count <= IOV_MAX, 'file: more segments than one call takes');
    this.list.length = count;
    return count;
  }

  /** Lets go of the memory behind the kept views. */
  clear(): void {
    this.list.length = 0;
    this.#cache.length = 0;
  }

  #put(index: number, page: number, offset: number, len: number): void {
    const { buffer } = regionOf(page).u8;
    const cached = this.#cache[index];
    // A region that grew, or a new one under the same numbers, has another buffer.
    const fits =
      cached !== undefined &&
      cached.length === len &&
      this.#page[index] === page &&
      this.#offset[index] === offset &&
      cached.buffer === buffer;
    if (fits) {
      this.list[index] = cached;
      return;
    }
    const view = new Uint8Array(buffer, byteAt(page, offset), len);
    this.#cache[index] = view;
    this.#page[index] = page;
    this.#offset[index] = offset;
    this.list[index] = view;
  }
}
