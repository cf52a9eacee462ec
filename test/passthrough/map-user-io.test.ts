import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { Iovec } from '../../src/iter/iovec.ts';
import { LINUX_6_12 } from '../../src/limits/profile.ts';
import { NO_MEMORY } from '../../src/map/map-context.ts';
import type { BioChain } from '../../src/map/passthrough/bio-chain.ts';
import { mapUserIo, type UserBuffer } from '../../src/map/passthrough/map-user-io.ts';
import { NvmeCommand } from '../../src/map/passthrough/nvme-command.ts';
import { OpenFileReserve } from '../../src/map/passthrough/open-file-reserve.ts';
import { RequestMemory } from '../../src/map/passthrough/request-memory.ts';
import { SgCommand, SgDirection } from '../../src/map/passthrough/sg-command.ts';
import { MapReason, Verdict } from '../../src/map/verdict.ts';
import {
  chainOf,
  deviceReads,
  deviceWrites,
  endRequest,
  PassthroughRig,
  pattern,
  type UserRange,
} from './passthrough-rig.ts';

const { READ, WRITE } = BioOp;
const { NONE, TO_DEVICE, FROM_DEVICE } = SgDirection;

function bufferOf(
  rig: PassthroughRig,
  ranges: readonly UserRange[],
  isVector: boolean,
  bytes = ranges.reduce((sum, [, len]) => sum + len, 0),
): UserBuffer {
  const iovec = new Iovec(Math.max(ranges.length, 1));
  const bases = ranges.map(([base]) => base);
  const lens = ranges.map(([, len]) => len);
  const imported = iovec.importRanges(bases, lens, ranges.length);
  return { space: rig.space, iovec, imported, isVector, bytes };
}

describe('memory as a command names it', () => {
  test('no bytes: of a buffer no data, of a list -EINVAL; an import that failed is told', () => {
    for (const profile of [undefined, LINUX_6_12]) {
      using rig = new PassthroughRig(profile === undefined ? {} : { profile });
      const { context } = rig;
      const addr = rig.scattered(1);
      const chain = chainOf(READ);
      const ask = (buffer: UserBuffer): number => mapUserIo(chain, buffer, { context });
      assert.equal(ask(bufferOf(rig, [[addr, 0]], false)), 0);
      assert.equal(ask(bufferOf(rig, [[addr, 512]], false, 0)), 0);
      assert.equal(ask(bufferOf(rig, [[addr, 0]], true)), -Errno.EINVAL);
      assert.equal(ask(bufferOf(rig, [], true)), -Errno.EINVAL);
      assert.equal(ask(bufferOf(rig, [[addr, 512]], true, 0)), -Errno.EINVAL);
      const beyond = bufferOf(rig, [[2 ** 60, 512]], false);
      assert.equal(beyond.imported, -Errno.EFAULT);
      assert.equal(ask(beyond), -Errno.EFAULT);
      assert.equal(ask({ ...beyond, bytes: 0 }), 0, 'no address is looked at for no bytes');
      assert.equal(ask(bufferOf(rig, [[2 ** 60, 512]], true)), -Errno.EFAULT);
      assert.equal(chain.bio, null);
    }
  });

  test('the direction is that of the request; the shorter of memory and length wins', () => {
    using rig = new PassthroughRig();
    const { context } = rig;
    const addr = rig.scattered(2);
    const data = rig.fill(addr, 8192, 3);
    for (const isVector of [false, true]) {
      const chain = chainOf(WRITE);
      const buffer = bufferOf(rig, [[addr, 8192]], isVector, 5000);
      assert.equal(mapUserIo(chain, buffer, { context }), 0);
      assert.deepEqual(deviceReads(chain), data.subarray(0, 5000));
      rig.unmap(chain, 0);
    }
  });
});

