import { assert } from '../../base/assert.ts';
import { offsetIn } from '../../base/units.ts';
import type { PageRuns } from '../address-space.ts';
import { HOLDS_MAX, pinTotals } from '../holds.ts';
import { FrameFlag, frameOf, REGION_SHIFT, regionOf } from '../region.unsafe.ts';
import { maskOf, PinFlag, sharingAllowed } from './hold-entries.ts';
import { LEAF_ENTRIES, type PageTable, Pte } from './page-table.ts';

/**
 * Holds up to `count` pages from virtual page `vpn` on, as far as their leaf of the table goes and
 * its entries allow it as they are, and writes them as runs of neighbouring frames to rows at … of
 * `runs`. Returns how many runs, at most `runsMax`. No faults, no areas, as `holdTable`; but what a
 * folio gives is one run, one pin update and one look at its state, and what is looked at page by
 * page are the entry and the two columns that a page has of its own. `flags`: PinFlag WRITE, GET.
 */
export function holdRuns(
  table: PageTable,
  vpn: number,
  count: number,
  flags: number,
  runs: PageRuns,
  at: number,
  runsMax: number,
): number {
  const leaf = table.leafAt(vpn);
  if (leaf === null) return 0;
  const { frame: pages, bits } = leaf;
  const first = offsetIn(vpn, LEAF_ENTRIES);
  const end = count < LEAF_ENTRIES - first ? first + count : LEAF_ENTRIES;
  const mask = maskOf(flags);
  const want = mask & ~(Pte.SPECIAL | Pte.HINTED);
  if ((bits[first] & mask) !== want) return 0;
  const region = regionOf(pages[first]);
  const { index, head: heads, order, flags: folioFlags, user } = region;
  assert(user !== null, 'pin: a mapped page outside of user memory');
  const { exclusive, poisoned } = user;
  const isPin = (flags & PinFlag.GET) === 0;
  const counts = isPin ? region.pins : region.refs;
  const mayShare = sharingAllowed(flags);
  const { page: runPage, len: runLen } = runs;
  let row = at - 1;
  const lastRow = row + runsMax;
  let behind = -1;
  let entry = first;
  while (entry < end) {
    const page = pages[entry];
    if (page >>> REGION_SHIFT !== index) break;
    if (page !== behind && row === lastRow) break;
    const frame = frameOf(page);
    const head = heads[frame];
    const held = counts[head];
    // The flags lie in a cache line of their own, and most first pages are exclusive. Where one is
    // and a later one is not, the run of this folio ends, and its rest is looked at anew.
    const isOwn = exclusive[frame] !== 0;
    const shared = mayShare || (!isOwn && (folioFlags[head] & FrameFlag.ANON) === 0) ? 1 : 0;
    // The entry may map the folio from any page on, and HOLDS_MAX may end it earlier.
    const inFolio = head + (1 << order[head]) - frame;
    const room = HOLDS_MAX - held;
    const most = inFolio < room ? inFolio : room;
    const until = most < end - entry ? entry + most : end;
    const toPage = page - entry;
    const toFrame = frame - entry;
    let next = entry;
    for (; next < until; next++) {
      if ((bits[next] & mask) !== want || pages[next] !== next + toPage) break;
      if (poisoned[next + toFrame] !== 0 || (exclusive[next + toFrame] | shared) === 0) break;
    }
    const had = next - entry;
    if (had === 0) break;
    counts[head] = held + had;
    if (page === behind) {
      runLen[row] += had;
    } else {
      row++;
      runPage[row] = page;
      runLen[row] = had;
    }
    behind = page + had;
    entry = next;
  }
  if (isPin) {
    region.pinnedPages += entry - first;
    pinTotals.acquired += entry - first;
  }
  return row + 1 - at;
}
