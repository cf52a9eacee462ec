import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { Iovec } from '../../src/iter/iovec.ts';
import { LINUX_6_12 } from '../../src/limits/profile.ts';
import type { UserBuffer } from '../../src/map/passthrough/map-user-io.ts';
import { NvmeCommand } from '../../src/map/passthrough/nvme-command.ts';
import { OpenFileReserve, RESERVE_BYTES } from '../../src/map/passthrough/open-file-reserve.ts';
import { SgCommand, SgDirection } from '../../src/map/passthrough/sg-command.ts';
import { MapReason, Verdict } from '../../src/map/verdict.ts';
import { copyOut } from '../../src/memory/copy.ts';
import {
  deviceReads,
  deviceWrites,
  endRequest,
  PassthroughRig,
  pattern,
  type UserRange,
} from './passthrough-rig.ts';

const { READ, WRITE } = BioOp;

function bufferOf(
  rig: PassthroughRig,
  ranges: readonly UserRange[],
  options: { isVector?: boolean; bytes?: number } = {},
): UserBuffer {
  const iovec = new Iovec(Math.min(Math.max(ranges.length, 1), 1024));
  const bases = ranges.map(([base]) => base);
  const lens = ranges.map(([, len]) => len);
  const imported = iovec.importRanges(bases, lens, ranges.length);
  const total = lens.reduce((sum, len) => sum + len, 0);
  const { isVector = ranges.length !== 1, bytes = total } = options;
  return { space: rig.space, iovec, imported, isVector, bytes };
}

describe('SG_IO on a block device', () => {
  test('a length over max_hw_sectors is -EIO, no data is a command without memory', () => {
    using rig = new PassthroughRig({ limits: { max_hw_sectors: 16 } });
    const command = new SgCommand(rig.context);
    const addr = rig.scattered(3);
    const start = (bytes: number): number => {
      const buffer = bufferOf(rig, [[addr, bytes]]);
      return command.start({ direction: SgDirection.FROM_DEVICE, buffer, address: addr });
    };
    assert.equal(start(8193), -Errno.EIO);
    assert.equal(start(0), 0);
    assert.equal(command.chain.bio, null);
    assert.equal(command.finish(0), 0);
    assert.equal(start(8192), 0);
    deviceWrites(command.chain, pattern(8192, 1));
    endRequest(command.chain);
    assert.equal(command.finish(8192), 0);
    assert.deepEqual(rig.read(addr, 8192), pattern(8192, 1));
  });

  test('the shorter of list and length wins; more than 1024 ranges are -EINVAL', () => {
    using rig = new PassthroughRig();
    const addr = rig.scattered(4);
    const command = new SgCommand(rig.context);
    const ranges = [
      [addr, 4096],
      [addr + 8192, 4096],
    ] as const;
    for (const [bytes, mapped] of [
      [5000, 5000],
      [9000, 8192],
    ] as const) {
      const buffer = bufferOf(rig, ranges, { bytes });
      const header = { direction: SgDirection.TO_DEVICE, buffer, address: 1 };
      assert.equal(command.start(header), 0);
      assert.equal(command.chain.bytes, mapped);
      command.finish(0);
    }
    const many = bufferOf(
      rig,
      Array.from({ length: 1025 }, () => [addr, 1] as const),
    );
    const header = { direction: SgDirection.TO_DEVICE, buffer: many, address: 1 };
    assert.equal(command.start(header), -Errno.EINVAL);
  });

  test('over 512 KiB from scattered pages: here it works, in Linux it is EINVAL', () => {
    const limits = { max_segments: 128, max_hw_sectors: 8192 };
    for (const [profile, result] of [
      [undefined, 0],
      [LINUX_6_12, -Errno.EINVAL],
    ] as const) {
      using rig = new PassthroughRig(profile === undefined ? { limits } : { limits, profile });
      const bytes = 1024 * 1024;
      const addr = rig.scattered(256);
      const command = new SgCommand(rig.context);
      const buffer = bufferOf(rig, [[addr, bytes]]);
      const header = { direction: SgDirection.FROM_DEVICE, buffer, address: addr };
      assert.equal(command.start(header), result);
      if (result !== 0) continue;
      assert.equal(command.outcome.reason, MapReason.SEGMENTS);
      deviceWrites(command.chain, pattern(bytes, 1));
      endRequest(command.chain);
      assert.equal(command.finish(bytes), 0);
      assert.deepEqual(Buffer.from(rig.read(addr, bytes)), Buffer.from(pattern(bytes, 1)));
    }
  });
});

