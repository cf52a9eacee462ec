import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import type { Bio } from '../../src/bio/bio.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { FaultSpace } from '../../src/iter/fault-space.fuzz.ts';
import type { LimitsInput } from '../../src/limits/limits.ts';
import { LINUX_6_12, PROFILES, type Profile } from '../../src/limits/profile.ts';
import { UserMeta } from '../../src/map/passthrough/meta-rows.ts';
import { deviceRows, mapUserMeta, unmapUserMeta } from '../../src/map/passthrough/user-meta.ts';
import { type CopyPolicy, MapReason } from '../../src/map/verdict.ts';
import { copyOut } from '../../src/memory/copy.ts';
import { isDirty } from '../../src/memory/holds.ts';
import { PassthroughRig, type UserRange } from './passthrough-rig.ts';

const { READ, WRITE } = BioOp;
const { FITS, GAP, SEGMENTS, ADDRESS, ASKED } = MapReason;

class Rig extends PassthroughRig {
  readonly meta = new UserMeta();
  readonly bios: Bio[] = [];

  constructor(limits: LimitsInput = {}, profile?: Profile, ownPages = 1024) {
    super({ limits, ownPages, ...(profile === undefined ? {} : { profile }) });
  }

  ask(
    op: BioOp,
    ranges: readonly UserRange[],
    copy: CopyPolicy = 'auto',
    bytes = Infinity,
  ): number {
    const bio = this.context.bios.acquire(op, 0, 0);
    assert.ok(bio !== null);
    const iter = this.iter(op, ranges);
    iter.truncate(Math.min(bytes, iter.count));
    const { count } = iter;
    const result = mapUserMeta(bio, iter, this.meta, this.context, copy);
    assert.equal(iter.count, result === 0 ? 0 : count);
    bio.pool.release(bio);
    return result;
  }

  end(doneBytes = 0): void {
    unmapUserMeta(this.meta, doneBytes, this.context);
    const { bytes, isCopied, reason, bio, entries, vcnt, size } = this.meta;
    assert.deepEqual([bytes, isCopied, reason, bio], [0, false, FITS, null]);
    assert.deepEqual([entries, vcnt, size], [0, 0, 0]);
    this.assertNothingOutstanding();
  }

  /** Why ranges of one folio of 64 KiB are copied; FITS: they are mapped. */
  reasonOf(ranges: readonly UserRange[]): MapReason {
    const addr = this.huge(4);
    const moved = ranges.map(([at, len]) => [addr + at, len] as const);
    const result = this.ask(READ, moved, 'never');
    const { reason } = this.meta;
    assert.equal(result, reason === FITS ? 0 : -Errno.EINVAL);
    if (result === 0) this.end();
    return reason;
  }
}

