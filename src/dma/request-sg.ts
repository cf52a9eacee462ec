import { assert } from '../base/assert.ts';
import { PAGE_BYTES } from '../base/units.ts';
import type { Limits } from '../limits/limits.ts';
import type { Request } from '../queue/request.ts';
import { type SegmentJoint, SegmentWalk, type SpecialPayload } from './segment-walk.ts';
import type { SgList } from './sg-list.ts';

const walk = new SegmentWalk();

/**
 * Fills `list` with the memory of `request` and marks its end. The entries: at most
 * `request.segments`, 0 for an op without data that has no `special` payload.
 * Pre: the table of the list has room (`SgList.acquire(request.segments)`); no device has it.
 * Linux: blk_rq_map_sg(), block/blk-mq-dma.c.
 */
export function mapRequestSg(
  request: Request,
  limits: Limits,
  list: SgList,
  joint: SegmentJoint = 'entries',
  special: SpecialPayload | null = null,
): number {
  assert(list.first >= 0 && list.mappings === 0, 'request sg: no table, or a device has it');
  const { pool, origNents } = list;
  let row = list.first;
  let count = 0;
  walk.startRequest(request, limits, joint, special);
  while (walk.next()) {
    assert(count < origNents, 'request sg: more entries than the table has');
    if (count > 0) row = pool.slotAfter(row);
    const page = Math.floor(walk.addr / PAGE_BYTES);
    list.set(row, page, walk.addr - page * PAGE_BYTES, walk.len);
    count++;
  }
  if (count === 0) list.useNone();
  else list.use(count, row);
  return count;
}
