import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno } from '../../src/base/errno.ts';
import type { CallEnd } from '../../src/process/system-call.ts';
import { DISK_BYTES, type EngineKind, PAGE, ProcessRig, RW } from './process-rig.ts';

/** Runs a system call in callback form; it must not end inside the call. */
function call(start: (done: CallEnd) => void): Promise<number> {
  return new Promise((resolve) => {
    let isInside = true;
    start((result) => {
      assert(!isInside, 'a call ended inside itself');
      resolve(result);
    });
    isInside = false;
  });
}

function each(name: string, run: (rig: ProcessRig) => Promise<void>): void {
  for (const kind of ['ram', 'file'] satisfies EngineKind[]) {
    test(`${name} (${kind})`, async () => {
      const rig = await ProcessRig.open(kind);
      await run(rig);
      await rig.close();
    });
  }
}

each('a disk is read and written past every cache', async (rig) => {
  const { process, fd } = rig;
  const from = rig.filled(3, 10);
  const to = rig.map(3);
  assert.equal(await process.pwrite(fd, from, 3 * PAGE, 8 * PAGE), 3 * PAGE);
  assert.equal(await process.pread(fd, to, 3 * PAGE, 8 * PAGE), 3 * PAGE);
  assert.deepEqual(rig.bytesAt(to, 3 * PAGE), rig.bytesAt(from, 3 * PAGE));
});

each('vectors scatter and gather in order', async (rig) => {
  const { process, fd } = rig;
  const from = rig.filled(4, 1);
  const to = rig.map(4);
  const lens = [PAGE, 2 * PAGE];
  const parts = [from + 2 * PAGE, from];
  const wrote = await call((done) => process.calls.writev(fd, parts, lens, 0, done));
  const got = await call((done) => process.calls.readv(fd, [to], [3 * PAGE], 0, done));
  assert.deepEqual([wrote, got], [3 * PAGE, 3 * PAGE]);
  const values = [0, 1, 2].map((page) => rig.bytesAt(to + page * PAGE, 1)[0]);
  assert.deepEqual(values, [3, 1, 2]);
});

each('reads end at the end of the disk, writes behind it are ENOSPC', async (rig) => {
  const { process, fd } = rig;
  const addr = rig.map(2);
  assert.equal(await process.pread(fd, addr, 2 * PAGE, DISK_BYTES - PAGE), PAGE);
  assert.equal(await process.pread(fd, addr, PAGE, DISK_BYTES), 0);
  await assert.rejects(process.pwrite(fd, addr, PAGE, DISK_BYTES), { code: 'ENOSPC' });
});

each('bad arguments have the errors of Linux', async (rig) => {
  const { process, fd } = rig;
  const addr = rig.map(1);
  assert.equal(await call((done) => process.calls.pread(9, addr, PAGE, 0, done)), -Errno.EBADF);
  assert.equal(await call((done) => process.calls.pread(fd, addr, -1, 0, done)), -Errno.EINVAL);
  assert.equal(await call((done) => process.calls.pread(fd, 0, PAGE, 0, done)), -Errno.EFAULT);
  assert.equal(await call((done) => process.calls.pread(fd, addr, 0, 0, done)), 0);
  assert.equal(await call((done) => process.calls.ftruncate(fd, 0, done)), -Errno.EINVAL);
  assert.equal(process.close(9), -Errno.EBADF);
  assert.equal(process.mmapFile(fd, { bytes: PAGE, protection: RW }), -Errno.ENODEV);
});

each('a forked child shares the position of the open file', async (rig) => {
  const { process, fd } = rig;
  const addr = rig.filled(1, 7);
  assert.equal(await process.write(fd, addr, PAGE), PAGE);
  const child = process.fork('child');
  assert.equal(await child.write(fd, addr, PAGE), PAGE);
  assert.equal(await process.write(fd, addr, PAGE), PAGE);
  assert.equal(process.files[fd]?.position, 3 * PAGE);
  child.exit();
});

each('what a device reads arrives at the parent, also when it forks meanwhile', async (rig) => {
  const { process, fd } = rig;
  const from = rig.filled(2, 50);
  await process.pwrite(fd, from, 2 * PAGE, 0);
  const to = rig.filled(2, 1);
  const reading = process.pread(fd, to, 2 * PAGE, 0);
  const child = process.fork('child');
  process.space.write(to, Uint8Array.of(99)); // Copy-on-write must not move the parent.
  assert.equal(await reading, 2 * PAGE);
  assert.equal(rig.bytesAt(to + 1, 1)[0], 50);
  assert.equal(rig.bytesAt(to + PAGE, 1)[0], 51);
  // The device may have been done before the fork, but never writes to the child.
  const [atChild] = rig.bytesAt(to + 1, 1, child);
  assert(atChild === 1 || atChild === 50, `the child has ${atChild}`);
  assert.notEqual(rig.bytesAt(to, 1, child)[0], 99, 'the child has what the parent wrote');
  child.exit();
});

