import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { Access } from '../../src/memory/address-space.ts';
import { isDirty, maybePinned, pinCount, refCount } from '../../src/memory/holds.ts';
import { Protection } from '../../src/memory/user/area.ts';
import type { UserSpace } from '../../src/memory/user/user-space.ts';
import { bytesOf, type Ending, fillFrame, ProcessRig, UserRig, userTransfer } from './user-rig.ts';

// Memory of an address space under transfers: it may be unmapped, copied, gone, or end early.

const { READ, WRITE } = BioOp;
const POLICIES = ['auto', 'always'] as const;

/** Anonymous memory with one byte value a page: 1, 2, 3 … */
function program(rig: ProcessRig, pages: number): { space: UserSpace; addr: number } {
  const space = rig.memory.newSpace('program');
  const addr = space.mmap({ bytes: pages * PAGE_BYTES, protection: Protection.WRITE });
  for (let i = 0; i < pages; i++) {
    const bytes = new Uint8Array(PAGE_BYTES).fill(i + 1);
    assert.equal(space.write(addr + i * PAGE_BYTES, bytes), PAGE_BYTES);
  }
  return { space, addr };
}

function frameAt(space: UserSpace, addr: number): number {
  return space.table.frameAt(addr / PAGE_BYTES);
}

function memoryAt(space: UserSpace, addr: number, bytes: number): Uint8Array {
  const out = new Uint8Array(bytes);
  assert.equal(space.read(addr, out), bytes);
  return out;
}

for (const copy of POLICIES) {
  describe(`a process and its reads in flight, copy '${copy}'`, () => {
    /** A read of two pages, misaligned by `at`, that the engine holds. */
    async function reading(rig: ProcessRig): Promise<{
      space: UserSpace;
      addr: number;
      frames: number[];
      ending: Ending;
    }> {
      const { space, addr } = program(rig, 2);
      const frames = [frameAt(space, addr), frameAt(space, addr + PAGE_BYTES)];
      const ending = userTransfer(rig, space, READ, 512, [[addr, 2 * PAGE_BYTES]], { copy });
      await rig.settle();
      assert.equal(rig.engine.holds, 1);
      assert.ok(frames.every((frame) => maybePinned(frame)));
      return { space, addr, frames, ending };
    }

    test('munmap: the bytes go to the pages that were pinned, then the pages go', async () => {
      await using rig = new ProcessRig();
      const { space, addr, frames, ending } = await reading(rig);
      assert.equal(space.munmap(addr, 2 * PAGE_BYTES), 0);
      assert.ok(frames.every((frame) => refCount(frame) === 0 && pinCount(frame) === 1));
      const again = space.mmap({ addr, bytes: 2 * PAGE_BYTES, protection: Protection.WRITE });
      assert.equal(again, addr);
      const fresh = new Uint8Array(2 * PAGE_BYTES).fill(0xee);
      assert.equal(space.write(addr, fresh), fresh.length);
      await rig.finish();
      assert.equal(ending.result, 2 * PAGE_BYTES);
      assert.deepEqual(bytesOf(frames[0] as number), rig.medium(512, 512 + PAGE_BYTES));
      assert.deepEqual(memoryAt(space, addr, fresh.length), fresh, 'a stranger was written to');
      assert.ok(frames.every((frame) => pinCount(frame) === 0));
    });

    test('fork: the parent sees the data, the child what was there at the fork', async () => {
      await using rig = new ProcessRig();
      const { space, addr, frames, ending } = await reading(rig);
      const child = space.fork('child');
      assert.equal(space.write(addr + 7, Uint8Array.of(99)), 1); // No copy-on-write may move it.
      assert.equal(frameAt(space, addr), frames[0]);
      await rig.finish();
      assert.equal(ending.result, 2 * PAGE_BYTES);
      assert.deepEqual(
        memoryAt(space, addr, 2 * PAGE_BYTES),
        rig.medium(512, 512 + 2 * PAGE_BYTES),
      );
      const seen = memoryAt(child, addr, 2 * PAGE_BYTES);
      assert.ok(seen.every((byte, i) => byte === (i < PAGE_BYTES ? 1 : 2)));
      assert.ok(frames.every((frame) => isDirty(frame) && !maybePinned(frame)));
    });

    test('exit: the pins outlive the process, and nothing is left', async () => {
      await using rig = new ProcessRig();
      const { space, frames, ending } = await reading(rig);
      space.exit();
      await rig.finish();
      assert.equal(ending.result, 2 * PAGE_BYTES);
      assert.deepEqual(
        bytesOf(frames[1] as number),
        rig.medium(512 + PAGE_BYTES, 512 + 2 * PAGE_BYTES),
      );
      assert.ok(frames.every((frame) => pinCount(frame) === 0));
    });
  });

  describe(`a process and its writes in flight, copy '${copy}'`, () => {
    for (const position of [0, 100]) {
      test(`at ${position}: munmap, fork and exit change nothing of what is written`, async () => {
        for (const leave of ['munmap', 'fork', 'exit'] as const) {
          await using rig = new ProcessRig();
          const { space, addr } = program(rig, 3);
          const want = memoryAt(space, addr + 50, 2 * PAGE_BYTES);
          const range = [addr + 50, 2 * PAGE_BYTES] as const;
          const ending = userTransfer(rig, space, WRITE, position, [range], { copy });
          await rig.settle();
          if (leave === 'munmap') space.munmap(addr, 3 * PAGE_BYTES);
          if (leave === 'exit') space.exit();
          if (leave === 'fork') {
            // The child's write must not move the bytes that are on their way.
            const child = space.fork('child');
            child.write(addr, new Uint8Array(3 * PAGE_BYTES).fill(0xcc));
          }
          await rig.finish();
          assert.equal(ending.result, 2 * PAGE_BYTES);
          assert.deepEqual(rig.medium(position, position + 2 * PAGE_BYTES), want);
        }
      });
    }
  });
}

