// Memory that a device reaches is scarce: all bytes of all transfers go through 4 MiB of bounce
// buffers, and whoever finds none waits for a completion. 16 GiB are moved; what is checked is a
// page of each transfer and an array of 1 MiB that all of them share.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MIB, PAGE_BYTES } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { BlockDevice } from '../../src/device/block-device.ts';
import { DmaDevice } from '../../src/dma/dma-device.ts';
import { NvmePsdt } from '../../src/dma/nvme-pointer.ts';
import { SWIOTLB_SLOT_BYTES, Swiotlb } from '../../src/dma/swiotlb.ts';
import { ControllerEngine } from '../../src/engine/controller/controller-engine.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { Iovec } from '../../src/iter/iovec.ts';
import { Arena } from '../../src/memory/arena.ts';

const { READ, WRITE } = BioOp;
const TRANSFERS = 1000;
const BYTES = 16 * MIB;
const BOUNCE_BYTES = 4 * MIB;
/** What a transfer has behind its own page, again and again: small enough for a cache. */
const SHARED_BYTES = MIB;
/** The disk has two places: all writes go to the first, and reads come from the second. */
const READ_PLACE = 1;

interface Zone {
  readonly device: DmaDevice;
  readonly bounce: Swiotlb;
  readonly engine: ControllerEngine;
  readonly disk: BlockDevice;
  readonly users: Arena;
  /** Bytes that the controller was told to move, in all. */
  readonly seen: { bytes: number };
}

/** A disk that reaches the low zone alone; the program's memory lies above it. */
function makeZone(): Zone {
  // Made first, so that it lies below.
  const low = new Arena({ maxBytes: 16 * MIB, label: 'low', places: false });
  const bounce = new Swiotlb(low, BOUNCE_BYTES);
  const users = new Arena({ maxBytes: 64 * MIB, label: 'program', places: false });
  const lowEnd = low.region.firstPage * PAGE_BYTES + low.maxBytes;
  const dmaMask = 2 ** Math.ceil(Math.log2(lowEnd)) - 1;
  assert.ok(users.region.firstPage * PAGE_BYTES > dmaMask, 'the program is out of reach');
  const device = new DmaDevice({ dmaMask, swiotlb: bounce, minAlignMask: PAGE_BYTES - 1 });
  const seen = { bytes: 0 };
  const engine = new ControllerEngine({
    sizeBytes: 2 * BYTES,
    device,
    arena: low,
    depth: 256,
    psdt: NvmePsdt.SGL,
    defer: (run) => void setImmediate(run),
    onCommand: ({ bytes }) => {
      seen.bytes += bytes;
    },
  });
  const disk = new BlockDevice({ engine, arena: users, bios: TRANSFERS + 2 });
  return { device, bounce, engine, disk, users, seen };
}

/** One transfer's memory: a page of its own, and one array again and again. */
function memoryOf(op: BioOp, own: Uint8Array, shared: Uint8Array): IovIter {
  const views = [own];
  for (let left = BYTES - own.length; left > 0; left -= views.at(-1)?.length ?? 0) {
    views.push(shared.subarray(0, Math.min(left, shared.length)));
  }
  const iovec = new Iovec();
  assert.equal(iovec.importViews(views), BYTES);
  const iter = new IovIter();
  iter.initBytes(op === READ ? IterDirection.DEST : IterDirection.SOURCE, iovec);
  return iter;
}

describe('a scarce low zone', () => {
  test('1,000 transfers of 16 MiB at once through 4 MiB of bounce memory', async () => {
    const { device, bounce, disk, users, seen } = makeZone();
    const [source, target] = [users.alloc(SHARED_BYTES), users.alloc(SHARED_BYTES)];
    source.bytes.fill(0x5a);
    const pages = users.alloc(TRANSFERS * PAGE_BYTES);
    const pageOf = (i: number): Uint8Array =>
      pages.bytes.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES);
    const isRead = (i: number): boolean => i % 8 === 7;
    let ended = 0;
    const start = (op: BioOp, place: number, page: Uint8Array): void => {
      const iter = memoryOf(op, page, op === READ ? target.bytes : source.bytes);
      disk.transfer(op, place * BYTES, iter, BYTES, {}, (_, result) => {
        assert.equal(result, BYTES);
        ended++;
      });
    };
    const finish = (count: number): void => {
      for (let turn = 0; ended < count; turn++) {
        assert.ok(turn < 1_000_000, 'it never ends');
        disk.poll();
      }
    };
    pageOf(0).fill(0xa5);
    start(WRITE, READ_PLACE, pageOf(0));
    finish(1);
    seen.bytes = 0;
    for (let i = 0; i < TRANSFERS; i++) {
      pageOf(i).fill(isRead(i) ? 0xee : i % 251);
      start(isRead(i) ? READ : WRITE, isRead(i) ? READ_PLACE : 0, pageOf(i));
    }
    assert.equal(ended, 1);
    assert.equal(disk.transfersActive, TRANSFERS, 'all at once');
    assert.equal(disk.bios.busyCount, TRANSFERS, 'each has its memory');
    assert.equal(disk.counters.pagesHeld, (TRANSFERS * BYTES) / PAGE_BYTES);
    const slots = BOUNCE_BYTES / SWIOTLB_SLOT_BYTES;
    assert.ok(bounce.usedSlots > slots - 64, `${bounce.usedSlots} of ${slots} slots are taken`);
    finish(TRANSFERS + 1);
    assert.equal(seen.bytes, TRANSFERS * BYTES, 'every byte went through the controller');
    assert.equal(bounce.usedSlotsMost, slots);
    for (let i = 7; i < TRANSFERS; i += 8) {
      assert.ok(
        pageOf(i).every((byte) => byte === 0xa5),
        `read ${i}`,
      );
    }
    assert.ok(target.bytes.every((byte) => byte === 0x5a));
    // Of the writes to one place the last of each block wins: a whole page of one of them.
    target.bytes.fill(0);
    start(READ, 0, pageOf(7));
    finish(TRANSFERS + 2);
    const [first] = pageOf(7);
    assert.ok(first !== undefined && first < 251 && pageOf(7).every((byte) => byte === first));
    assert.ok(target.bytes.every((byte) => byte === 0x5a));
    assert.equal(disk.counters.pagesHeld, 0);
    device.assertNothingOutstanding();
    for (const buffer of [source, target, pages]) buffer.release();
    await disk.close();
    users.assertNothingOutstanding();
  });
});
