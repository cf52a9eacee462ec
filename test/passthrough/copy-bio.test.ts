import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { BvecTable } from '../../src/bvec/bvec-table.ts';
import { FaultSpace } from '../../src/iter/fault-space.fuzz.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { LINUX_6_12, PROFILES } from '../../src/limits/profile.ts';
import { NO_MEMORY } from '../../src/map/map-context.ts';
import { copyRowsMax } from '../../src/map/passthrough/copy-bio.ts';
import { RequestMemory } from '../../src/map/passthrough/request-memory.ts';
import { MapReason } from '../../src/map/verdict.ts';
import { Arena } from '../../src/memory/arena.ts';
import { copyIn, zeroPages } from '../../src/memory/copy.ts';
import { HoldKind } from '../../src/memory/holds.ts';
import {
  biosOf,
  chainOf,
  deviceReads,
  deviceWrites,
  endRequest,
  PassthroughRig,
  pattern,
  rowsOf,
} from './passthrough-rig.ts';

const { READ, WRITE } = BioOp;

test('rows of a copied bio: a page each, from the offset on, at most 256', () => {
  for (const [bytes, offset, rows] of [
    [1, 0, 1],
    [4096, 0, 1],
    [4097, 0, 2],
    [4096, 1, 2],
    [16384, 512, 5],
    [256 * 4096, 0, 256],
    [2 ** 30, 0, 256],
    [0, 0, 1],
  ] as const) {
    assert.equal(copyRowsMax(bytes, offset), rows);
  }
});

describe('what a device sees before it writes', () => {
  test('own pages are cleared, whoever had them before, also behind an odd length', () => {
    for (const profile of PROFILES) {
      using rig = new PassthroughRig({ profile, ownPages: 64 });
      rig.soilOwnPages();
      const addr = rig.scattered(3);
      rig.fill(addr, 3 * PAGE_BYTES, 5);
      const chain = chainOf(READ);
      assert.equal(rig.map(chain, rig.iter(READ, [[addr + 1, 9000]])), 0);
      assert.deepEqual(deviceReads(chain), new Uint8Array(9000));
      rig.unmap(chain, 0);
    }
  });

  test('pages of a driver are what the driver made of them', () => {
    for (const profile of PROFILES) {
      using rig = new PassthroughRig({ profile });
      const page = rig.own.getFolio(1);
      const inside = pattern(2 * PAGE_BYTES, 3);
      copyIn(page, 0, inside, 0, inside.length);
      const memory = new RequestMemory(Uint32Array.of(page), 1);
      const addr = rig.scattered(2);
      rig.fill(addr, 2 * PAGE_BYTES, 5);
      const chain = chainOf(READ);
      assert.equal(rig.map(chain, rig.iter(READ, [[addr, 8000]]), { memory }), 0);
      assert.deepEqual(deviceReads(chain), inside.subarray(0, 8000));
      rig.unmap(chain, 0);
      rig.own.putFolio(page);
    }
  });

  test('a driver offset inside a page takes a row more, not a bio more', () => {
    using rig = new PassthroughRig();
    const all = Array.from({ length: 10 }, () => rig.own.getFolio(0));
    const memory = new RequestMemory(Uint32Array.from(all.filter((_, i) => i % 2 === 0)), 0);
    memory.offset = 512;
    const chain = chainOf(WRITE);
    const iter = rig.iter(WRITE, [[rig.scattered(4), 4 * PAGE_BYTES]]);
    assert.equal(rig.map(chain, iter, { memory }), 0);
    assert.deepEqual([biosOf(chain).length, rowsOf(chain).length], [1, 5]);
    rig.unmap(chain, 0);
    for (const page of all) rig.own.putFolio(page);
  });

  test('neighbours among the pages of a driver are one row, however many segments', () => {
    for (const [profile, rows] of [
      [undefined, [12288]],
      [LINUX_6_12, [4096, 4096, 4096]],
    ] as const) {
      const limits = { max_segment_size: 4096 };
      using rig = new PassthroughRig(profile === undefined ? { limits } : { limits, profile });
      const page = rig.own.getFolio(2);
      const memory = new RequestMemory(Uint32Array.of(page), 2);
      const chain = chainOf(WRITE);
      const iter = rig.iter(WRITE, [[rig.scattered(3), 3 * PAGE_BYTES]]);
      assert.equal(rig.map(chain, iter, { memory }), 0);
      assert.deepEqual(
        rowsOf(chain).map(({ len }) => len),
        rows,
      );
      assert.equal(chain.segments, 3);
      rig.unmap(chain, 0);
      rig.own.putFolio(page);
    }
  });
});

