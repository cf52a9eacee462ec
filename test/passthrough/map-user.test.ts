import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { BvecTable } from '../../src/bvec/bvec-table.ts';
import { FaultSpace } from '../../src/iter/fault-space.fuzz.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { Iovec } from '../../src/iter/iovec.ts';
import { LINUX_6_1, LINUX_6_12 } from '../../src/limits/profile.ts';
import { FAULT_WAIT, NO_MEMORY } from '../../src/map/map-context.ts';
import { decideUser } from '../../src/map/passthrough/map-user.ts';
import { RequestMemory } from '../../src/map/passthrough/request-memory.ts';
import { MapReason, Verdict } from '../../src/map/verdict.ts';
import { Arena } from '../../src/memory/arena.ts';
import { HoldKind, isDirty, pinCount } from '../../src/memory/holds.ts';
import { Protection } from '../../src/memory/user/area.ts';
import { Request } from '../../src/queue/request.ts';
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

describe('the decision', () => {
  const at = (rig: PassthroughRig, iter: IovIter, memory: RequestMemory | null = null): MapReason =>
    decideUser(iter, memory, rig.context.limits, 'auto');

  test('each row of reference 6.1, the first that matches', () => {
    using rig = new PassthroughRig({ limits: { dma_alignment: 3, virt_boundary_mask: 4095 } });
    const memory = new RequestMemory(new Uint32Array(1), 0);
    const off = rig.iter(READ, [[0x1002, 0x100]]);
    assert.equal(at(rig, off, memory), MapReason.RESERVE, '1');
    assert.equal(at(rig, off), MapReason.ADDRESS, '2');
    const table = new BvecTable(2);
    table.set(0, 8, 512, 1024, HoldKind.BORROWED);
    table.set(1, 9, 512, 1024, HoldKind.BORROWED);
    const list = new IovIter();
    list.initBvec(IterDirection.DEST, table, 0, 2, 0, 2048);
    assert.equal(at(rig, list), MapReason.FITS, '3: a gap of rows is seen when they are appended');
    const kernel = new IovIter();
    const iovec = new Iovec();
    iovec.importRange(0x1000, 512);
    kernel.initKernel(IterDirection.DEST, rig.space, iovec);
    assert.equal(at(rig, kernel), MapReason.KERNEL, '4');
    const gap = rig.iter(READ, [
      [0x1000, 0x800],
      [0x5000, 0x800],
    ]);
    assert.equal(at(rig, gap), MapReason.GAP, '5');
    assert.equal(at(rig, rig.iter(READ, [[0x1800, 0x1800]])), MapReason.FITS, '6');
  });

  test('arrays that can be detached are copied, and come back', () => {
    using rig = new PassthroughRig();
    const views = [new Uint8Array(700).fill(1), new Uint8Array(600).fill(2)];
    const iovec = new Iovec();
    iovec.importViews(views);
    const iter = new IovIter();
    iter.initBytes(IterDirection.DEST, iovec);
    const chain = chainOf(READ);
    assert.equal(rig.map(chain, iter), 0);
    assert.equal(rig.outcome.reason, MapReason.DETACHABLE);
    iovec.importViews([new Uint8Array(8)]); // The caller arms its own again.
    deviceWrites(chain, pattern(1300, 8));
    endRequest(chain);
    assert.equal(rig.unmap(chain, 1000), 0);
    const expected = pattern(1300, 8);
    assert.deepEqual(views[0], expected.slice(0, 700));
    assert.deepEqual(views[1]?.subarray(0, 300), expected.slice(700, 1000));
    assert.deepEqual(views[1]?.subarray(300), new Uint8Array(300).fill(2));
  });

  test('memory of an arena is mapped, or copied with its pages pinned', () => {
    using rig = new PassthroughRig();
    using arena = new Arena({ maxBytes: 2 ** 20, label: 'program' });
    for (const copy of ['auto', 'always'] as const) {
      const buffer = arena.alloc(2 * PAGE_BYTES);
      const iter = new IovIter();
      iter.initView(IterDirection.DEST, buffer.bytes);
      const chain = chainOf(READ);
      assert.equal(rig.map(chain, iter, { copy }), 0);
      assert.equal(pinCount(buffer.page), 2);
      deviceWrites(chain, pattern(2 * PAGE_BYTES, 8));
      endRequest(chain);
      assert.equal(rig.unmap(chain), 0);
      assert.deepEqual(Buffer.from(buffer.bytes), Buffer.from(pattern(2 * PAGE_BYTES, 8)));
      buffer.release();
    }
    arena.assertNothingOutstanding();
  });
});