describe('SG_IO on a file of the generic driver', () => {
  test('one reserve: a second command builds its own pages, mmap I/O is told to wait', () => {
    using rig = new PassthroughRig();
    using file = new OpenFileReserve(rig.own, RESERVE_BYTES, 128);
    const addr = rig.scattered(20);
    const ask = (command: SgCommand, bytes: number, wantsMmap = false): number => {
      const buffer = bufferOf(rig, [[addr, bytes]]);
      const address = wantsMmap ? 0 : addr;
      return command.start({ direction: SgDirection.TO_DEVICE, buffer, address, wantsMmap });
    };
    const commands = [0, 1, 2].map(() => new SgCommand(rig.context, file)) as [
      SgCommand,
      SgCommand,
      SgCommand,
    ];
    const used = rig.own.stats().usedBytes;
    assert.equal(ask(commands[0], 32768), 0);
    assert.ok(file.isTaken);
    assert.equal(rig.own.stats().usedBytes, used, 'from the reserve');
    assert.equal(ask(commands[1], 4096), 0);
    assert.ok(rig.own.stats().usedBytes > used, 'pages of its own');
    assert.equal(ask(commands[2], 4096, true), -Errno.EBUSY);
    assert.equal(ask(commands[2], 32769, true), -Errno.ENOMEM);
    commands[0].finish(0);
    assert.ok(!file.isTaken);
    assert.equal(ask(commands[2], 4096, true), 0);
    assert.equal(ask(commands[0], 32769), 0, 'larger than the reserve');
    for (const command of commands) command.finish(0);
    assert.equal(rig.own.stats().usedBytes, used);
    file[Symbol.dispose]();
  });

  test('its pages hold nothing of others', () => {
    using rig = new PassthroughRig({ ownPages: 64 });
    rig.soilOwnPages();
    using file = new OpenFileReserve(rig.own, RESERVE_BYTES, 128);
    const memories = [file.take(4096, false), file.take(8192, false)];
    for (const memory of memories) {
      assert.ok(typeof memory !== 'number');
      for (let i = 0; i < memory.bytes / PAGE_BYTES; i++) {
        const page = new Uint8Array(PAGE_BYTES).fill(1);
        copyOut(page, 0, memory.pageAt(i), 0, PAGE_BYTES);
        assert.ok(page.every((byte) => byte === 0));
      }
      file.giveBack(memory);
    }
    file[Symbol.dispose]();
  });

  test('direct only if asked for, no list, and aligned by address and length', () => {
    using rig = new PassthroughRig();
    using file = new OpenFileReserve(rig.own, RESERVE_BYTES, 128);
    const addr = rig.scattered(4);
    const direct = (ranges: readonly UserRange[], wantsDirect: boolean): boolean => {
      const command = new SgCommand(rig.context, file);
      const buffer = bufferOf(rig, ranges);
      const address = ranges[0]?.[0] ?? 0;
      const header = { direction: SgDirection.FROM_DEVICE, buffer, address, wantsDirect };
      assert.equal(command.start(header), 0);
      const isMapped = command.outcome.verdict === Verdict.MAP;
      assert.equal(isMapped, command.isDirect);
      command.finish(0);
      return isMapped;
    };
    assert.ok(direct([[addr, 4096]], true));
    assert.ok(!direct([[addr, 4096]], false));
    assert.ok(!direct([[addr + 1, 4096]], true));
    assert.ok(!direct([[addr, 4097]], true));
    const list = [
      [addr, 4096],
      [addr + 8192, 4096],
    ] as const;
    assert.ok(!direct(list, true));
    file[Symbol.dispose]();
  });

  test('a failed start gives the reserve back; both ways goes in and comes back', () => {
    using rig = new PassthroughRig();
    using file = new OpenFileReserve(rig.own, RESERVE_BYTES, 128);
    const command = new SgCommand(rig.context, file);
    const absent = bufferOf(rig, [[2 ** 40, 4096]]);
    const { TO_DEVICE, BOTH } = SgDirection;
    const header = { direction: TO_DEVICE, buffer: absent, address: 2 ** 40 };
    assert.equal(command.start(header), -Errno.EFAULT);
    assert.ok(!file.isTaken);
    const addr = rig.scattered(2);
    const data = rig.fill(addr, 5000, 4);
    const buffer = bufferOf(rig, [[addr, 5000]]);
    assert.equal(command.start({ direction: BOTH, buffer, address: addr }), 0);
    assert.deepEqual(deviceReads(command.chain), data);
    deviceWrites(command.chain, pattern(5000, 5));
    endRequest(command.chain);
    assert.equal(command.finish(4000), 0);
    assert.deepEqual(rig.read(addr, 4000), pattern(5000, 5).subarray(0, 4000));
    assert.deepEqual(rig.read(addr + 4000, 1000), data.subarray(4000));
    file[Symbol.dispose]();
  });

  test('an orphan under the rules of Linux: -EINTR; here the bytes arrive', () => {
    for (const [profile, result] of [
      [undefined, 0],
      [LINUX_6_12, -Errno.EINTR],
    ] as const) {
      using rig = new PassthroughRig(profile === undefined ? {} : { profile });
      using file = new OpenFileReserve(rig.own, RESERVE_BYTES, 128);
      const addr = rig.scattered(1);
      const before = rig.fill(addr, 4096, 4);
      const command = new SgCommand(rig.context, file);
      const buffer = bufferOf(rig, [[addr, 4096]]);
      const header = { direction: SgDirection.FROM_DEVICE, buffer, address: addr };
      assert.equal(command.start(header), 0);
      deviceWrites(command.chain, pattern(4096, 5));
      endRequest(command.chain);
      assert.equal(command.finish(4096, false), result);
      assert.deepEqual(rig.read(addr, 4096), result === 0 ? pattern(4096, 5) : before);
      file[Symbol.dispose]();
    }
  });

  test('a fragmented arena: a reserve of smaller folios, or none at all', () => {
    using rig = new PassthroughRig({ ownPages: 64 });
    {
      using _odd = rig.fragment(1);
      using file = new OpenFileReserve(rig.own, RESERVE_BYTES, 128);
      assert.equal(file.bytes, RESERVE_BYTES);
      file[Symbol.dispose]();
      using narrow = new OpenFileReserve(rig.own, RESERVE_BYTES, 4);
      assert.equal(narrow.bytes, 0, 'eight single pages are more than four elements');
      assert.equal(narrow.take(4096, true), -Errno.ENOMEM);
    }
  });
});

