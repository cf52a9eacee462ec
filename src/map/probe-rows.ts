import type { Probe, ProbePoint } from '../base/probe.ts';
import { pagesSpanned } from '../base/units.ts';
import type { BvecTable } from '../bvec/bvec-table.ts';

/** Tells `probe` of every row: it got a hold, or lost it. */
export function probeRows(
  probe: Probe,
  point: ProbePoint,
  traceId: number,
  table: BvecTable,
  first: number,
  rows: number,
): void {
  for (let row = first; row < first + rows; row++) {
    const pages = pagesSpanned(table.offset[row], table.len[row]);
    probe.hit(point, traceId, table, row, table.hold[row], pages);
  }
}