describe('rows of a segment list', () => {
  function listOf(rows: readonly (readonly [number, number, number])[]): IovIter {
    const table = new BvecTable(rows.length);
    rows.forEach(([page, offset, len], i) => {
      table.set(i, page, offset, len, HoldKind.BORROWED);
    });
    const iter = new IovIter();
    const bytes = rows.reduce((sum, [, , len]) => sum + len, 0);
    iter.initBvec(IterDirection.SOURCE, table, 0, rows.length, 0, bytes);
    return iter;
  }

  test('are reused as they are, without a hold; what would be split is copied', () => {
    for (const profile of [undefined, LINUX_6_12]) {
      const limits = { max_segments: 2, max_hw_sectors: 64 };
      const options = profile === undefined ? { limits } : { limits, profile };
      using rig = new PassthroughRig(options);
      const pages = [0, 1, 2].map(() => rig.own.getFolio(1));
      const chain = chainOf(WRITE);
      const two = listOf(pages.slice(0, 2).map((page) => [page, 0, PAGE_BYTES] as const));
      assert.equal(rig.map(chain, two), 0);
      assert.equal(rig.outcome.verdict, Verdict.MAP);
      assert.deepEqual(
        rowsOf(chain).map(({ addr }) => addr),
        pages.slice(0, 2).map((page) => page * PAGE_BYTES),
      );
      rig.unmap(chain, 0);
      const more = chainOf(WRITE);
      const three = listOf(pages.map((page) => [page, 0, PAGE_BYTES] as const));
      const result = rig.map(more, three);
      // Kernels too, though they refuse a program's memory in the same place; with single pages,
      // which are neighbours here.
      assert.deepEqual([result, rig.outcome.reason], [0, MapReason.SEGMENTS]);
      rig.unmap(more, 0);
      for (const page of pages) rig.own.putFolio(page);
    }
  });

  test('none, or more than the device takes: -EINVAL', () => {
    using rig = new PassthroughRig({ limits: { max_hw_sectors: 8 } });
    const iter = listOf([[5, 0, 8192]]);
    assert.equal(rig.map(chainOf(WRITE), iter), -Errno.EINVAL);
    assert.equal(rig.outcome.reason, MapReason.SIZE);
    iter.truncate(0);
    assert.equal(rig.map(chainOf(WRITE), iter), -Errno.EINVAL);
  });
});