describe('counters', () => {
  test('own pages while they are used; bytes copied by reason, each way', () => {
    using rig = new PassthroughRig();
    const { counters } = rig.context;
    const addr = rig.scattered(3);
    const write = chainOf(WRITE);
    assert.equal(rig.map(write, rig.iter(WRITE, [[addr + 1, 9000]])), 0);
    assert.deepEqual([counters.bouncePages, counters.pagesHeld], [3, 0]);
    assert.equal(counters.bytesCopied[MapReason.ADDRESS], 9000);
    rig.unmap(write, 9000);
    const read = chainOf(READ);
    assert.equal(rig.map(read, rig.iter(READ, [[addr, 8192]]), { copy: 'always' }), 0);
    assert.deepEqual([counters.bouncePages, counters.pagesHeld], [2, 2]);
    endRequest(read);
    rig.unmap(read, 5000);
    assert.deepEqual([counters.bouncePages, counters.pagesHeld], [0, 0]);
    assert.equal(counters.bytesCopied[MapReason.ASKED], 5000);
    assert.deepEqual(counters.copiedByReason(), { address: 9000, asked: 5000 });
    assert.equal(counters.bytesMapped, 0);
  });

  test('both ways counts both; those of a driver are not own', () => {
    using rig = new PassthroughRig();
    const { counters } = rig.context;
    const page = rig.own.getFolio(0);
    const memory = new RequestMemory(Uint32Array.of(page), 0);
    memory.isFromUser = true;
    const chain = chainOf(READ);
    assert.equal(rig.map(chain, rig.iter(READ, [[rig.scattered(1), 4000]]), { memory }), 0);
    assert.deepEqual([counters.bouncePages, counters.bytesCopied[MapReason.RESERVE]], [0, 4000]);
    endRequest(chain);
    rig.unmap(chain, 1000);
    assert.equal(counters.bytesCopied[MapReason.RESERVE], 5000);
    rig.own.putFolio(page);
  });
});

