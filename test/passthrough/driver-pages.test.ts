import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { LINUX_6_12 } from '../../src/limits/profile.ts';
import { RequestMemory } from '../../src/map/passthrough/request-memory.ts';
import {
  chainOf,
  deviceReads,
  deviceWrites,
  endRequest,
  PassthroughRig,
  pattern,
  rowsOf,
} from './passthrough-rig.ts';

const { READ, WRITE } = BioOp;

describe('pages of the driver', () => {
  test('page i is pages[i div 2^order] + i mod 2^order, from the offset on, which moves', () => {
    using rig = new PassthroughRig({ limits: { max_segment_size: 4096 } });
    const folios = [rig.own.getFolio(1), rig.own.getFolio(1), rig.own.getFolio(1)];
    const memory = new RequestMemory(Uint32Array.from(folios), 1, 2);
    memory.offset = 5000;
    assert.deepEqual(
      [0, 1, 2, 3, 4].map((i) => memory.pageAt(i)),
      [folios[0], (folios[0] ?? 0) + 1, folios[1], (folios[1] ?? 0) + 1, -1],
    );
    const addr = rig.scattered(4);
    const data = rig.fill(addr, 9000, 2);
    const chain = chainOf(WRITE);
    assert.equal(rig.map(chain, rig.iter(WRITE, [[addr, 9000]]), { memory }), 0);
    assert.equal(memory.offset, 14000);
    assert.equal(rowsOf(chain)[0]?.addr, ((folios[0] ?? 0) + 1) * PAGE_BYTES + 904);
    assert.deepEqual(deviceReads(chain), data);
    rig.unmap(chain, 0);
    const more = rig.iter(WRITE, [[addr, 4096]]);
    assert.equal(rig.map(chainOf(WRITE), more, { memory }), -Errno.ENOMEM);
    assert.deepEqual([memory.offset, more.count], [14000, 4096], 'as it was');
    for (const page of folios) rig.own.putFolio(page); // They were not freed.
  });

  test('they end in the second bio: the offset is where it was', () => {
    using rig = new PassthroughRig({ limits: { max_segments: 600, max_hw_sectors: 8192 } });
    const both = Array.from({ length: 600 }, () => rig.own.getFolio(0));
    const memory = new RequestMemory(Uint32Array.from(both.filter((_, i) => i % 2 === 0)), 0);
    const iter = rig.iter(WRITE, [[rig.scattered(301), 301 * PAGE_BYTES]]);
    assert.equal(rig.map(chainOf(WRITE), iter, { memory }), -Errno.ENOMEM);
    assert.deepEqual([memory.offset, iter.count], [0, 301 * PAGE_BYTES]);
    iter.truncate(300 * PAGE_BYTES);
    const chain = chainOf(WRITE);
    assert.equal(rig.map(chain, iter, { memory }), 0);
    assert.equal(memory.offset, 300 * PAGE_BYTES);
    rig.unmap(chain, 0);
    for (const page of both) rig.own.putFolio(page);
  });

  test('null-mapped: no copy in either direction, also where no memory is', () => {
    for (const op of [READ, WRITE]) {
      using rig = new PassthroughRig();
      const page = rig.own.getFolio(0);
      const memory = new RequestMemory(Uint32Array.of(page), 0);
      memory.isNullMapped = true;
      const addr = rig.scattered(1);
      const before = rig.fill(addr, 4096, 1);
      for (const at of [addr, 2 ** 40]) {
        memory.offset = 0;
        const chain = chainOf(op);
        assert.equal(rig.map(chain, rig.iter(op, [[at, 4096]]), { memory }), 0);
        if (op === READ) deviceWrites(chain, pattern(4096, 3));
        endRequest(chain);
        assert.equal(rig.unmap(chain, 4096, false), 0);
      }
      assert.deepEqual(rig.read(addr, 4096), before);
      rig.own.putFolio(page);
    }
  });

  test('from the program first: a command that uses its memory both ways', () => {
    for (const profile of [undefined, LINUX_6_12]) {
      using rig = new PassthroughRig(profile === undefined ? {} : { profile });
      const pages = [0, 1, 2].map(() => rig.own.getFolio(0));
      const memory = new RequestMemory(Uint32Array.from(pages), 0);
      memory.isFromUser = true;
      const addr = rig.scattered(3);
      const data = rig.fill(addr, 9000, 1);
      const chain = chainOf(READ);
      const ranges = [
        [addr, 5000],
        [addr + 5000, 4000],
      ] as const;
      assert.equal(rig.map(chain, rig.iter(READ, ranges), { memory }), 0);
      assert.deepEqual(deviceReads(chain), data, 'the device has it first');
      deviceWrites(chain, pattern(9000, 7));
      endRequest(chain);
      assert.equal(rig.unmap(chain), 0);
      assert.deepEqual(rig.read(addr, 9000), pattern(9000, 7));
      for (const page of pages) rig.own.putFolio(page);
    }
  });

  test('too many segments of theirs stay -EINVAL: the driver asked for these pages', () => {
    using rig = new PassthroughRig({ limits: { max_segments: 1, max_hw_sectors: 64 } });
    const pages = [0, 1, 2].map(() => rig.own.getFolio(0));
    const memory = new RequestMemory(Uint32Array.of(pages[0] ?? 0, pages[2] ?? 0), 0);
    const iter = rig.iter(WRITE, [[rig.scattered(2), 8192]]);
    assert.equal(rig.map(chainOf(WRITE), iter, { memory }), -Errno.EINVAL);
    assert.deepEqual([memory.offset, iter.count], [0, 8192]);
    for (const page of pages) rig.own.putFolio(page);
  });
});
