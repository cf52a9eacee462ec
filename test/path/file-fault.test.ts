import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno } from '../../src/base/errno.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { BvecTable } from '../../src/bvec/bvec-table.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { folioHead, HoldKind, maybePinned } from '../../src/memory/holds.ts';
import {
  type Area,
  type AreaOps,
  type FaultRequest,
  FaultResult,
  Protection,
} from '../../src/memory/user/area.ts';
import type { FolioOwner } from '../../src/memory/user/user-columns.ts';
import type { UserSpace } from '../../src/memory/user/user-space.ts';
import { ProcessRig, userTransfer } from './user-rig.ts';

// A program maps a file of a disk and gives that memory to a transfer of the same disk: the fault
// reads the page through the path that waits for it.

const { READ, WRITE } = BioOp;

/** Pages of the disk from byte 32768 on, each read when it is first touched. */
class DiskFile implements AreaOps, FolioOwner {
  readonly name = 'file of the rig';
  readonly tracksDirty = false;
  readonly ownRefs = 1;
  readonly dirtiedPages: number[] = [];
  reads = 0;
  readonly #rig: ProcessRig;
  readonly #pages = new Map<number, { frame: number; isRead: boolean; wakes: (() => void)[] }>();

  constructor(rig: ProcessRig) {
    this.#rig = rig;
  }

  fault(space: UserSpace, _area: Area, request: FaultRequest): number {
    const { index } = request;
    const page = this.#pages.get(index) ?? this.#read(index);
    if (page.isRead) {
      this.#rig.memory.getPage(page.frame);
      request.page = page.frame;
      return FaultResult.DONE;
    }
    space.dropLock();
    request.wait = { add: (wake) => void page.wakes.push(wake) };
    return FaultResult.RETRY;
  }

  #read(index: number) {
    const { memory, device } = this.#rig;
    const frame = memory.allocPage({ zeroed: false, movable: true });
    assert.ok(frame >= 0);
    memory.columns.owner[folioHead(frame) - memory.region.firstPage] = this;
    const page = { frame, isRead: false, wakes: [] as (() => void)[] };
    this.#pages.set(index, page);
    this.reads++;
    const rows = new BvecTable(1);
    rows.set(0, frame, 0, PAGE_BYTES, HoldKind.BORROWED);
    const iter = new IovIter();
    iter.initBvec(IterDirection.DEST, rows, 0, 1, 0, PAGE_BYTES);
    device.transfer(READ, 32768 + index * PAGE_BYTES, iter, PAGE_BYTES, {}, (_, result) => {
      assert.equal(result, PAGE_BYTES);
      page.isRead = true;
      for (const wake of page.wakes.splice(0)) wake();
    });
    return page;
  }

  frameOf(index: number): number {
    return this.#pages.get(index)?.frame ?? -1;
  }

  replaced(): boolean {
    return false;
  }

  dirtied(page: number): void {
    this.dirtiedPages.push(page);
  }

  drop(): void {
    const { columns, region } = this.#rig.memory;
    for (const { frame } of this.#pages.values()) {
      columns.owner[folioHead(frame) - region.firstPage] = null;
      this.#rig.memory.putPage(frame);
    }
    this.#pages.clear();
  }
}

for (const copy of ['auto', 'always'] as const) {
  for (const shared of [true, false]) {
    const name = `copy '${copy}', ${shared ? 'shared' : 'private'}`;
    test(`${name}: written from and read into, with pools of one`, async () => {
      await using rig = new ProcessRig({ bios: 0, splits: 0, depth: 1 });
      const file = new DiskFile(rig);
      const space = rig.memory.newSpace('program');
      const protection = Protection.WRITE;
      const bytes = 3 * PAGE_BYTES;
      const addr = space.mmap({ bytes, protection, ops: file, shared });
      const want = rig.medium(32768 + 512, 32768 + 512 + 2 * PAGE_BYTES);
      const busy = rig.device.bios.acquire(READ, 0, 0);

      const range = [addr + 512, 2 * PAGE_BYTES] as const;
      const write = userTransfer(rig, space, WRITE, 0, [range], { copy });
      for (let i = 0; i < 20 && write.result === null; i++) await rig.finish();
      assert.equal(write.result, 2 * PAGE_BYTES);
      assert.deepEqual(rig.medium(0, 2 * PAGE_BYTES), want);
      assert.equal(file.reads, 3);
      assert.equal(file.dirtiedPages.length, 0, 'a page that was read is clean');

      const read = userTransfer(rig, space, READ, 16384, [range], { copy });
      for (let i = 0; i < 20 && read.result === null; i++) await rig.finish();
      assert.equal(read.result, 2 * PAGE_BYTES);
      const seen = new Uint8Array(2 * PAGE_BYTES);
      assert.equal(space.read(addr + 512, seen), seen.length);
      assert.deepEqual(seen, rig.medium(16384, 16384 + seen.length));
      assert.equal(file.dirtiedPages.includes(file.frameOf(0)), shared);
      assert.ok(!maybePinned(file.frameOf(0)));

      if (busy !== null) rig.device.bios.release(busy);
      space.exit();
      file.drop();
    });
  }

  test(`copy '${copy}': the process ends while its transfer waits`, async () => {
    await using rig = new ProcessRig();
    const file = new DiskFile(rig);
    const space = rig.memory.newSpace('program');
    const bytes = 2 * PAGE_BYTES;
    const addr = space.mmap({ bytes, protection: Protection.READ, ops: file, shared: true });
    const ending = userTransfer(rig, space, WRITE, 0, [[addr, bytes]], { copy });
    await rig.settle();
    assert.equal(ending.result, null);
    space.exit();
    await rig.finish();
    assert.equal(ending.result, -Errno.EFAULT);
    file.drop();
  });
}
