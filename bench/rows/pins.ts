// Pages of a program pinned and unpinned a second, one by one and in batches, order 0 and huge
// folios; each case in a process of its own. Heap growth stands beside each figure.

import { measurePins, PIN_CASES } from '../../src/memory/user/pin-user-pages.bench.ts';
import { printRow } from '../row.ts';
import { summarize } from '../stats.ts';

/** Millions of pages a second in batches of 64, pin and unpin together. */
const TARGET = 20;

for (const name of PIN_CASES) {
  const { rounds, bytesPer1000Pages, layout, batch } = measurePins(name);
  // The first rounds train the compiler.
  const ours = summarize(rounds.slice(5));
  const notes = { 'heap bytes per 1000 pages': Math.round(bytesPer1000Pages) };
  const row = { name: `pins-${layout}-${batch}`, unit: 'M pages/s', ours, notes };
  printRow(batch === 64 ? { ...row, target: TARGET } : row);
}