describe('a request', () => {
  test('of the queue takes them as well; a later buffer is appended, or all is as before', () => {
    using rig = new PassthroughRig({ limits: { max_segments: 6, max_hw_sectors: 64 } });
    const request = new Request();
    request.op = READ;
    const addr = rig.scattered(8);
    assert.equal(rig.map(request, rig.iter(READ, [[addr, 2 * PAGE_BYTES]])), 0);
    assert.equal(rig.map(request, rig.iter(READ, [[addr + 4 * PAGE_BYTES, PAGE_BYTES]])), 0);
    assert.deepEqual([request.segments, request.bytes, biosOf(request).length], [3, 12288, 2]);
    const tail = request.bioTail;
    const iter = rig.iter(READ, [[addr, 6 * PAGE_BYTES]]);
    assert.equal(rig.map(request, iter, { copy: 'never' }), -Errno.EINVAL);
    assert.deepEqual([request.bioTail, request.segments, request.bytes], [tail, 3, 12288]);
    assert.equal(request.bioTail?.next, null);
    assert.equal(iter.count, 6 * PAGE_BYTES);
    // Copied, the same memory needs one segment.
    assert.equal(rig.map(request, iter), -Errno.EINVAL, 'nine pages are more than 32 KiB');
    iter.truncate(5 * PAGE_BYTES);
    assert.equal(rig.map(request, iter), 0);
    assert.equal(request.segments, 4);
    rig.unmap(request, 0);
  });

  test('kernels take a part of a sector too much in a second bio, 6.1 in the first', () => {
    // Recorded as map-u10-08 and map-u09-22: 131,076 bytes with max_hw_sectors 256.
    const limits = { max_hw_sectors: 256, dma_alignment: 3 };
    for (const [profile, bios] of [
      [LINUX_6_1, 1],
      [LINUX_6_12, 2],
    ] as const) {
      using rig = new PassthroughRig({ limits, profile });
      const chain = chainOf(WRITE);
      assert.equal(rig.map(chain, rig.iter(WRITE, [[rig.huge(6), 131076]])), 0);
      assert.equal(biosOf(chain).length, bios);
      rig.unmap(chain, 0);
    }
    using rig = new PassthroughRig({ limits });
    const result = rig.map(chainOf(WRITE), rig.iter(WRITE, [[rig.huge(6), 131076]]));
    assert.deepEqual([result, rig.outcome.reason], [-Errno.EINVAL, MapReason.SIZE]);
  });

  test('a mapped read dirties what was transferred, and no folio behind it', () => {
    using rig = new PassthroughRig();
    const addr = rig.scattered(4);
    const frames = [0, 1, 2, 3].map((i) => rig.frameAt(addr + i * PAGE_BYTES));
    const chain = chainOf(READ);
    assert.equal(rig.map(chain, rig.iter(READ, [[addr, 4 * PAGE_BYTES]])), 0);
    endRequest(chain);
    assert.equal(rig.unmap(chain, PAGE_BYTES + 1), 0);
    assert.deepEqual(frames.map(isDirty), [true, true, false, false]);
  });

  test('what was transferred ends in the first of two bios: the second stays as it was', () => {
    for (const copy of ['auto', 'always'] as const) {
      using rig = new PassthroughRig({ limits: { max_segments: 600, max_hw_sectors: 8192 } });
      using _odd = rig.fragment(1);
      const pages = 300;
      const addr = rig.scattered(pages);
      const before = rig.fill(addr, pages * PAGE_BYTES, 1);
      const chain = chainOf(READ);
      const iter = rig.iter(READ, [[addr, pages * PAGE_BYTES]]);
      assert.equal(rig.map(chain, iter, { copy }), 0);
      assert.equal(biosOf(chain).length, 2);
      const done = 100 * PAGE_BYTES;
      deviceWrites(chain, pattern(done, 2));
      endRequest(chain);
      assert.equal(rig.unmap(chain, done), 0);
      const dirty = [0, 99, 100, 256, 299].map((i) => isDirty(rig.frameAt(addr + i * PAGE_BYTES)));
      assert.deepEqual(dirty, [true, true, false, false, false]);
      before.set(pattern(done, 2));
      assert.deepEqual(Buffer.from(rig.read(addr, before.length)), Buffer.from(before));
    }
  });

  test('own pages count with what the request has already', () => {
    // Three of four segments are taken, so two pages must be one chunk, and the arena has none.
    using rig = new PassthroughRig({ limits: { max_segments: 4, max_hw_sectors: 64 } });
    const addr = rig.scattered(8);
    const chain = chainOf(WRITE);
    assert.equal(rig.map(chain, rig.iter(WRITE, [[addr, 3 * PAGE_BYTES]])), 0);
    const more = rig.iter(WRITE, [[addr + 3 * PAGE_BYTES, 2 * PAGE_BYTES]]);
    {
      using _odd = rig.fragment(1);
      assert.equal(rig.map(chain, more), -Errno.ENOMEM);
    }
    assert.equal(rig.map(chain, more), 0);
    assert.equal(chain.segments, 4);
    rig.unmap(chain, 0);
  });

  test('H11: a copied read that was never issued, or failed, writes nothing to the program', () => {
    for (const issued of [false, true]) {
      using rig = new PassthroughRig();
      const addr = rig.scattered(2);
      const before = rig.fill(addr, 2 * PAGE_BYTES, 1);
      const chain = chainOf(READ);
      assert.equal(rig.map(chain, rig.iter(READ, [[addr + 1, 5000]])), 0);
      deviceWrites(chain, pattern(5000, 9));
      if (issued) endRequest(chain);
      assert.equal(rig.unmap(chain, 0), 0);
      assert.deepEqual(rig.read(addr, 2 * PAGE_BYTES), before);
      assert.ok(!isDirty(rig.frameAt(addr)));
    }
  });

  test('H10: copies never exceed max_segments, whatever the arena looks like', () => {
    using rig = new PassthroughRig({ limits: { max_segments: 8, max_hw_sectors: 2048 } });
    const addr = rig.scattered(100);
    using _odd = rig.fragment(3);
    // Eight chunks of at most 28 KiB in runs of seven pages: 16 KiB folios.
    for (const [pages, result] of [
      [32, 0],
      [33, -Errno.ENOMEM],
    ] as const) {
      const chain = chainOf(WRITE);
      const iter = rig.iter(WRITE, [[addr + 1, pages * PAGE_BYTES - 8]]);
      assert.equal(rig.map(chain, iter), result);
      assert.ok(chain.segments <= 8);
      if (result === 0) rig.unmap(chain, 0);
    }
    assert.ok((rig.own.stats().failuresByOrder[3] ?? 0) > 0, 'failures by order are told');
  });

  test('a write is what the memory was at the call', () => {
    using rig = new PassthroughRig();
    const addr = rig.scattered(2);
    const data = rig.fill(addr + 3, 5000, 4);
    const chain = chainOf(WRITE);
    assert.equal(rig.map(chain, rig.iter(WRITE, [[addr + 3, 5000]])), 0);
    assert.equal(rig.pins, 0, 'a snapshot needs no pin');
    rig.fill(addr, 6000, 5);
    assert.deepEqual(deviceReads(chain), data);
    rig.unmap(chain, 5000);
  });

  test('fork in flight: the parent has the bytes, the child what was there', () => {
    for (const copy of ['auto', 'always'] as const) {
      using rig = new PassthroughRig();
      const addr = rig.scattered(2);
      const before = rig.fill(addr, 8192, 1);
      const chain = chainOf(READ);
      assert.equal(rig.map(chain, rig.iter(READ, [[addr, 8192]]), { copy }), 0);
      const child = rig.space.fork('child');
      rig.space.write(addr, new Uint8Array([255]));
      deviceWrites(chain, pattern(8192, 6));
      endRequest(chain);
      assert.equal(rig.unmap(chain), 0);
      assert.deepEqual(rig.read(addr, 8192), pattern(8192, 6), copy);
      const seen = new Uint8Array(8192);
      child.read(addr, seen);
      assert.deepEqual(seen, before, copy);
    }
  });
});

