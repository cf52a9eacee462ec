import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../../base/runs.fuzz.ts';
import { LEAF_ENTRIES, PageTable, USER_END } from './page-table.ts';

/** Virtual pages at both ends of leaves, of the addresses, and far apart. */
const VPN = fc.oneof(
  fc.nat(LEAF_ENTRIES * 3),
  fc.integer({ min: 2 ** 34, max: 2 ** 34 + LEAF_ENTRIES * 2 }),
  fc.constant(USER_END / 4096 - 1),
);

test('a page table is a map from page numbers to entries; empty leaves are forgotten', () => {
  const step = fc.record({
    vpn: VPN,
    frame: fc.nat(2 ** 32 - 1),
    bits: fc.integer({ min: 0, max: 255 }),
  });
  fc.assert(
    fc.property(fc.array(step), VPN, VPN, (steps, a, b) => {
      const table = new PageTable();
      const model = new Map<number, { frame: number; bits: number }>();
      for (const { vpn, frame, bits } of steps) {
        if (bits === 0) {
          table.clear(vpn);
          model.delete(vpn);
        } else {
          table.set(vpn, frame, bits);
          model.set(vpn, { frame, bits });
        }
      }
      for (const { vpn } of steps) {
        assert.equal(table.bitsAt(vpn), model.get(vpn)?.bits ?? 0);
        const entry = model.get(vpn);
        if (entry !== undefined) assert.equal(table.frameAt(vpn), entry.frame);
      }
      assert.deepEqual(
        [...table.entries()],
        [...model.keys()].sort((x, y) => x - y),
      );
      const [first, end] = [Math.min(a, b), Math.max(a, b) + 1];
      const leaves = new Set<number>();
      for (const vpn of model.keys()) {
        const number = Math.floor(vpn / LEAF_ENTRIES);
        if ((number + 1) * LEAF_ENTRIES > first && number * LEAF_ENTRIES < end) leaves.add(number);
      }
      assert.deepEqual(
        table.leavesIn(first, end),
        [...leaves].sort((x, y) => x - y),
      );
      for (const vpn of model.keys()) table.clear(vpn);
      assert.deepEqual(table.leavesIn(0, USER_END / 4096), []);
      assert.equal(table.leafAt(a), null);
    }),
    RUNS,
  );
});

test('misuse is a bug: an entry without bits, beyond the addresses, or bits of nothing', () => {
  const table = new PageTable();
  assert.throws(() => table.set(1, 1, 0), /without bits/);
  assert.throws(() => table.set(USER_END / 4096, 1, 1), /beyond/);
  assert.throws(() => table.setBits(1, 1), /setBits of nothing/);
  assert.throws(() => table.frameAt(1), /nothing mapped/);
  table.set(1, 7, 1);
  assert.throws(() => table.setBits(2, 1), /setBits of nothing/);
  table.clear(2);
  table.clear(1);
  assert.equal(table.bitsAt(1), 0);
});
