import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { BioState, endBio } from '../../src/bio/bio.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { LINUX_6_12, PROFILES } from '../../src/limits/profile.ts';
import { endChain, startChain } from '../../src/map/passthrough/end-chain.ts';
import { type KernelBuffer, mapKernel } from '../../src/map/passthrough/kernel-buffer.ts';
import { MapReason, Verdict } from '../../src/map/verdict.ts';
import { ARENA_SPACE, MappedSpace } from '../../src/memory/address-space.ts';
import { copyIn, copyOut } from '../../src/memory/copy.ts';
import {
  biosOf,
  chainOf,
  deviceReads,
  deviceWrites,
  PassthroughRig,
  pattern,
  rowsOf,
} from './passthrough-rig.ts';

const { READ, WRITE } = BioOp;

/** Ends every bio as a device does, `shortAt` bytes into the request, in the order of the chain. */
function end(chain: ReturnType<typeof chainOf>, status = 0, shortAt = Infinity): void {
  for (const bio of biosOf(chain)) {
    bio.state = BioState.SUBMITTED;
    bio.status = status;
    bio.shortAt = shortAt;
    endBio(bio);
  }
}

function linear(page: number, offset: number, bytes: number): KernelBuffer {
  return { space: ARENA_SPACE, addr: page * PAGE_BYTES + offset, bytes };
}

function contents(page: number, offset: number, bytes: number): Uint8Array {
  const out = new Uint8Array(bytes);
  copyOut(out, 0, page, offset, bytes);
  return out;
}

test('linear memory is one entry, mapped without a hold; its bios end themselves', () => {
  using rig = new PassthroughRig();
  const page = rig.own.getFolio(2);
  const chain = chainOf(READ);
  assert.equal(mapKernel(chain, linear(page, 512, 9000), rig.context, rig.outcome), 0);
  assert.equal(rig.outcome.verdict, Verdict.MAP);
  assert.deepEqual(rowsOf(chain), [{ addr: page * PAGE_BYTES + 512, len: 9000 }]);
  assert.equal(rig.pins, 0);
  deviceWrites(chain, pattern(9000, 1));
  end(chain);
  assert.equal(rig.context.bios.busyCount, 0);
  assert.deepEqual(contents(page, 512, 9000), pattern(9000, 1));
  rig.own.putFolio(page);
});

test('misaligned, or on a stack: copied, and back at the end of the bio, as far as it went', () => {
  for (const [offset, bytes, isOnStack, reason] of [
    [2, 5000, false, MapReason.ADDRESS],
    [0, 4999, false, MapReason.ADDRESS],
    [0, 5000, true, MapReason.KERNEL],
  ] as const) {
    for (const [status, shortAt, arrived] of [
      [0, Infinity, bytes],
      [0, 1000, 1000],
      [-Errno.EIO, Infinity, 0],
    ] as const) {
      using rig = new PassthroughRig();
      const page = rig.own.getFolio(1);
      copyIn(page, 0, pattern(8192, 9), 0, 8192);
      const chain = chainOf(READ);
      const buffer = { ...linear(page, offset, bytes), isOnStack };
      assert.equal(mapKernel(chain, buffer, rig.context, rig.outcome), 0);
      assert.deepEqual([rig.outcome.verdict, rig.outcome.reason], [Verdict.COPY, reason]);
      deviceWrites(chain, pattern(bytes, 1));
      end(chain, status, shortAt);
      const expected = pattern(8192, 9);
      expected.set(pattern(bytes, 1).subarray(0, arrived), offset);
      assert.deepEqual(contents(page, 0, 8192), expected);
      rig.own.putFolio(page);
    }
  }
});

test('a copied write goes to the device as it was at the call', () => {
  using rig = new PassthroughRig();
  const page = rig.own.getFolio(1);
  copyIn(page, 0, pattern(8192, 9), 0, 8192);
  const chain = chainOf(WRITE);
  assert.equal(mapKernel(chain, linear(page, 1, 5000), rig.context), 0);
  copyIn(page, 0, new Uint8Array(8192), 0, 8192);
  assert.deepEqual(deviceReads(chain), pattern(8192, 9).subarray(1, 5001));
  end(chain);
  rig.own.putFolio(page);
});

test('contiguous in addresses alone: page by page; too many are copied, in Linux -EINVAL', () => {
  for (const profile of [undefined, LINUX_6_12]) {
    const limits = { max_segments: 4, max_hw_sectors: 256 };
    using rig = new PassthroughRig(profile === undefined ? { limits } : { limits, profile });
    const space = new MappedSpace();
    const frames = Array.from({ length: 16 }, () => rig.own.getFolio(0));
    const odd = frames.filter((_, i) => i % 2 === 1).reverse();
    odd.forEach((frame, i) => void space.map(0x100000 + i * PAGE_BYTES, frame));
    const chain = chainOf(READ);
    const four = { space, addr: 0x100000 + 512, bytes: 4 * PAGE_BYTES - 512 };
    assert.equal(mapKernel(chain, four, rig.context), 0);
    assert.deepEqual(
      rowsOf(chain).map(({ addr }) => addr),
      odd.slice(0, 4).map((frame, i) => frame * PAGE_BYTES + (i === 0 ? 512 : 0)),
    );
    end(chain);
    const more = chainOf(READ);
    const result = mapKernel(more, { ...four, bytes: 5 * PAGE_BYTES }, rig.context);
    assert.equal(result, profile === undefined ? 0 : -Errno.EINVAL);
    if (result === 0) {
      deviceWrites(more, pattern(5 * PAGE_BYTES, 4));
      end(more);
      const last = pattern(5 * PAGE_BYTES, 4).subarray(5 * PAGE_BYTES - 512);
      assert.deepEqual(contents(odd[5] ?? 0, 0, 512), last);
    }
    for (const frame of frames) rig.own.putFolio(frame);
  }
});