describe('copies that cannot be', () => {
  test('more than 1024 segments: -ENOMEM, nothing is taken, the pools go on', () => {
    for (const busy of [false, true]) {
      using rig = new PassthroughRig();
      const other = chainOf(WRITE);
      if (busy) assert.equal(rig.map(other, rig.iter(WRITE, [[rig.scattered(1), 512]])), 0);
      const table = new BvecTable(1025);
      const page = rig.own.getFolio(0);
      for (let i = 0; i < 1025; i++) table.set(i, page, 1, 2, HoldKind.BORROWED);
      const iter = new IovIter();
      iter.initBvec(IterDirection.SOURCE, table, 0, 1025, 0, 2050);
      const chain = chainOf(WRITE);
      assert.equal(rig.map(chain, iter), busy ? NO_MEMORY : -Errno.ENOMEM);
      assert.deepEqual([chain.bio, iter.count], [null, 2050]);
      iter.advance(2);
      assert.equal(rig.map(chain, iter), 0);
      rig.unmap(chain, 0);
      if (busy) rig.unmap(other, 0);
      rig.own.putFolio(page);
    }
  });

  test('the answer of the space is told: of a read, a write, and both', () => {
    for (const [error, result] of [
      [undefined, -Errno.EFAULT],
      [-Errno.EIO, -Errno.EIO],
    ] as const) {
      for (const op of [READ, WRITE]) {
        using rig = new PassthroughRig();
        const space = new FaultSpace();
        const frames = [rig.own.getFolio(0), rig.own.getFolio(0)];
        frames.forEach((frame, i) => {
          const page = i === 1 && error !== undefined ? { frame, error } : { frame };
          if (i === 0 || error !== undefined) space.map(0x10000 + i * PAGE_BYTES, page);
        });
        const iter = rig.iter(op, [[0x10001, 8000]], space);
        const chain = chainOf(op);
        assert.equal(rig.map(chain, iter), result);
        assert.deepEqual([iter.count, chain.bio, rig.pins], [8000, null, 0]);
        for (const frame of frames) rig.own.putFolio(frame);
      }
    }
    // A page that was absent when it was copied, and is there when it is asked for why.
    using late = new PassthroughRig();
    const space = new FaultSpace();
    const late0 = late.own.getFolio(0);
    let looks = 0;
    space.onFault = () => {
      if (++looks === 2) space.map(0x10000, { frame: late0 });
    };
    const twice = late.iter(WRITE, [[0x10001, 512]], space);
    assert.equal(late.map(chainOf(WRITE), twice), -Errno.EFAULT);
    assert.equal(looks, 2);
    late.own.putFolio(late0);
    // Where nothing is pinned at the call, memory that is gone is found by the copy in.
    using rig = new PassthroughRig({ profile: LINUX_6_12 });
    const page = rig.own.getFolio(1);
    const memory = new RequestMemory(Uint32Array.of(page), 1);
    memory.isFromUser = true;
    const addr = rig.scattered(2);
    rig.space.munmap(addr + PAGE_BYTES, PAGE_BYTES);
    const iter = rig.iter(READ, [[addr, 8000]]);
    assert.equal(rig.map(chainOf(READ), iter, { memory }), -Errno.EFAULT);
    assert.deepEqual([iter.count, memory.offset], [8000, 0]);
    rig.own.putFolio(page);
  });

  test('memory of an arena that its owner gave back: -EFAULT', () => {
    using arena = new Arena({ maxBytes: 2 ** 20, label: 'program' });
    for (const op of [READ, WRITE]) {
      using rig = new PassthroughRig();
      const buffers = [arena.alloc(PAGE_BYTES), arena.alloc(PAGE_BYTES)] as const;
      const iter = new IovIter();
      const direction = op === READ ? IterDirection.DEST : IterDirection.SOURCE;
      iter.initView(direction, buffers[1].bytes);
      buffers[1].release();
      assert.equal(rig.map(chainOf(op), iter, { copy: 'always' }), -Errno.EFAULT);
      assert.equal(iter.count, PAGE_BYTES);
      buffers[0].release();
    }
    arena.assertNothingOutstanding();
  });

  test('the pool of bios is empty: -ENOMEM, or NO_MEMORY while another request has some', () => {
    using rig = new PassthroughRig({ bios: 0 }); // Two, as a reserve.
    const addr = rig.scattered(2);
    const chains = [chainOf(WRITE), chainOf(WRITE)];
    for (const chain of chains) {
      assert.equal(rig.map(chain, rig.iter(WRITE, [[addr, 512]]), { copy: 'always' }), 0);
    }
    const iter = rig.iter(WRITE, [[addr, 512]]);
    assert.equal(rig.map(chainOf(WRITE), iter, { copy: 'always' }), NO_MEMORY);
    for (const chain of chains) {
      rig.unmap(chain, 0);
      chain.reset(WRITE);
    }
    assert.equal(rig.map(chains[0], iter, { copy: 'always' }), 0, 'its own bios were given back');
    rig.unmap(chains[0], 0);
  });

  test('records are pooled: what one request was says nothing about the next', () => {
    using rig = new PassthroughRig();
    using arena = new Arena({ maxBytes: 2 ** 20, label: 'program' });
    const buffer = arena.alloc(PAGE_BYTES);
    const page = rig.own.getFolio(0);
    const addr = rig.scattered(1);
    const viewOf = (op: BioOp): IovIter => {
      const iter = new IovIter();
      iter.initView(op === READ ? IterDirection.DEST : IterDirection.SOURCE, buffer.bytes);
      return iter;
    };
    const memory = new RequestMemory(Uint32Array.of(page), 0);
    memory.isNullMapped = true;
    const once = (op: BioOp, iter: IovIter, driver: RequestMemory | null): void => {
      const chain = chainOf(op);
      const options = { memory: driver, copy: 'always' } as const;
      assert.equal(rig.map(chain, iter, options), 0);
      deviceWrites(chain, pattern(1000, 4));
      endRequest(chain);
      assert.equal(rig.unmap(chain, 1000), 0);
      assert.equal(rig.pins, 0);
    };
    once(READ, viewOf(READ), null); // Pins an array.
    once(WRITE, viewOf(WRITE), null); // Pins none.
    once(READ, rig.iter(READ, [[addr, 4096]]), memory); // Copies nothing, owns nothing.
    const before = rig.read(addr, 1000);
    once(READ, rig.iter(READ, [[addr, 4096]]), null);
    assert.notDeepEqual(before, pattern(1000, 4));
    assert.deepEqual(rig.read(addr, 1000), pattern(1000, 4));
    zeroPages(buffer.page, 0, PAGE_BYTES);
    once(READ, viewOf(READ), null); // Its rows of pins are of the past.
    assert.deepEqual(Uint8Array.from(buffer.bytes.subarray(0, 1000)), pattern(1000, 4));
    rig.own.putFolio(page);
    buffer.release();
    arena.assertNothingOutstanding();
  });
});