describe('memory that is short or must be waited for', () => {
  test('FAULT_WAIT: nothing is held, and asking again goes on', () => {
    for (const op of [READ, WRITE]) {
      for (const copy of ['auto', 'always'] as const) {
        using rig = new PassthroughRig();
        const space = new FaultSpace();
        const pages = [0, 1, 2].map(() => rig.own.getFolio(0));
        pages.forEach((frame, i) => {
          space.map(0x10000 + i * PAGE_BYTES, { frame, waits: i === 1 ? Infinity : 0 });
        });
        const chain = chainOf(op);
        const iter = rig.iter(op, [[0x10000, 3 * PAGE_BYTES]], space);
        assert.equal(rig.map(chain, iter, { copy }), FAULT_WAIT);
        assert.deepEqual([rig.pins, chain.bio, iter.count], [0, null, 3 * PAGE_BYTES]);
        space.ready();
        assert.equal(rig.map(chain, iter, { copy }), 0);
        rig.unmap(chain, 0);
        for (const page of pages) rig.own.putFolio(page);
      }
    }
  });

  test('NO_MEMORY while another request has pages to give back; else -ENOMEM', () => {
    using rig = new PassthroughRig({ ownPages: 4 });
    const addr = rig.scattered(8);
    const ask = (pages: number) => rig.iter(WRITE, [[addr, pages * PAGE_BYTES]]);
    const first = chainOf(WRITE);
    assert.equal(rig.map(first, ask(3), { copy: 'always' }), 0);
    const second = chainOf(WRITE);
    assert.equal(rig.map(second, ask(3), { copy: 'always' }), NO_MEMORY);
    rig.unmap(first, 0);
    assert.equal(rig.map(second, ask(3), { copy: 'always' }), 0);
    rig.unmap(second, 0);
    assert.equal(rig.map(chainOf(WRITE), ask(8), { copy: 'always' }), -Errno.ENOMEM);
  });

  test('no bio: the same', () => {
    using rig = new PassthroughRig({ bios: 0 }); // Two in the reserve.
    const iter = rig.iter(WRITE, [[rig.scattered(1), PAGE_BYTES]]);
    const chains = [chainOf(WRITE), chainOf(WRITE), chainOf(WRITE)];
    const results = chains.map((chain) => {
      const again = new IovIter();
      again.assign(iter);
      return rig.map(chain, again);
    });
    assert.deepEqual(results, [0, 0, NO_MEMORY]);
    for (const chain of chains.slice(0, 2)) rig.unmap(chain, 0);
  });

  test('read-only memory: a read is -EFAULT, a write goes', () => {
    using rig = new PassthroughRig();
    const addr = rig.area(2, Protection.READ);
    const range = [[addr, 2 * PAGE_BYTES]] as const;
    assert.equal(rig.map(chainOf(READ), rig.iter(READ, range)), -Errno.EFAULT);
    assert.equal(rig.map(chainOf(READ), rig.iter(READ, range), { copy: 'always' }), -Errno.EFAULT);
    const chain = chainOf(WRITE);
    assert.equal(rig.map(chain, rig.iter(WRITE, range)), 0);
    assert.ok(
      deviceReads(chain).every((byte) => byte === 0),
      'the zero page',
    );
    rig.unmap(chain, 0);
  });

  test('no bytes: -EINVAL', () => {
    using rig = new PassthroughRig();
    for (const copy of ['auto', 'always'] as const) {
      assert.equal(rig.map(chainOf(READ), rig.iter(READ, []), { copy }), -Errno.EINVAL);
    }
  });
});
