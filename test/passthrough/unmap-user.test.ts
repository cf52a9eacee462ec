import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { type Bio, BioState } from '../../src/bio/bio.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { BvecTable } from '../../src/bvec/bvec-table.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { LINUX_6_12, PROFILES } from '../../src/limits/profile.ts';
import { RequestMemory } from '../../src/map/passthrough/request-memory.ts';
import { unmapUser } from '../../src/map/passthrough/unmap-user.ts';
import { Arena } from '../../src/memory/arena.ts';
import { copyOut, zeroPages } from '../../src/memory/copy.ts';
import { HoldKind, isDirty, pinCount, pinPages, unpinPages } from '../../src/memory/holds.ts';
import {
  biosOf,
  chainOf,
  deviceWrites,
  endRequest,
  PassthroughRig,
  pattern,
} from './passthrough-rig.ts';

const { READ, WRITE } = BioOp;
const profile = LINUX_6_12; // Its rule is 'address'.

/** 300 single pages, so two bios of 256 and 44; and where they start in the program. */
function twoBios(
  rig: PassthroughRig,
  op: BioOp,
): { chain: ReturnType<typeof chainOf>; addr: number } {
  const chain = chainOf(op);
  const addr = rig.scattered(300);
  rig.fill(addr, 300 * PAGE_BYTES, 1);
  const iter = rig.iter(op, [[addr, 300 * PAGE_BYTES]]);
  assert.equal(rig.map(chain, iter, { copy: 'always' }), 0);
  assert.equal(biosOf(chain).length, 2);
  return { chain, addr };
}

const large = { max_segments: 600, max_hw_sectors: 8192 };

describe('what comes back', () => {
  test('goes to the pages that were pinned at the call, though the program unmapped them', () => {
    using rig = new PassthroughRig();
    const addr = rig.scattered(2);
    rig.fill(addr, 2 * PAGE_BYTES, 1);
    const frame = rig.frameAt(addr + PAGE_BYTES);
    const chain = chainOf(READ);
    assert.equal(rig.map(chain, rig.iter(READ, [[addr + 1, 8000]])), 0);
    assert.equal(pinCount(frame), 1);
    rig.space.munmap(addr, 2 * PAGE_BYTES);
    deviceWrites(chain, pattern(8000, 4));
    endRequest(chain);
    assert.equal(pinPages(frame, 1), 1, 'a witness, that it is not free when we look');
    assert.equal(rig.unmap(chain), 0);
    const seen = new Uint8Array(100);
    copyOut(seen, 0, frame, 0, 100);
    assert.deepEqual(seen, pattern(8000, 4).subarray(4095, 4195));
    assert.ok(isDirty(frame));
    unpinPages(frame, 1);
  });

  test('kernels look at the end: -EFAULT for what is gone by then', () => {
    using rig = new PassthroughRig({ profile });
    const addr = rig.scattered(2);
    const chain = chainOf(READ);
    assert.equal(rig.map(chain, rig.iter(READ, [[addr + 1, 8000]])), 0);
    assert.equal(rig.pins, 0);
    rig.space.munmap(addr + PAGE_BYTES, PAGE_BYTES);
    deviceWrites(chain, pattern(8000, 4));
    endRequest(chain);
    assert.equal(rig.unmap(chain), -Errno.EFAULT);
    assert.deepEqual(rig.read(addr + 1, 4095), pattern(8000, 4).subarray(0, 4095));
  });

  test('kernels copy all of a read that was issued, cleared bytes behind a short end', () => {
    for (const issued of [true, false]) {
      using rig = new PassthroughRig({ profile });
      const addr = rig.scattered(1);
      const before = rig.fill(addr, PAGE_BYTES, 1);
      const chain = chainOf(READ);
      assert.equal(rig.map(chain, rig.iter(READ, [[addr + 1, 4000]])), 0);
      deviceWrites(chain, pattern(100, 4));
      if (issued) endRequest(chain);
      assert.equal(rig.unmap(chain, 100), 0);
      const expected = Uint8Array.from(before);
      if (issued) expected.fill(0, 1, 4001).set(pattern(100, 4), 1);
      assert.deepEqual(rig.read(addr, PAGE_BYTES), expected);
    }
  });

  test('kernels mark all of a mapped read, and nothing of one that was not issued', () => {
    for (const [issued, dirty] of [
      [true, [true, true]],
      [false, [false, false]],
    ] as const) {
      using rig = new PassthroughRig({ profile });
      const addr = rig.scattered(2);
      const frames = [rig.frameAt(addr), rig.frameAt(addr + PAGE_BYTES)];
      const chain = chainOf(READ);
      assert.equal(rig.map(chain, rig.iter(READ, [[addr, 8192]])), 0);
      if (issued) endRequest(chain);
      assert.equal(rig.unmap(chain, 512), 0);
      assert.deepEqual(frames.map(isDirty), dirty);
    }
  });

  test('a write dirties nothing, mapped or copied', () => {
    for (const copy of ['auto', 'always'] as const) {
      using rig = new PassthroughRig();
      const addr = rig.scattered(1);
      const chain = chainOf(WRITE);
      assert.equal(rig.map(chain, rig.iter(WRITE, [[addr, 4096]]), { copy }), 0);
      endRequest(chain);
      assert.equal(rig.unmap(chain), 0);
      assert.ok(!isDirty(rig.frameAt(addr)));
    }
  });

  test('of a copied read what was transferred is dirty, and no page behind it', () => {
    using rig = new PassthroughRig();
    const addr = rig.scattered(3);
    const frames = [0, 1, 2].map((i) => rig.frameAt(addr + i * PAGE_BYTES));
    const chain = chainOf(READ);
    assert.equal(rig.map(chain, rig.iter(READ, [[addr, 3 * PAGE_BYTES]]), { copy: 'always' }), 0);
    endRequest(chain);
    assert.equal(rig.unmap(chain, PAGE_BYTES), 0);
    assert.deepEqual(frames.map(isDirty), [true, false, false]);
  });
});