test('several buffers are appended; null, none, or more than max_hw_sectors are -EINVAL', () => {
  using rig = new PassthroughRig({ limits: { max_hw_sectors: 16 } });
  const page = rig.own.getFolio(2);
  const chain = chainOf(READ);
  const { context } = rig;
  assert.equal(mapKernel(chain, null, context), -Errno.EINVAL);
  assert.equal(mapKernel(chain, linear(page, 0, 0), context), -Errno.EINVAL);
  assert.equal(mapKernel(chain, linear(page, 0, 8193), context), -Errno.EINVAL);
  assert.equal(mapKernel(chain, linear(page, 0, 4096), context), 0);
  assert.equal(mapKernel(chain, linear(page, 8191, 101), context), 0);
  assert.equal(mapKernel(chain, linear(page, 0, 4096), context), -Errno.EINVAL, 'more than 8 KiB');
  assert.deepEqual([chain.bytes, chain.segments, biosOf(chain).length], [4197, 2, 2]);
  const bytes = pattern(4197, 3);
  deviceWrites(chain, bytes);
  end(chain, 0, 4096 + 50); // The second one got 50 bytes.
  assert.deepEqual(contents(page, 8191, 50), bytes.subarray(4096, 4146));
  assert.notDeepEqual(contents(page, 8241, 51), bytes.subarray(4146));
  rig.own.putFolio(page);
});

test('kernels copy all of a read back, however it ended', () => {
  for (const [status, shortAt] of [
    [0, 1000],
    [-Errno.EIO, 0],
  ] as const) {
    using rig = new PassthroughRig({ profile: LINUX_6_12 });
    const page = rig.own.getFolio(1);
    copyIn(page, 0, pattern(8192, 9), 0, 8192);
    const chain = chainOf(READ);
    assert.equal(mapKernel(chain, linear(page, 2, 5000), rig.context), 0);
    deviceWrites(chain, pattern(1000, 1));
    end(chain, status, shortAt);
    const expected = pattern(8192, 9).fill(0, 2, 5002);
    expected.set(pattern(1000, 1), 2);
    assert.deepEqual(contents(page, 0, 8192), expected);
    rig.own.putFolio(page);
  }
});

test('max_hw_sectors is the bound under every profile, to the byte', () => {
  for (const profile of PROFILES) {
    using rig = new PassthroughRig({ limits: { max_hw_sectors: 16 }, profile });
    const page = rig.own.getFolio(2);
    const chain = chainOf(WRITE);
    assert.equal(mapKernel(chain, linear(page, 0, 8193), rig.context), -Errno.EINVAL);
    assert.equal(mapKernel(chain, linear(page, 0, 8192), rig.context), 0);
    end(chain);
    rig.own.putFolio(page);
  }
});

test('behind memory of a program only its own bios end themselves', () => {
  using rig = new PassthroughRig();
  const page = rig.own.getFolio(0);
  const chain = chainOf(WRITE);
  assert.equal(rig.map(chain, rig.iter(WRITE, [[rig.scattered(1), 512]])), 0);
  assert.equal(mapKernel(chain, linear(page, 0, 512), rig.context), 0);
  const [ofUser, ofDriver] = biosOf(chain);
  assert.deepEqual([ofUser?.endIo, ofUser?.owner], [null, null]);
  assert.notEqual(ofDriver?.endIo, null);
  startChain(chain);
  endChain(chain, 0, 1024);
  assert.equal(rig.context.bios.busyCount, 1);
  if (ofUser !== undefined) ofUser.next = null; // The other is gone.
  rig.unmap(chain, 512);
  rig.own.putFolio(page);
});

test('how much of the start of a bio is done is what its iterator has left behind', () => {
  using rig = new PassthroughRig();
  const page = rig.own.getFolio(1);
  const chain = chainOf(READ);
  assert.equal(mapKernel(chain, linear(page, 2, 6000), rig.context), 0);
  deviceWrites(chain, pattern(6000, 1));
  chain.bio?.advance(1024); // A part of it was completed before.
  end(chain, 0, 2048); // And the rest came to byte 2048 of the request.
  assert.deepEqual(contents(page, 2, 2048), pattern(6000, 1).subarray(0, 2048));
  assert.ok(contents(page, 2050, 3950).every((byte) => byte === 0));
  rig.own.putFolio(page);
});
