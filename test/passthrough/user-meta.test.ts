import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../src/base/errno.ts';
import { RUNS } from '../../src/base/runs.fuzz.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import type { Bio } from '../../src/bio/bio.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { FaultSpace } from '../../src/iter/fault-space.fuzz.ts';
import { LINUX_6_12, PROFILES } from '../../src/limits/profile.ts';
import { FAULT_WAIT } from '../../src/map/map-context.ts';
import { UserMeta } from '../../src/map/passthrough/meta-rows.ts';
import { deviceRows, mapUserMeta, unmapUserMeta } from '../../src/map/passthrough/user-meta.ts';
import { MapReason } from '../../src/map/verdict.ts';
import { copyIn, copyOut } from '../../src/memory/copy.ts';
import { isDirty, pinCount } from '../../src/memory/holds.ts';
import { judgeRows, PassthroughRig, pattern, type UserRange } from './passthrough-rig.ts';
import { limitsArb } from './request-cases.fuzz.ts';

const { READ, WRITE } = BioOp;

function bioOf(rig: PassthroughRig, op: BioOp): Bio {
  const bio = rig.context.bios.acquire(op, 0, 1);
  assert.ok(bio !== null);
  return bio;
}

function play(meta: UserMeta, write: Uint8Array | null): Uint8Array {
  const { table, rows } = deviceRows(meta);
  const out = new Uint8Array(meta.bytes);
  let at = 0;
  for (let row = 0; row < rows; row++) {
    const take = Math.min(table.len[row], Math.max((write?.length ?? 0) - at, 0));
    if (write !== null && take > 0) copyIn(table.page[row], table.offset[row], write, at, take);
    copyOut(out, at, table.page[row], table.offset[row], table.len[row]);
    at += table.len[row];
  }
  return out;
}

interface MetaRun {
  readonly result: number;
  readonly device: Uint8Array;
  readonly user: Uint8Array;
  readonly reason: MapReason;
}

/** One piece of metadata from start to end; `done` bytes of it are transferred. */
function runOnce(
  rig: PassthroughRig,
  op: BioOp,
  ranges: readonly UserRange[],
  copy: 'auto' | 'always',
  done: number,
): MetaRun {
  const meta = new UserMeta();
  const bio = bioOf(rig, op);
  const iter = rig.iter(op, ranges);
  const bytes = iter.count;
  const result = mapUserMeta(bio, iter, meta, rig.context, copy);
  const readAll = (): Uint8Array => Buffer.concat(ranges.map(([addr, len]) => rig.read(addr, len)));
  const { reason } = meta;
  let device = new Uint8Array();
  if (result === 0) {
    assert.equal(iter.count, 0);
    const entries = meta.isCopied && op === WRITE ? 0 : meta.entries;
    assert.equal(rig.pins, entries, 'one pin an entry');
    device = Buffer.from(play(meta, op === READ ? pattern(done, 7) : null));
    const { table, rows } = deviceRows(meta);
    const list = Array.from({ length: rows }, (_, i) => ({
      addr: table.page[i] * PAGE_BYTES + table.offset[i],
      len: table.len[i],
    }));
    if (rig.context.profile.name === 'biovec') {
      const { limits } = rig.context;
      const most = limits.max_integrity_segments || 65535;
      const { faults } = judgeRows(list, { ...limits, max_segments: most });
      assert.deepEqual(faults, []);
    }
    unmapUserMeta(meta, done, rig.context);
  } else {
    assert.equal(iter.count, bytes);
  }
  assert.deepEqual([rig.pins, meta.isAttached, meta.entries, meta.vcnt], [0, false, 0, 0]);
  bio.pool.release(bio);
  rig.assertNothingOutstanding();
  return { result, device, user: readAll(), reason };
}

test('the decision: aligned and few is mapped; misaligned or too many is copied', () => {
  const cases = [
    [[[0, 4096]], { max_integrity_segments: 1 }, MapReason.FITS],
    [[[0, 4100]], { max_integrity_segments: 1 }, MapReason.SEGMENTS],
    [[[0, 4100]], { max_integrity_segments: 2 }, MapReason.FITS],
    [[[2, 64]], { max_integrity_segments: 1 }, MapReason.ADDRESS],
    [[[0, 63]], { max_integrity_segments: 1 }, MapReason.ADDRESS],
    [[[1, 63]], { max_integrity_segments: 1, dma_alignment: 63 }, MapReason.ADDRESS],
    [[[64, 64]], { max_integrity_segments: 1, dma_alignment: 63 }, MapReason.FITS],
  ] as const;
  for (const profile of PROFILES) {
    const alwaysCopies = profile.name === 'linux-6.1';
    for (const [ranges, limits, fits] of cases) {
      const reason = alwaysCopies ? MapReason.ASKED : fits;
      using rig = new PassthroughRig({ limits, profile });
      const addr = rig.scattered(4);
      for (const op of [READ, WRITE]) {
        const moved = ranges.map(([at, len]) => [addr + at, len] as const);
        const run = runOnce(rig, op, moved, 'auto', 10);
        assert.deepEqual([run.result, run.reason], [0, reason]);
      }
    }
  }
});