describe('errors', () => {
  test('without the memory of the task: -EINTR for each copy that was issued, both ways', () => {
    for (const op of [READ, WRITE]) {
      for (const [copy, issued, result] of [
        ['always', true, -Errno.EINTR],
        ['always', false, 0],
        ['auto', true, 0],
      ] as const) {
        using rig = new PassthroughRig({ profile });
        const addr = rig.scattered(1);
        const before = rig.fill(addr, PAGE_BYTES, 1);
        const chain = chainOf(op);
        assert.equal(rig.map(chain, rig.iter(op, [[addr, 4096]]), { copy }), 0);
        if (issued) endRequest(chain);
        assert.equal(rig.unmap(chain, 4096, false), result);
        assert.deepEqual(rig.read(addr, PAGE_BYTES), before);
      }
    }
  });

  test('with memory unless it is said otherwise', () => {
    using rig = new PassthroughRig({ profile });
    const addr = rig.scattered(1);
    const chain = chainOf(READ);
    assert.equal(rig.map(chain, rig.iter(READ, [[addr + 1, 512]])), 0);
    deviceWrites(chain, pattern(512, 2));
    endRequest(chain);
    assert.equal(unmapUser(chain.bio, rig.context, { transferredBytes: 512 }), 0);
    assert.deepEqual(rig.read(addr + 1, 512), pattern(512, 2));
  });

  test('the first is told, and what is behind it comes back all the same', () => {
    using rig = new PassthroughRig({ profile, limits: large });
    using _odd = rig.fragment(1);
    const { chain, addr } = twoBios(rig, READ);
    rig.space.munmap(addr, PAGE_BYTES);
    const bytes = pattern(300 * PAGE_BYTES, 3);
    deviceWrites(chain, bytes);
    endRequest(chain);
    assert.equal(rig.unmap(chain), -Errno.EFAULT);
    const at = 256 * PAGE_BYTES;
    const behind = Buffer.from(rig.read(addr + at, 44 * PAGE_BYTES));
    assert.deepEqual(behind, Buffer.from(bytes.subarray(at)));
  });

  test('in the second bio: what came before it stands', () => {
    using rig = new PassthroughRig({ profile, limits: large });
    using _odd = rig.fragment(1);
    const { chain, addr } = twoBios(rig, READ);
    rig.space.munmap(addr + 299 * PAGE_BYTES, PAGE_BYTES);
    endRequest(chain);
    assert.equal(rig.unmap(chain), -Errno.EFAULT);
    assert.ok(rig.read(addr, PAGE_BYTES).every((byte) => byte === 0));
  });
});