describe('entries against the limits', () => {
  function reasonOf(ranges: readonly UserRange[], limits: LimitsInput): MapReason {
    using rig = new Rig(limits);
    return rig.reasonOf(ranges);
  }

  test('a joint of two ranges off the virtual boundary', () => {
    const paged = { virt_boundary_mask: 4095 };
    const second = [8192, 512] as const;
    assert.equal(reasonOf([[512, 3584], second], paged), FITS, 'the first start is free');
    assert.equal(reasonOf([[512, 512], second], paged), GAP);
    assert.equal(
      reasonOf(
        [
          [0, 4096],
          [8704, 512],
        ],
        paged,
      ),
      GAP,
    );
    assert.equal(reasonOf([[512, 512], second], {}), FITS);
    assert.equal(reasonOf([[0, 4096], second, [16896, 512]], paged), GAP, 'the second joint');
  });

  test('an entry that must be cut off the virtual boundary', () => {
    const limits = { virt_boundary_mask: 8191, max_segment_size: 12288 };
    assert.equal(reasonOf([[0, 12288]], limits), FITS, 'whole');
    assert.equal(reasonOf([[0, 12292]], limits), GAP);
    assert.equal(reasonOf([[0, 12292]], { ...limits, max_segment_size: 8192 }), FITS);
    // Cut at each page, though it starts inside of one.
    const pages = { virt_boundary_mask: 4095, seg_boundary_mask: 4095 };
    assert.equal(reasonOf([[1024, 8192]], pages), FITS);
    // From byte 4096 of the folio a segment of 8 KiB ends 12 KiB into it.
    assert.equal(reasonOf([[4096, 8192]], { ...limits, max_segment_size: 8192 }), FITS);
    assert.equal(reasonOf([[4096, 8196]], { ...limits, max_segment_size: 8192 }), GAP);
  });

  test('segments of an entry are counted by size and window, those of all together', () => {
    const windows = { seg_boundary_mask: 8191, dma_alignment: 3 };
    const counts = (ranges: readonly UserRange[], segments: number, limits: LimitsInput): void => {
      const of = (max_integrity_segments: number) => {
        return reasonOf(ranges, { ...limits, max_integrity_segments });
      };
      assert.deepEqual([of(segments - 1), of(segments)], [SEGMENTS, FITS]);
    };
    counts([[512, 15872]], 2, windows);
    counts([[512, 15876]], 3, windows);
    counts([[4096, 12288]], 2, windows);
    counts([[0, 16384]], 4, { max_segment_size: 4096 });
    counts([[0, 16384]], 3, { max_segment_size: 6144 });
    counts(
      [
        [0, 8192],
        [16384, 8192],
      ],
      4,
      { max_segment_size: 4096 },
    );
    counts(
      [
        [0, 512],
        [16384, 512],
      ],
      2,
      {},
    );
    assert.equal(reasonOf([[0, 65536]], { max_segment_size: 4096 }), FITS, '0 states none');
  });

  test('asked, then address, then the rest: the first reason that holds', () => {
    for (const profile of PROFILES) {
      using rig = new Rig({ max_integrity_segments: 1 }, profile);
      const addr = rig.scattered(3);
      for (const [ranges, copy, reason] of [
        [[[addr + 1, 5000]], 'always', ASKED],
        [[[addr + 1, 5000]], 'auto', ADDRESS],
        [[[addr, 5000]], 'auto', SEGMENTS],
        [[[addr, 512]], 'auto', FITS],
      ] as const) {
        // Linux 6.1 has no other way for metadata than a buffer.
        const first = profile.name === 'linux-6.1' ? ASKED : reason;
        assert.equal(rig.ask(WRITE, ranges, copy), 0);
        assert.deepEqual([rig.meta.reason, rig.meta.isCopied], [first, first !== FITS]);
        rig.end();
      }
    }
  });
});