test('a folio is one entry with one pin; two pages that are neighbours by luck are two', () => {
  using rig = new PassthroughRig({ limits: { max_integrity_segments: 1 } });
  const addr = rig.huge(3);
  const meta = new UserMeta();
  const bio = bioOf(rig, READ);
  assert.equal(mapUserMeta(bio, rig.iter(READ, [[addr + 512, 16384]]), meta, rig.context), 0);
  assert.deepEqual([meta.entries, meta.isCopied, rig.pins], [1, false, 1]);
  assert.equal(pinCount(rig.frameAt(addr)), 1);
  assert.equal(mapUserMeta(bio, rig.iter(READ, [[addr, 64]]), meta, rig.context), -Errno.EINVAL);
  unmapUserMeta(meta, 0, rig.context);
  unmapUserMeta(meta, 0, rig.context); // Nothing is left: nothing happens.
  bio.pool.release(bio);
});

test('too long, too many pages, none: refused before a page is touched', () => {
  using rig = new PassthroughRig({ limits: { max_hw_sectors: 2048 }, userPages: 4096 });
  const addr = rig.area(300);
  const bio = bioOf(rig, WRITE);
  const meta = new UserMeta();
  const ask = (bytes: number) => {
    return mapUserMeta(bio, rig.iter(WRITE, [[addr + 4, bytes]]), meta, rig.context);
  };
  assert.equal(ask(2048 * 512 + 4), -Errno.E2BIG);
  assert.equal(ask(256 * 4096), -Errno.E2BIG, '257 pages');
  assert.equal(ask(0), -Errno.EINVAL);
  assert.equal(rig.space.table.leafAt(addr / PAGE_BYTES), null);
  bio.pool.release(bio);
});

describe('failures leave nothing', () => {
  test('H1: a part that was pinned is let go, -EFAULT', () => {
    for (const profile of PROFILES) {
      for (const op of [READ, WRITE]) {
        using rig = new PassthroughRig({ profile });
        const addr = rig.scattered(4);
        rig.space.munmap(addr + 2 * PAGE_BYTES, PAGE_BYTES);
        const meta = new UserMeta();
        const bio = bioOf(rig, op);
        const iter = rig.iter(op, [[addr, 4 * PAGE_BYTES]]);
        assert.equal(mapUserMeta(bio, iter, meta, rig.context), -Errno.EFAULT);
        assert.deepEqual([rig.pins, iter.count, meta.isAttached], [0, 4 * PAGE_BYTES, false]);
        bio.pool.release(bio);
      }
    }
  });

  test('H3: whatever fails on the way, each page is unpinned once', () => {
    for (const op of [READ, WRITE]) {
      using rig = new PassthroughRig({ ownPages: 2, limits: { max_integrity_segments: 1 } });
      const addr = rig.scattered(8);
      // Eight pages must be one buffer: the arena has two.
      const result = runOnce(rig, op, [[addr, 8 * PAGE_BYTES]], 'auto', 0);
      assert.equal(result.result, -Errno.ENOMEM);
      // No copy is wanted.
      const bio = bioOf(rig, op);
      const iter = rig.iter(op, [[addr, 8192]]);
      const meta = new UserMeta();
      assert.equal(mapUserMeta(bio, iter, meta, rig.context, 'never'), -Errno.EINVAL);
      assert.equal(rig.pins, 0);
      bio.pool.release(bio);
    }
  });

  test('a page that must be waited for', () => {
    using rig = new PassthroughRig();
    const space = new FaultSpace();
    const frames = [rig.own.getFolio(0), rig.own.getFolio(0)];
    frames.forEach((frame, i) => {
      space.map(0x10000 + i * PAGE_BYTES, { frame, waits: i === 1 ? Infinity : 0 });
    });
    const bio = bioOf(rig, WRITE);
    const meta = new UserMeta();
    const iter = rig.iter(WRITE, [[0x10000, 8192]], space);
    assert.equal(mapUserMeta(bio, iter, meta, rig.context), FAULT_WAIT);
    assert.deepEqual([rig.pins, iter.count], [0, 8192]);
    space.ready();
    assert.equal(mapUserMeta(bio, iter, meta, rig.context), 0);
    unmapUserMeta(meta, 0, rig.context);
    bio.pool.release(bio);
    for (const frame of frames) rig.own.putFolio(frame);
  });
});

test('H9: a copied read shows the device its own pages only, and keeps the entries apart', () => {
  using rig = new PassthroughRig({ limits: { max_integrity_segments: 1 } });
  rig.soilOwnPages();
  const addr = rig.scattered(3);
  const meta = new UserMeta();
  const bio = bioOf(rig, READ);
  const bytes = 2 * PAGE_BYTES + 16;
  assert.equal(mapUserMeta(bio, rig.iter(READ, [[addr, bytes]]), meta, rig.context), 0);
  const { table, rows } = deviceRows(meta);
  assert.deepEqual([rows, table.len[0], meta.entries], [1, bytes, 3]);
  assert.ok(table !== meta.entryRows(), 'columns of their own');
  assert.ok(
    play(meta, null).every((byte) => byte === 0),
    'cleared',
  );
  unmapUserMeta(meta, 0, rig.context);
  bio.pool.release(bio);
});