each('memory that is unmapped during a read lives until the device lets go', async (rig) => {
  const { process, fd } = rig;
  const addr = rig.filled(4, 1);
  const reading = process.pread(fd, addr, 4 * PAGE, 0);
  process.space.munmap(addr, 4 * PAGE);
  assert.equal(await reading, 4 * PAGE);
  assert.equal(rig.arena.region.pinnedPages, 0);
});

each('a killed process hears EINTR or what was done; its pins outlive it', async (rig) => {
  const { process, fd } = rig;
  const addr = rig.filled(4, 1);
  const calls = [0, 1, 2].map((i) => {
    return call((done) => process.calls.pread(fd, addr, 4 * PAGE, i * 4 * PAGE, done));
  });
  process.kill();
  for (const result of await Promise.all(calls)) {
    assert(result === -Errno.EINTR || result === 4 * PAGE, `ended with ${result}`);
  }
  assert.equal(process.calls.active, 0);
  assert.equal(rig.arena.region.pinnedPages, 0);
});

each('a file: buffered, direct and mapped see the same bytes', async (rig) => {
  const { process } = rig;
  const file = rig.file();
  const buffered = process.open(file);
  const direct = process.open(file, { direct: true });
  const from = rig.filled(4, 20);
  const to = rig.map(4);
  assert.equal(await process.pwrite(buffered, from, 4 * PAGE - 100, 0), 4 * PAGE - 100);
  assert.equal(await process.pread(direct, to, 4 * PAGE, 0), 4 * PAGE - 100);
  assert.equal(rig.bytesAt(to + 2 * PAGE, 1)[0], 22);
  const shared = process.mmapFile(buffered, { bytes: 4 * PAGE, protection: RW, shared: true });
  assert.equal(await process.space.faultIn(shared, PAGE, 1), 0);
  process.space.write(shared + 5, Uint8Array.of(77));
  assert.equal(await call((done) => process.msync(shared, PAGE, done)), 0);
  assert.equal(await process.pread(direct, to, PAGE, 0), PAGE);
  assert.equal(rig.bytesAt(to + 5, 1)[0], 77);
  await process.ftruncate(buffered, PAGE);
  assert.equal(await process.pread(buffered, to, 4 * PAGE, 0), PAGE);
  const hole = await call((done) => process.calls.punchHole(buffered, 0, PAGE, done));
  assert.equal(hole, 0);
  assert.equal(await process.pread(direct, to, PAGE, 0), PAGE);
  assert.deepEqual(rig.bytesAt(to, PAGE), new Uint8Array(PAGE));
});

/** The open question of 2017: memory ends while blocks for the rest are allocated already. */
for (const pages of [1, 2, 5]) {
  each(
    `a direct write whose memory ends after ${pages} pages is short, then EFAULT`,
    async (rig) => {
      const { process } = rig;
      const file = rig.file();
      const fd = process.open(file, { direct: true });
      const allocated = await call((done) => process.calls.allocate(fd, 0, 8 * PAGE, done));
      assert.equal(allocated, 0);
      const from = rig.filled(pages, 30);
      assert.equal(await process.pwrite(fd, from, 8 * PAGE, 0), pages * PAGE);
      const rest = call((done) => {
        process.calls.pwrite(fd, from + pages * PAGE, 8 * PAGE, pages * PAGE, done);
      });
      assert.equal(await rest, -Errno.EFAULT);
      const to = rig.map(8);
      assert.equal(await process.pread(fd, to, pages * PAGE, 0), pages * PAGE);
      assert.deepEqual(rig.bytesAt(to, pages * PAGE), rig.bytesAt(from, pages * PAGE));
      assert.equal(file.extents.blocks, 8, 'the blocks behind stay allocated');
    },
  );

  each(`Linux fills the rest with zeros after ${pages} pages and says EFAULT`, async (rig) => {
    const { process } = rig;
    const file = rig.file({ directIoFault: 'zero-fill' });
    const fd = process.open(file, { direct: true });
    await call((done) => process.calls.allocate(fd, 0, 8 * PAGE, done));
    const from = rig.filled(pages, 30);
    const result = await call((done) => process.calls.pwrite(fd, from, 8 * PAGE, 0, done));
    assert.equal(result, -Errno.EFAULT);
    assert(file.counters.blocksZeroFilled > 0, 'zeros went to the device');
  });
}
