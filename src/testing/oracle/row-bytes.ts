import { PAGE_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { BvecCursor } from '../../bvec/bvec-cursor.ts';
import { physMergeable } from '../../bvec/contiguity.ts';
import { integritySegments, payloadOf } from '../../integrity/bio-integrity.ts';
import type { RowsAt } from '../../integrity/pi-walk.ts';
import type { Limits } from '../../limits/limits.ts';
import { copyIn, copyOut } from '../../memory/copy.ts';

// Bytes in segment rows, for a replay: it may allocate.

type PieceVisitor = (page: number, offset: number, bytes: number, at: number) => void;

function forEachRow({ table, row, done, size }: RowsAt, visit: PieceVisitor): void {
  let skip = done;
  for (let r = row, at = 0; at < size; r++) {
    const bytes = Math.min(table.len[r] - skip, size - at);
    visit(table.page[r], table.offset[r] + skip, bytes, at);
    at += bytes;
    skip = 0;
  }
}

export function gathered(rows: RowsAt): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(rows.size);
  forEachRow(rows, (page, offset, count, at) => copyOut(bytes, at, page, offset, count));
  return bytes;
}

/** `bytes` to byte `from` of the rows and on. */
export function scatter(rows: RowsAt, from: number, bytes: Uint8Array): void {
  forEachRow(rows, (page, offset, count, at) => {
    const start = Math.max(at, from);
    const end = Math.min(at + count, from + bytes.length);
    if (start < end) copyIn(page, offset + start - at, bytes, start - from, end - start);
  });
}

/** Segments of the metadata of one bio, as limits count them. */
export function segmentsOf(bio: Bio, limits: Limits): number {
  const payload = payloadOf(bio);
  return payload === null ? 0 : integritySegments(payload, limits);
}

const cursor = new BvecCursor();

/** The scatterlist of the metadata of `bios`, parts of one request: [physical address, bytes]. */
export function metadataSg(bios: readonly Bio[], limits: Limits): [number, number][] {
  const list: [number, number][] = [];
  for (const bio of bios) {
    const payload = payloadOf(bio);
    if (payload === null) continue;
    cursor.start(payload.table, payload.row, payload.done, payload.size);
    while (cursor.single()) {
      const { len } = cursor;
      const address = cursor.page * PAGE_BYTES + cursor.offset;
      const last = list[list.length - 1];
      const { seg_boundary_mask: mask, max_segment_size: most } = limits;
      const joins = last !== undefined && physMergeable(last[0], last[1], address, len, mask);
      if (joins && last[1] + len <= most) last[1] += len;
      else list.push([address, len]);
      cursor.advance(len);
    }
  }
  return list;
}