test('when the process has gone its pages are pinned, so the bytes arrive', () => {
  for (const copy of ['auto', 'always'] as const) {
    using rig = new PassthroughRig();
    const addr = rig.scattered(1);
    const frame = rig.frameAt(addr);
    const spare = rig.users.region;
    const meta = new UserMeta();
    const bio = bioOf(rig, READ);
    assert.equal(mapUserMeta(bio, rig.iter(READ, [[addr + 8, 64]]), meta, rig.context, copy), 0);
    play(meta, pattern(64, 1));
    rig.space.munmap(addr, PAGE_BYTES);
    assert.equal(pinCount(frame), 1);
    unmapUserMeta(meta, 64, rig.context);
    const at = (frame - spare.firstPage) * PAGE_BYTES + 8;
    // The page is free by now and nobody has it yet: it still shows what was written last.
    assert.deepEqual([...spare.u8.slice(at, at + 64)], [...pattern(64, 1)]);
    bio.pool.release(bio);
  }
});

const smallLimits = fc
  .tuple(limitsArb, fc.integer({ min: 0, max: 4 }), fc.constantFrom(3, 3, 511))
  .map(([limits, segments, dma_alignment]) => ({
    ...limits,
    dma_alignment,
    dma_pad_mask: 0,
    max_integrity_segments: segments,
    max_hw_sectors: 4096,
  }));
const rangeArb = fc.record({
  page: fc.nat(7),
  offset: fc.oneof(fc.constantFrom(0, 4, 512), fc.nat(4095)),
  len: fc.oneof(
    fc.constantFrom(8, 64, 512, 4096, 8192, 12288, 16384),
    fc.integer({ min: 1, max: 9000 }),
  ),
  isHuge: fc.boolean(),
});

const givenArb = fc.tuple(smallLimits, rangeArb, fc.constantFrom(READ, WRITE), fc.nat(1000));
type Given = typeof givenArb extends fc.Arbitrary<infer T> ? T : never;

test('43: mapped or copied is the same for device and program; pins = entries', () => {
  const reasons = new Set<MapReason>();
  fc.assert(
    fc.property(givenArb, ([limits, { page, offset, len, isHuge }, op, share]) => {
      const runs = (['auto', 'always'] as const).map((copy) => {
        using rig = new PassthroughRig({ limits, userPages: 128, ownPages: 64 });
        const addr = isHuge ? rig.huge(3) : rig.scattered(8);
        const bytes = Math.min(len, 8 * PAGE_BYTES - (page * PAGE_BYTES + offset));
        const start = addr + page * PAGE_BYTES + offset;
        rig.fill(addr, 8 * PAGE_BYTES, 3);
        const done = Math.floor((bytes * share) / 1000);
        const run = runOnce(rig, op, [[start, bytes]], copy, done);
        const before = pattern(8 * PAGE_BYTES, 3).subarray(start - addr, start - addr + bytes);
        const expected = Uint8Array.from(before);
        if (op === READ && run.result === 0) expected.set(pattern(done, 7));
        assert.deepEqual(Buffer.from(run.user), Buffer.from(expected));
        if (run.result === 0 && op === WRITE) assert.deepEqual(run.device, Buffer.from(before));
        return run;
      });
      for (const { result, reason } of runs) {
        reasons.add(reason);
        if (result !== 0) assert.equal(result, -Errno.EINVAL, 'only what no copy satisfies');
      }
    }),
    {
      numRuns: Math.max(Math.floor(RUNS.numRuns / 4), 50),
      // Each reason once, however few the runs.
      examples: [0, 1, 4088].map((offset): [Given] => {
        const limits = { max_integrity_segments: 1, max_hw_sectors: 4096, dma_pad_mask: 0 };
        const range = { page: 0, offset, len: 64, isHuge: false };
        return [[{ ...limits, dma_alignment: 3 }, range, READ, 500]];
      }),
    },
  );
  for (const reason of [MapReason.FITS, MapReason.ADDRESS, MapReason.SEGMENTS]) {
    assert.ok(reasons.has(reason));
  }
});

test('read metadata dirties what was transferred, by the rule of data; Linux does not', () => {
  for (const [profile, dirty] of [
    [undefined, [true, false]],
    [LINUX_6_12, [false, false]],
  ] as const) {
    for (const copy of ['auto', 'always'] as const) {
      using rig = new PassthroughRig({
        limits: { max_integrity_segments: 2 },
        ...(profile === undefined ? {} : { profile }),
      });
      const addr = rig.scattered(2);
      const frames = [rig.frameAt(addr), rig.frameAt(addr + PAGE_BYTES)];
      const bio = bioOf(rig, READ);
      const meta = new UserMeta();
      assert.equal(mapUserMeta(bio, rig.iter(READ, [[addr, 8192]]), meta, rig.context, copy), 0);
      unmapUserMeta(meta, 100, rig.context);
      assert.deepEqual(frames.map(isDirty), dirty);
      bio.pool.release(bio);
    }
  }
});
