import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { BvecTable } from '../../src/bvec/bvec-table.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { LINUX_6_1, LINUX_6_12 } from '../../src/limits/profile.ts';
import { RequestMemory } from '../../src/map/passthrough/request-memory.ts';
import { MapReason } from '../../src/map/verdict.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import { chainOf, PassthroughRig } from './passthrough-rig.ts';

const { WRITE } = BioOp;

describe('a virtual boundary above the page', () => {
  test('a row is judged from a page on it', () => {
    // From an odd page on, 12 KiB in segments of 8: cut 8 KiB behind an odd page, off 8 KiB.
    const limits = { virt_boundary_mask: 8191, max_segment_size: 8192 };
    using rig = new PassthroughRig({ limits });
    const addr = rig.huge(3);
    for (const [at, reason] of [
      [PAGE_BYTES, MapReason.GAP],
      [0, MapReason.FITS],
    ] as const) {
      const chain = chainOf(WRITE);
      assert.equal(rig.map(chain, rig.iter(WRITE, [[addr + at, 3 * PAGE_BYTES]])), 0);
      assert.equal(rig.outcome.reason, reason);
      rig.unmap(chain, 0);
    }
  });

  test('rows of somebody else are not changed for it: they are copied', () => {
    using rig = new PassthroughRig({ limits: { virt_boundary_mask: 8191 } });
    const page = rig.own.getFolio(2);
    for (const [at, reason] of [
      [0, MapReason.FITS],
      [1, MapReason.GAP],
    ] as const) {
      const table = new BvecTable(1);
      table.set(0, page + at, 0, 2 * PAGE_BYTES, HoldKind.BORROWED);
      const iter = new IovIter();
      iter.initBvec(IterDirection.SOURCE, table, 0, 1, 0, 2 * PAGE_BYTES);
      const chain = chainOf(WRITE);
      assert.equal(rig.map(chain, iter), 0);
      assert.equal(rig.outcome.reason, reason);
      assert.deepEqual([table.page[0], table.offset[0]], [page + at, 0]);
      rig.unmap(chain, 0);
    }
    rig.own.putFolio(page);
  });

  test('of mapped memory, too: kernels see the offset in the page, we the boundary', () => {
    for (const [profile, result] of [
      [LINUX_6_12, 0],
      [undefined, -Errno.EINVAL],
    ] as const) {
      const limits = { virt_boundary_mask: 8191 };
      using rig = new PassthroughRig(profile === undefined ? { limits } : { limits, profile });
      const addr = rig.huge(2);
      const chain = chainOf(WRITE);
      const first = rig.iter(WRITE, [[addr + PAGE_BYTES, 2 * PAGE_BYTES]]);
      assert.equal(rig.map(chain, first), 0);
      const more = rig.iter(WRITE, [[addr + 3 * PAGE_BYTES, PAGE_BYTES]]);
      assert.equal(rig.map(chain, more, { copy: 'never' }), result);
      rig.unmap(chain, 0);
    }
  });

  test('6.1 and 6.12 look at the offset in the page alone', () => {
    // Pages 1 and 2 of a folio, then page 3: a request that begins on an odd page may grow there.
    for (const [profile, result] of [
      [LINUX_6_1, 0],
      [LINUX_6_12, 0],
      [undefined, -Errno.EINVAL],
    ] as const) {
      const limits = { virt_boundary_mask: 8191 };
      using rig = new PassthroughRig(profile === undefined ? { limits } : { limits, profile });
      const memory = new RequestMemory(Uint32Array.of(rig.own.getFolio(2)), 2);
      memory.offset = PAGE_BYTES;
      const addr = rig.scattered(3);
      const chain = chainOf(WRITE);
      assert.equal(rig.map(chain, rig.iter(WRITE, [[addr, 2 * PAGE_BYTES]]), { memory }), 0);
      const more = rig.iter(WRITE, [[addr, PAGE_BYTES]]);
      assert.equal(rig.map(chain, more, { memory }), result);
      if (result !== 0) assert.equal(rig.outcome.reason, MapReason.GAP);
      rig.unmap(chain, 0);
      rig.own.putFolio(memory.pageAt(0));
    }
  });
});
