import { PAGE_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { segmentBytes } from '../../bio/split-point.ts';
import { BvecCursor } from '../../bvec/bvec-cursor.ts';
import { physMergeable } from '../../bvec/contiguity.ts';
import type { Limits } from '../../limits/limits.ts';

/**
 * The scatterlist of `bios` as [physical address, bytes], for comparison only: the real one comes
 * with `dma/`. Entries join at the joint of two bios, never inside one.
 * Linux: __blk_bios_map_sg(), block/blk-merge.c.
 */
export function sgList(bios: readonly Bio[], limits: Limits): [number, number][] {
  const cursor = new BvecCursor();
  const list: [number, number][] = [];
  let prevAddr = 0;
  let prevLen = 0;
  for (const bio of bios) {
    cursor.start(bio.table, bio.row, bio.done, bio.size);
    let isFirst = true;
    while (cursor.multi()) {
      const { len } = cursor;
      const addr = cursor.page * PAGE_BYTES + cursor.offset;
      const last = list.at(-1);
      const joins =
        isFirst &&
        last !== undefined &&
        last[1] + len <= limits.max_segment_size &&
        physMergeable(prevAddr, prevLen, addr, len, limits.seg_boundary_mask);
      if (joins) last[1] += len;
      else addPieces(list, addr, len, limits);
      prevAddr = addr;
      prevLen = len;
      isFirst = false;
      cursor.advance(len);
    }
  }
  return list;
}

function addPieces(list: [number, number][], addr: number, len: number, limits: Limits): void {
  for (let done = 0; done < len; ) {
    const bytes = segmentBytes(addr + done, len - done, limits);
    list.push([addr + done, bytes]);
    done += bytes;
  }
}