describe('a fault in the middle', () => {
  for (const copy of POLICIES) {
    test(`copy '${copy}': the blocks before it count, the next call is EFAULT`, async () => {
      for (const op of [READ, WRITE]) {
        await using rig = new UserRig(4, { random: Math.random, limits: { max_hw_sectors: 8 } });
        for (let i = 0; i < 4; i++) fillFrame(rig.frameAt(i), 0x40 + i);
        rig.space.unmap(0x40000 + 2 * PAGE_BYTES);
        const ending = rig.start(op, 1024, 0, 4 * PAGE_BYTES, { copy });
        await rig.settle();
        await rig.finish();
        assert.equal(ending.result, 2 * PAGE_BYTES);
        const got = rig.medium(1024, 1024 + 2 * PAGE_BYTES);
        const memory = [0, 1].flatMap((i) => [...bytesOf(rig.frameAt(i))]);
        assert.deepEqual([...got], memory);
        const next = rig.start(op, 1024, 2 * PAGE_BYTES, 2 * PAGE_BYTES, { copy });
        await rig.finish();
        assert.equal(next.result, -Errno.EFAULT);
      }
    });

    test(`copy '${copy}': in the middle of a block, that block is not begun`, async () => {
      await using rig = new UserRig(1, { random: Math.random });
      const ending = rig.start(READ, 0, 100, 8192, { copy });
      await rig.finish();
      assert.equal(ending.result, 7 * 512); // 3996 bytes are there.
      const none = rig.start(READ, 0, PAGE_BYTES - 100, 512, { copy });
      await rig.finish();
      assert.equal(none.result, -Errno.EFAULT);
    });
  }

  test('an end off the block has its exact bytes', async () => {
    for (const op of [READ, WRITE]) {
      await using rig = new UserRig(1, { random: Math.random });
      fillFrame(rig.frameAt(0), 0xab);
      const before = rig.medium(0, 65536);
      // The first block of the device is entered at 500: 12 bytes, of which 5 have memory.
      const ending = rig.start(op, 500, PAGE_BYTES - 5, 512);
      await rig.finish();
      assert.equal(ending.result, 5);
      if (op === READ) assert.deepEqual(bytesOf(rig.frameAt(0), 4091, 5), before.slice(500, 505));
      else assert.ok(rig.medium(500, 505).every((byte) => byte === 0xab));
      assert.deepEqual(rig.medium(505, 65536), before.slice(505));
    }
  });

  test('an I/O error of what went out wins over the count', async () => {
    const fate = () => ({ status: -Errno.EIO, bytes: 0 });
    await using rig = new UserRig(1, { random: Math.random, fate });
    const ending = rig.start(READ, 0, 0, 8192);
    await rig.finish();
    assert.equal(ending.result, -Errno.EIO);
  });

  test("copy 'never': a refusal after some of it went out is no short count", async () => {
    const limits = { max_segments: 1, max_hw_sectors: 8 };
    const sizeBytes = 512 * 1024;
    await using rig = new UserRig(2, { random: Math.random, limits, sizeBytes });
    // A bio of 256 rows of a block each, and then a block out of two rows, which one segment at a
    // time cannot carry.
    const blocks = Array.from({ length: 256 }, (_, i) => {
      return [0x40000 + (i % 2) * PAGE_BYTES, 512] as const;
    });
    const halves = [0x40000, 0x40000 + PAGE_BYTES].map((addr) => [addr, 256] as const);
    const all = [...blocks, ...halves];
    const ending = userTransfer(rig, rig.space, WRITE, 0, all, { copy: 'never' });
    await rig.finish();
    assert.equal(rig.engine.log.length, 256);
    assert.equal(ending.result, -Errno.EINVAL);
  });

  test('read-only memory takes no read, and can be written from', async () => {
    await using rig = new UserRig(1, { random: Math.random });
    const frame = rig.frameAt(0);
    rig.space.map(0x40000, { frame, readOnly: true });
    assert.equal(rig.space.pageAt(0x40000, Access.WRITE), -Errno.EFAULT);
    for (const copy of POLICIES) {
      const read = rig.start(READ, 0, 0, 4096, { copy });
      const write = rig.start(WRITE, 0, 0, 4096, { copy });
      await rig.finish();
      assert.deepEqual([read.result, write.result], [-Errno.EFAULT, 4096]);
    }
  });
});
