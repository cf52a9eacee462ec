import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Arena } from './arena.ts';
import { addHoldSource, type HoldEntry, holdsReport, removeHoldSource } from './hold-source.ts';
import { pinPages, unpinPages } from './holds.ts';

function entry(page: number, pages: number, kind: string): HoldEntry {
  return { page, pages, kind, by: 'a test', sinceNs: 0, traceId: 0 };
}

test('sources are asked while they are known; pins that none of them has are unexplained', () => {
  using arena = new Arena({ maxBytes: 2 ** 20, label: 'hold sources', places: false });
  const page = arena.getFolio(2);
  const before = holdsReport();
  assert.equal(pinPages(page, 3), 3);
  let held: HoldEntry[] = [];
  const device = { name: 'device', holds: () => held };
  const idle = { name: 'idle', holds: (): HoldEntry[] => [] };
  addHoldSource(device);
  addHoldSource(idle);
  const named = () => holdsReport().sources;
  assert.deepEqual(named(), before.sources, 'who holds nothing is not named');
  assert.equal(holdsReport().pinnedPages, before.pinnedPages + 3);
  assert.equal(holdsReport().unexplainedPages, before.unexplainedPages + 3);
  held = [entry(page, 2, 'pinned'), entry(page, 1, 'referenced'), entry(page + 2, 1, 'owned')];
  assert.deepEqual(named(), [...before.sources, { source: 'device', holds: held }]);
  // Two of three pins are explained; references and own pages explain none.
  assert.equal(holdsReport().unexplainedPages, before.unexplainedPages + 1);
  removeHoldSource(device);
  removeHoldSource(idle);
  assert.deepEqual(named(), before.sources);
  unpinPages(page, 3);
  assert.deepEqual(holdsReport(), before);
  arena.putFolio(page);
});