describe('an NVMe command', () => {
  test('data and metadata, by one rule, end together', () => {
    for (const copy of ['auto', 'always'] as const) {
      using rig = new PassthroughRig({ limits: { max_integrity_segments: 1 } });
      const addr = rig.scattered(4);
      const command = new NvmeCommand(rig.context);
      const meta = { space: rig.space, addr: addr + 12288, bytes: 64 };
      assert.equal(command.start(READ, bufferOf(rig, [[addr, 8192]]), meta, copy), 0);
      assert.ok(rig.pins > 0 && command.meta.isAttached);
      deviceWrites(command.chain, pattern(8192, 2));
      endRequest(command.chain);
      assert.equal(command.finish({ transferredBytes: 8192, metaBytes: 64 }), 0);
      assert.deepEqual(rig.read(addr, 8192), pattern(8192, 2));
      assert.equal(rig.pins, 0);
    }
  });

  test('H5, H6, H12: metadata that fails leaves no data mapped, of one bio or of several', () => {
    for (const pages of [2, 600]) {
      for (const [metaAddr, bytes, result] of [
        [2 ** 40, 64, -Errno.EFAULT],
        [2 ** 40, 2 ** 30, -Errno.E2BIG],
      ] as const) {
        const limits = { max_segments: 2000, max_hw_sectors: 8192 };
        using rig = new PassthroughRig({ limits });
        const addr = rig.scattered(pages);
        const command = new NvmeCommand(rig.context);
        const data = bufferOf(rig, [[addr, pages * PAGE_BYTES]]);
        const meta = { space: rig.space, addr: metaAddr, bytes };
        assert.equal(command.start(READ, data, meta), result);
        assert.deepEqual([command.chain.bio, command.chain.bytes, rig.pins], [null, 0, 0]);
        rig.assertNothingOutstanding();
        assert.equal(command.start(READ, data, null), 0, 'the command can be used again');
        command.finish({ transferredBytes: 0 });
      }
    }
  });

  test('no address or no bytes: no metadata; metadata alone: -EINVAL', () => {
    using rig = new PassthroughRig();
    const addr = rig.scattered(1);
    const command = new NvmeCommand(rig.context);
    const { space } = rig;
    for (const meta of [
      { space, addr: 0, bytes: 64 },
      { space, addr, bytes: 0 },
    ]) {
      assert.equal(command.start(WRITE, bufferOf(rig, [[addr, 512]]), meta), 0);
      assert.ok(!command.meta.isAttached);
      command.finish({ transferredBytes: 512 });
    }
    assert.equal(command.start(WRITE, null, { space, addr, bytes: 64 }), -Errno.EINVAL);
  });
});