describe('what SG_IO makes of a header', () => {
  test('TO_DEVICE is a write, everything else a read', () => {
    using rig = new PassthroughRig();
    const addr = rig.scattered(1);
    const command = new SgCommand(rig.context);
    for (const [direction, op] of [
      [TO_DEVICE, WRITE],
      [FROM_DEVICE, READ],
      [SgDirection.BOTH, READ],
      [NONE, READ],
    ] as const) {
      const buffer = bufferOf(rig, [[addr, 512]], false);
      assert.equal(command.start({ direction, buffer, address: addr }), 0);
      assert.deepEqual([command.chain.op, command.chain.bio?.op], [op, op]);
      assert.throws(() => command.start({ direction, buffer, address: addr }), /started twice/);
      command.finish(0);
    }
  });

  test('no bytes are no memory, list or not; a length of max_hw_sectors goes', () => {
    using rig = new PassthroughRig({ limits: { max_hw_sectors: 16 } });
    using file = new OpenFileReserve(rig.own, 4096, 8);
    const addr = rig.scattered(3);
    for (const command of [new SgCommand(rig.context), new SgCommand(rig.context, file)]) {
      for (const isVector of [false, true]) {
        const buffer = bufferOf(rig, [[addr, 0]], isVector, 0);
        assert.equal(command.start({ direction: FROM_DEVICE, buffer, address: addr }), 0);
        assert.equal(command.chain.bio, null);
        command.finish(0);
      }
    }
    const start = (bytes: number): number => {
      const command = new SgCommand(rig.context);
      const buffer = bufferOf(rig, [[addr, bytes]], false);
      const result = command.start({ direction: TO_DEVICE, buffer, address: addr });
      if (result === 0) command.finish(0);
      return result;
    };
    assert.deepEqual([start(8192), start(8193)], [0, -Errno.EIO]);
  });

  test('on a file a direction of none has no data, whatever the length says', () => {
    using rig = new PassthroughRig();
    using file = new OpenFileReserve(rig.own, 4096, 8);
    const command = new SgCommand(rig.context, file);
    const buffer = bufferOf(rig, [[2 ** 40, 512]], false);
    assert.equal(command.start({ direction: NONE, buffer, address: 2 ** 40 }), 0);
    assert.deepEqual([command.chain.bio, file.isTaken], [null, false]);
    assert.equal(command.finish(0), 0);
  });

  test('address 0 shows the program the pages themselves; any other is copied', () => {
    using rig = new PassthroughRig();
    using file = new OpenFileReserve(rig.own, 4096, 8);
    const addr = rig.scattered(1);
    for (const address of [0, addr]) {
      const before = rig.fill(addr, 512, 1);
      const command = new SgCommand(rig.context, file);
      const buffer = bufferOf(rig, [[addr, 512]], false);
      assert.equal(command.start({ direction: FROM_DEVICE, buffer, address }), 0);
      assert.ok(!command.isDirect);
      assert.notDeepEqual(deviceReads(command.chain), before, 'one way only');
      deviceWrites(command.chain, pattern(512, 2));
      endRequest(command.chain);
      assert.equal(command.finish(512), 0);
      assert.deepEqual(rig.read(addr, 512), address === 0 ? before : pattern(512, 2));
      assert.ok(!file.isTaken);
    }
  });

  test('a command that does not ask for the reserve gets other pages while it is taken', () => {
    using rig = new PassthroughRig();
    using file = new OpenFileReserve(rig.own, 4096, 8);
    const addr = rig.scattered(1);
    const commands = [new SgCommand(rig.context, file), new SgCommand(rig.context, file)];
    for (const command of commands) {
      const buffer = bufferOf(rig, [[addr, 512]], false);
      assert.equal(command.start({ direction: TO_DEVICE, buffer, address: addr }), 0);
    }
    for (const command of commands) command.finish(0);
  });

  test('direct is what the last command was, not the one before', () => {
    using rig = new PassthroughRig();
    using file = new OpenFileReserve(rig.own, 4096, 8);
    const addr = rig.scattered(1);
    const command = new SgCommand(rig.context, file);
    assert.ok(!command.isDirect);
    const buffer = bufferOf(rig, [[addr, 512]], false);
    const header = { direction: TO_DEVICE, buffer, address: addr };
    for (const wantsDirect of [true, false]) {
      assert.equal(command.start({ ...header, wantsDirect }), 0);
      assert.equal(command.isDirect, wantsDirect);
      command.finish(0);
    }
  });
});

test('commands end in the memory of their task, unless it is said otherwise', () => {
  using rig = new PassthroughRig({ profile: LINUX_6_12 });
  const addr = rig.scattered(1);
  const buffer = bufferOf(rig, [[addr + 1, 512]], false);
  const sg = new SgCommand(rig.context);
  const nvme = new NvmeCommand(rig.context);
  const runs: readonly (readonly [() => number, BioChain, () => number])[] = [
    [
      () => sg.start({ direction: FROM_DEVICE, buffer, address: addr + 1 }),
      sg.chain,
      () => sg.finish(512),
    ],
    [
      () => nvme.start(READ, buffer, null),
      nvme.chain,
      () => nvme.finish({ transferredBytes: 512 }),
    ],
  ];
  runs.forEach(([start, chain, finish], seed) => {
    assert.equal(start(), 0);
    deviceWrites(chain, pattern(512, seed));
    endRequest(chain);
    assert.equal(finish(), 0);
    assert.deepEqual(rig.read(addr + 1, 512), pattern(512, seed));
  });
});