describe('bounds', () => {
  test('max_hw_sectors in bytes and 256 pages, each to the last', () => {
    using rig = new Rig({ max_hw_sectors: 16 });
    const addr = rig.scattered(3);
    assert.equal(rig.ask(WRITE, [[addr, 8192]]), 0);
    rig.end();
    assert.equal(rig.ask(WRITE, [[addr, 8196]]), -Errno.E2BIG);
    using wide = new Rig({ max_hw_sectors: 4096 });
    const many = wide.scattered(257);
    assert.equal(wide.ask(WRITE, [[many, 256 * PAGE_BYTES]]), 0);
    wide.end();
    assert.equal(wide.ask(WRITE, [[many, 256 * PAGE_BYTES + 4]]), -Errno.E2BIG);
    assert.equal(wide.ask(WRITE, [[2 ** 40, 257 * PAGE_BYTES]]), -Errno.E2BIG, 'asks no page');
  });

  test('no copy would fit: -EINVAL; would, but there is no memory: -ENOMEM', () => {
    using rig = new Rig({ max_integrity_segments: 1, max_segment_size: 8192 });
    const addr = rig.scattered(3);
    assert.equal(rig.ask(READ, [[addr, 8196]]), -Errno.EINVAL);
    assert.equal(rig.ask(READ, [[addr, 8192]]), 0);
    rig.end();
    for (const profile of [undefined, LINUX_6_12]) {
      using poor = new Rig({ max_integrity_segments: 1 }, profile, 2);
      const three = poor.scattered(3);
      assert.equal(poor.ask(WRITE, [[three, 8196]]), -Errno.ENOMEM);
      assert.equal(poor.ask(WRITE, [[three, 8192]]), 0);
      assert.equal(poor.meta.vcnt, 1);
      poor.end();
    }
  });

  test('memory that runs out in the middle of a copy: the own pages before it go back', () => {
    for (const op of [READ, WRITE]) {
      using rig = new Rig({ max_segment_size: 4096 }, undefined, 2);
      const addr = rig.scattered(3);
      assert.equal(rig.ask(op, [[addr, 3 * PAGE_BYTES]], 'always'), -Errno.ENOMEM);
      const { vcnt, size, entries } = rig.meta;
      assert.deepEqual([vcnt, size, entries], [0, 0, 0]);
      rig.assertNothingOutstanding();
    }
  });

  test('the first error of the space is told; once a page was pinned it is -EFAULT', () => {
    for (const [at, result] of [
      [0, -Errno.EIO],
      [1, -Errno.EFAULT],
    ] as const) {
      using rig = new Rig();
      const space = new FaultSpace();
      const frames = [rig.own.getFolio(0), rig.own.getFolio(0)];
      frames.forEach((frame, i) => {
        const page = i === at ? { frame, error: -Errno.EIO } : { frame };
        space.map(0x10000 + i * PAGE_BYTES, page);
      });
      const bio = rig.context.bios.acquire(READ, 0, 0);
      assert.ok(bio !== null);
      const iter = rig.iter(READ, [[0x10000, 8192]], space);
      assert.equal(mapUserMeta(bio, iter, rig.meta, rig.context), result);
      assert.deepEqual([iter.count, rig.pins], [8192, 0]);
      bio.pool.release(bio);
      for (const frame of frames) rig.own.putFolio(frame);
    }
  });
});

describe('as kernels have it', () => {
  test('one range: a second one is -EFAULT, and what was pinned is let go', () => {
    for (const [profile, result] of [
      [undefined, 0],
      [LINUX_6_12, -Errno.EFAULT],
    ] as const) {
      using rig = new Rig({}, profile);
      const addr = rig.scattered(3);
      assert.equal(
        rig.ask(READ, [
          [addr, 64],
          [addr + 8192, 64],
        ]),
        result,
      );
      assert.equal(rig.pins, result === 0 ? 2 : 0);
      if (result === 0) rig.end();
    }
  });

  test('entries count, not segments; a copy is one linear buffer', () => {
    using rig = new Rig({ max_integrity_segments: 1, max_segment_size: 4096 }, LINUX_6_12);
    assert.equal(rig.reasonOf([[0, 16384]]), FITS, 'one entry of four segments');
    const addr = rig.scattered(4);
    rig.fill(addr, 4 * PAGE_BYTES, 2);
    assert.equal(rig.ask(WRITE, [[addr, 4 * PAGE_BYTES]]), 0);
    const { table, rows } = deviceRows(rig.meta);
    assert.deepEqual([rig.meta.reason, rows, table.len[0]], [SEGMENTS, 1, 4 * PAGE_BYTES]);
    rig.end();
    using two = new Rig({ max_integrity_segments: 2 }, LINUX_6_12);
    const pages = two.scattered(3);
    assert.equal(two.ask(WRITE, [[pages, 8192]]), 0);
    assert.equal(two.meta.reason, FITS, 'as many entries as there may be');
    two.end();
  });
});