describe('bytes of a bio', () => {
  test('are those that it was built with, however far the device moved it on', () => {
    for (const copy of ['auto', 'always'] as const) {
      using rig = new PassthroughRig();
      const addr = rig.scattered(3);
      const chain = chainOf(READ);
      assert.equal(rig.map(chain, rig.iter(READ, [[addr, 3 * PAGE_BYTES]]), { copy }), 0);
      deviceWrites(chain, pattern(3 * PAGE_BYTES, 6));
      chain.bio?.advance(2 * PAGE_BYTES + 512);
      endRequest(chain);
      assert.equal(rig.unmap(chain), 0);
      assert.deepEqual(rig.read(addr, 3 * PAGE_BYTES), pattern(3 * PAGE_BYTES, 6));
      const { bytesMapped, bytesCopied } = rig.context.counters;
      const copied = bytesCopied.reduce((sum, bytes) => sum + bytes, 0);
      assert.deepEqual([bytesMapped, copied], copy === 'auto' ? [12288, 0] : [0, 12288]);
    }
  });

  test('end with its rows: what is behind them belongs to the next', () => {
    using rig = new PassthroughRig({ limits: large });
    const addr = rig.scattered(300);
    const chain = chainOf(READ);
    assert.equal(rig.map(chain, rig.iter(READ, [[addr, 300 * PAGE_BYTES]])), 0);
    assert.equal(biosOf(chain).length, 2);
    endRequest(chain);
    assert.equal(rig.unmap(chain, 256 * PAGE_BYTES + 100), 0);
    const dirty = [255, 256, 257].map((i) => isDirty(rig.frameAt(addr + i * PAGE_BYTES)));
    assert.deepEqual(dirty, [true, true, false]);
    assert.equal(rig.context.counters.bytesMapped, 256 * PAGE_BYTES + 100);
  });

  test('rows of a list: only the part that the bio has, and its owner keeps their pins', () => {
    using rig = new PassthroughRig();
    const pages = [0, 1, 2, 3].map(() => rig.users.getFolio(0));
    const table = new BvecTable(2);
    [0, 2].forEach((i, row) => {
      assert.equal(pinPages(pages[i] as number, 1), 1);
      table.set(row, pages[i] as number, 0, PAGE_BYTES, HoldKind.PINNED);
    });
    const list = new IovIter();
    list.initBvec(IterDirection.DEST, table, 0, 2, 512, PAGE_BYTES);
    const chain = chainOf(READ);
    assert.equal(rig.map(chain, list), 0);
    assert.equal(rig.context.counters.pagesHeld, 0);
    const addr = rig.scattered(2);
    const frames = [rig.frameAt(addr), rig.frameAt(addr + PAGE_BYTES)];
    assert.equal(rig.map(chain, rig.iter(READ, [[addr, 2 * PAGE_BYTES]])), 0);
    endRequest(chain);
    // 4,096 bytes are the part of the list; then 100 of the program's own memory.
    assert.equal(rig.unmap(chain, PAGE_BYTES + 100), 0);
    assert.deepEqual(frames.map(isDirty), [true, false]);
    assert.equal(rig.context.counters.bytesMapped, PAGE_BYTES + 100);
    for (const i of [0, 2]) {
      assert.equal(pinCount(pages[i] as number), 1);
      assert.ok(!isDirty(pages[i] as number), 'their owner knows what it dirties');
      unpinPages(pages[i] as number, 1);
    }
    for (const page of pages) rig.users.putFolio(page);
  });
});