describe('what an NVMe command makes of its metadata', () => {
  test('a write takes it from the program, a read gives it back', () => {
    using rig = new PassthroughRig();
    const addr = rig.scattered(2);
    const command = new NvmeCommand(rig.context);
    const meta = { space: rig.space, addr: addr + PAGE_BYTES, bytes: 64 };
    for (const op of [WRITE, READ]) {
      assert.equal(command.start(op, bufferOf(rig, [[addr, 512]], false), meta), 0);
      assert.deepEqual([command.meta.isRead, command.meta.bytes], [op === READ, 64]);
      assert.equal(command.outcome.verdict, Verdict.MAP);
      endRequest(command.chain);
      assert.equal(command.finish({ transferredBytes: 512, metaBytes: 64 }), 0);
    }
  });

  test('asked to copy, both are copied; asked never to, neither may be', () => {
    using rig = new PassthroughRig();
    const addr = rig.scattered(2);
    const data = bufferOf(rig, [[addr, 512]], false);
    const command = new NvmeCommand(rig.context);
    const meta = { space: rig.space, addr: addr + PAGE_BYTES, bytes: 64 };
    assert.equal(command.start(WRITE, data, meta, 'always'), 0);
    assert.deepEqual([command.outcome.verdict, command.meta.isCopied], [Verdict.COPY, true]);
    command.finish({ transferredBytes: 0 });
    const odd = { ...meta, addr: meta.addr + 1 };
    assert.equal(command.start(WRITE, data, odd, 'never'), -Errno.EINVAL);
    assert.deepEqual([command.chain.bio, rig.pins], [null, 0]);
    assert.equal(command.start(WRITE, data, odd), 0);
    command.finish({ transferredBytes: 0 });
  });

  test('an address that no program has: -EFAULT, and the data is not left mapped', () => {
    using rig = new PassthroughRig();
    const data = bufferOf(rig, [[rig.scattered(1), 512]], false);
    const command = new NvmeCommand(rig.context);
    const meta = { space: rig.space, addr: 2 ** 60, bytes: 64 };
    assert.equal(command.start(READ, data, meta), -Errno.EFAULT);
    assert.deepEqual([command.chain.bio, rig.pins], [null, 0]);
    const absent = bufferOf(rig, [[2 ** 40, 512]], false);
    const found = { ...meta, addr: rig.scattered(1) };
    assert.equal(command.start(READ, absent, found), -Errno.EFAULT, 'the data comes first');
    assert.deepEqual([command.meta.isAttached, rig.pins], [false, 0]);
  });
});