describe('what comes back', () => {
  test('own pages of a read are cleared, row by row', () => {
    for (const profile of PROFILES) {
      using rig = new Rig({ max_integrity_segments: 3, max_segment_size: 4096 }, profile, 16);
      rig.soilOwnPages();
      const addr = rig.scattered(3);
      rig.fill(addr, 3 * PAGE_BYTES, 1);
      assert.equal(rig.ask(READ, [[addr, 3 * PAGE_BYTES]], 'always'), 0);
      const { table, rows } = deviceRows(rig.meta);
      for (let row = 0; row < rows; row++) {
        const seen = new Uint8Array(table.len[row]).fill(1);
        copyOut(seen, 0, table.page[row], table.offset[row], seen.length);
        assert.ok(seen.every((byte) => byte === 0));
      }
      rig.end();
    }
  });

  test('the folios under what was transferred are dirty, and no other', () => {
    for (const copy of ['auto', 'always'] as const) {
      for (const [done, dirty] of [
        [0, [false, false]],
        [60, [true, false]],
        [64, [true, false]],
        [65, [true, true]],
      ] as const) {
        using rig = new Rig();
        const addr = rig.scattered(2);
        const frames = [rig.frameAt(addr), rig.frameAt(addr + PAGE_BYTES)];
        assert.equal(
          rig.ask(
            READ,
            [
              [addr, 64],
              [addr + PAGE_BYTES + 512, 64],
            ],
            copy,
          ),
          0,
        );
        rig.end(done);
        assert.deepEqual(frames.map(isDirty), dirty, `${copy} ${done}`);
      }
    }
  });

  test('counters: mapped or copied by reason, what was transferred and never more', () => {
    using rig = new Rig();
    const { counters } = rig.context;
    const addr = rig.scattered(1);
    for (const op of [READ, WRITE]) {
      assert.equal(rig.ask(op, [[addr, 64]]), 0);
      assert.deepEqual([counters.pagesHeld, counters.bouncePages], [1, 0]);
      rig.end(40);
      assert.equal(rig.ask(op, [[addr, 64]], 'always'), 0);
      assert.deepEqual([counters.pagesHeld, counters.bouncePages], [op === READ ? 1 : 0, 1]);
      rig.end(op === READ ? 40 : 1000);
    }
    assert.equal(counters.bytesMapped, 80);
    assert.equal(counters.bytesCopied[ASKED], 40 + 64, 'a write is copied at the call');
    assert.equal(rig.ask(READ, [[addr, 64]]), 0);
    rig.end(1000);
    assert.equal(counters.bytesMapped, 80 + 64);
  });

  test('a copied read: the bytes that were transferred, over ranges of any size', () => {
    using rig = new Rig({ max_segment_size: 4096 });
    const addr = rig.scattered(3);
    const before = rig.fill(addr, 3 * PAGE_BYTES, 1);
    const ranges = [
      [addr + 1, 5000],
      [addr + 6000, 3000],
    ] as const;
    for (const done of [4096, 4097, 8000]) {
      rig.fill(addr, 3 * PAGE_BYTES, 1);
      assert.equal(rig.ask(READ, ranges), 0);
      const { table, rows } = deviceRows(rig.meta);
      assert.equal(rows, 2);
      for (let row = 0; row < rows; row++) fill(rig, table.page[row], table.len[row], row);
      rig.end(done);
      const sent = new Uint8Array(8000).fill(7, 0, 4096).fill(8, 4096);
      const expected = Uint8Array.from(before);
      expected.set(sent.subarray(0, Math.min(done, 5000)), 1);
      if (done > 5000) expected.set(sent.subarray(5000, done), 6000);
      assert.deepEqual(Buffer.from(rig.read(addr, expected.length)), Buffer.from(expected));
    }
  });
});

function fill(rig: Rig, page: number, bytes: number, row: number): void {
  const at = (page - rig.own.region.firstPage) * PAGE_BYTES;
  rig.own.region.u8.fill(7 + row, at, at + bytes);
}

test('metadata that nobody mapped is nothing to unmap', () => {
  using rig = new Rig();
  rig.end(64);
  assert.deepEqual([rig.context.counters.bytesMapped, deviceRows(rig.meta).rows], [0, 0]);
});