describe('arrays', () => {
  test('kernels would not pin those of an arena: nothing is unpinned either', () => {
    using arena = new Arena({ maxBytes: 2 ** 20, label: 'program' });
    const buffer = arena.alloc(2 * PAGE_BYTES);
    for (const options of [{}, { profile }]) {
      for (const op of [READ, WRITE]) {
        using rig = new PassthroughRig(options);
        zeroPages(buffer.page, 0, 2 * PAGE_BYTES);
        const iter = new IovIter();
        iter.initView(op === READ ? IterDirection.DEST : IterDirection.SOURCE, buffer.bytes);
        const chain = chainOf(op);
        assert.equal(rig.map(chain, iter, { copy: 'always' }), 0);
        const isPinned = op === READ && !('profile' in options);
        assert.equal(pinCount(buffer.page), isPinned ? 2 : 0);
        assert.equal(rig.context.counters.pagesHeld, isPinned ? 2 : 0);
        if (op === READ) deviceWrites(chain, pattern(2 * PAGE_BYTES, 8));
        endRequest(chain);
        assert.equal(rig.unmap(chain), 0);
        assert.equal(pinCount(buffer.page), 0);
        const expected = op === READ ? pattern(2 * PAGE_BYTES, 8) : new Uint8Array(2 * PAGE_BYTES);
        assert.deepEqual(Buffer.from(buffer.bytes), Buffer.from(expected));
      }
    }
    buffer.release();
    arena.assertNothingOutstanding();
  });
});

test('null-mapped: no memory of the task is asked for, so none is missed', () => {
  using rig = new PassthroughRig({ profile });
  const page = rig.own.getFolio(0);
  const memory = new RequestMemory(Uint32Array.of(page), 0);
  memory.isNullMapped = true;
  const chain = chainOf(READ);
  const iter = rig.iter(READ, [[2 ** 40, 4096]]);
  assert.equal(rig.map(chain, iter, { memory }), 0);
  assert.equal(iter.count, 0);
  endRequest(chain);
  assert.equal(rig.unmap(chain, 4096, false), 0);
  rig.own.putFolio(page);
});

describe('a request that fails in its second bio', () => {
  test('leaves the memory of the first as it was, and clean, under every profile', () => {
    for (const of of PROFILES) {
      for (const copy of ['auto', 'always'] as const) {
        using rig = new PassthroughRig({ profile: of, limits: large, ownPages: 560 });
        using _odd = rig.fragment(1); // 280 pages are left, of 300.
        const addr = rig.scattered(300);
        const before = rig.fill(addr, 300 * PAGE_BYTES, 1);
        if (copy === 'auto') rig.space.munmap(addr + 299 * PAGE_BYTES, PAGE_BYTES);
        const chain = chainOf(READ);
        const iter = rig.iter(READ, [[addr, 300 * PAGE_BYTES]]);
        const result = copy === 'auto' ? -Errno.EFAULT : -Errno.ENOMEM;
        assert.equal(rig.map(chain, iter, { copy }), result);
        assert.ok(!isDirty(rig.frameAt(addr)));
        const seen = Buffer.from(rig.read(addr, 299 * PAGE_BYTES));
        assert.deepEqual(seen, Buffer.from(before.subarray(0, seen.length)));
      }
    }
  });
});

test('a context knows what is not back yet', () => {
  for (const copy of ['auto', 'always'] as const) {
    using rig = new PassthroughRig();
    const { context } = rig;
    const chain = chainOf(READ);
    assert.equal(rig.map(chain, rig.iter(READ, [[rig.scattered(1), 512]]), { copy }), 0);
    assert.throws(() => context.assertNothingOutstanding(), /passthrough/);
    rig.unmap(chain, 0);
    context.assertNothingOutstanding();
    const record = context.acquireCopy();
    assert.throws(() => context.assertNothingOutstanding(), /not unmapped/);
    assert.ok(record.saved.take(rig.iter(READ, [[0x1000, 512]])));
    context.releaseCopy(record);
    assert.deepEqual([record.saved.iter.space, record.saved.iter.count], [null, 0]);
    assert.throws(() => context.releaseCopy(record), /released twice/);
    assert.equal(context.acquireCopy(), record, 'pooled');
  }
});

test('what a device still has cannot be unmapped', () => {
  using rig = new PassthroughRig();
  const chain = chainOf(WRITE);
  assert.equal(rig.map(chain, rig.iter(WRITE, [[rig.scattered(1), 512]])), 0);
  const bio = chain.bio as Bio;
  bio.state = BioState.SUBMITTED;
  assert.throws(() => rig.unmap(chain, 0), /in flight/);
  assert.throws(() => rig.unmap(chain, -1), /less than nothing/);
  bio.state = BioState.ENDED;
  rig.unmap(chain, 0);
});