describe('a request that does not fit', () => {
  test('must be copied, but never may be: -EINVAL with the reason, and nothing is held', () => {
    for (const profile of [undefined, LINUX_6_12]) {
      const limits = { virt_boundary_mask: 4095 };
      using rig = new PassthroughRig(profile === undefined ? { limits } : { limits, profile });
      const addr = rig.scattered(2);
      for (const [ranges, reason] of [
        [[[addr + 1, 512]], MapReason.ADDRESS],
        [
          [
            [addr, 512],
            [addr + PAGE_BYTES, 512],
          ],
          MapReason.GAP,
        ],
      ] as const) {
        const iter = rig.iter(WRITE, ranges);
        const { count } = iter;
        const chain = chainOf(WRITE);
        assert.equal(rig.map(chain, iter, { copy: 'never' }), -Errno.EINVAL);
        assert.deepEqual([rig.outcome.reason, rig.outcome.verdict], [reason, Verdict.REFUSE]);
        assert.deepEqual([iter.count, chain.bio, rig.pins], [count, null, 0]);
      }
    }
  });

  test('too long is told before a page is touched, and without own pages', () => {
    using rig = new PassthroughRig({ limits: { max_hw_sectors: 16 } });
    const addr = rig.area(3);
    for (const copy of ['auto', 'always', 'never'] as const) {
      const iter = rig.iter(WRITE, [[addr, 8193]]);
      assert.equal(rig.map(chainOf(WRITE), iter, { copy }), -Errno.EINVAL);
      assert.deepEqual([rig.outcome.reason, rig.outcome.verdict], [MapReason.SIZE, Verdict.REFUSE]);
      const absent = rig.iter(WRITE, [[2 ** 40, 8193]]);
      assert.equal(rig.map(chainOf(WRITE), absent, { copy }), -Errno.EINVAL);
    }
    assert.equal(rig.space.table.leafAt(addr / PAGE_BYTES), null);
    const chain = chainOf(WRITE);
    assert.equal(rig.map(chain, rig.iter(WRITE, [[addr, 8192]])), 0, 'as much as there may be');
    rig.unmap(chain, 0);
  });

  test('too long with what is there: no copy is tried, for no copy is shorter', () => {
    using rig = new PassthroughRig({ limits: { max_hw_sectors: 16 }, ownPages: 4 });
    const addr = rig.scattered(3);
    const chain = chainOf(WRITE);
    assert.equal(rig.map(chain, rig.iter(WRITE, [[addr, 4096]])), 0);
    const taken = [0, 1, 2, 3].map(() => rig.own.getFolio(0));
    const result = rig.map(chain, rig.iter(WRITE, [[addr + 4096, 4608]]));
    assert.deepEqual([result, rig.outcome.reason], [-Errno.EINVAL, MapReason.SIZE]);
    for (const page of taken) rig.own.putFolio(page);
    rig.unmap(chain, 0);
  });

  test('pages of a driver need no plan of own ones', () => {
    // Own chunks would be 4,608 and 5,000 bytes, for the padding; these are 5,000 and 4,700.
    const limits = { max_segments: 2, max_segment_size: 5000, dma_pad_mask: 511 };
    using rig = new PassthroughRig({ limits });
    const memory = new RequestMemory(Uint32Array.of(rig.own.getFolio(2)), 2);
    const iter = rig.iter(WRITE, [[rig.scattered(3), 9700]]);
    assert.equal(rig.map(chainOf(WRITE), iter, { copy: 'always' }), -Errno.EINVAL);
    const chain = chainOf(WRITE);
    assert.equal(rig.map(chain, iter, { memory }), 0);
    assert.equal(chain.segments, 2);
    rig.unmap(chain, 0);
    rig.own.putFolio(memory.pageAt(0));
  });
});

describe('memory is short', () => {
  test('kernels do not wait for other requests: -ENOMEM, while here it is NO_MEMORY', () => {
    for (const [profile, result] of [
      [undefined, NO_MEMORY],
      [LINUX_6_12, -Errno.ENOMEM],
    ] as const) {
      const options = { ownPages: 4, ...(profile === undefined ? {} : { profile }) };
      using rig = new PassthroughRig(options);
      const addr = rig.scattered(4);
      const first = chainOf(WRITE);
      const copy = 'always';
      assert.equal(rig.map(first, rig.iter(WRITE, [[addr, 3 * PAGE_BYTES]]), { copy }), 0);
      const iter = rig.iter(WRITE, [[addr, 3 * PAGE_BYTES]]);
      const { acquiredCount } = rig.context.bios;
      assert.equal(rig.map(chainOf(WRITE), iter, { copy }), result);
      assert.equal(rig.context.bios.acquiredCount, acquiredCount + 1, 'no bio without a page');
      assert.equal(iter.count, 3 * PAGE_BYTES);
      // What no memory helps is told as it is, whoever else has some.
      const none = rig.iter(WRITE, [[addr, 512]]);
      none.truncate(0);
      assert.equal(rig.map(chainOf(WRITE), none), -Errno.EINVAL);
      const absent = rig.iter(WRITE, [[2 ** 40, 512]]);
      assert.equal(rig.map(chainOf(WRITE), absent), -Errno.EFAULT);
      rig.unmap(first, 0);
    }
  });

  test('more than the largest folio in one segment: -ENOMEM, not -EINVAL', () => {
    const limits = { max_segments: 1, max_segment_size: 2 ** 32 - 1, max_hw_sectors: 2 ** 20 };
    using rig = new PassthroughRig({ limits, ownPages: 4096 });
    const addr = rig.area(1025);
    const iter = rig.iter(WRITE, [[addr, 1025 * PAGE_BYTES]]);
    assert.equal(rig.map(chainOf(WRITE), iter, { copy: 'always' }), -Errno.ENOMEM);
    iter.truncate(1024 * PAGE_BYTES);
    const chain = chainOf(WRITE);
    assert.equal(rig.map(chain, iter, { copy: 'always' }), 0);
    rig.unmap(chain, 0);
  });
});
