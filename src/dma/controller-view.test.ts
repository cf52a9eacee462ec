import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import { CoherentPages } from './coherent-pages.ts';
import { type CommandPointer, ControllerView } from './controller-view.ts';
import { DmaDevice } from './dma-device.ts';
import { DmaList } from './dma-list.ts';
import { DmaDir, DmaPerm } from './dma-status.ts';
import {
  bytesAt,
  bytesOf,
  DeviceWorld,
  deviceArb,
  type Entry,
  entriesArb,
  fillEntries,
  fitEntries,
  listOf,
  lowArena,
  pattern,
  sgPool,
  totalOf,
} from './dma-world.fuzz.ts';
import { Iommu } from './iommu.ts';
import { NvmePointer, NvmePsdt, NvmeStatus } from './nvme-pointer.ts';
import { buildPrp, PRP_LIMITS } from './nvme-prp.ts';
import { buildSgl, SGL_LIMITS } from './nvme-sgl.ts';
import { dmaOwnership } from './ownership.ts';

const memory = lowArena.alloc(64 * PAGE_BYTES, 'controller');
const EMPTY: CommandPointer = {
  psdt: NvmePsdt.PRP,
  prp1: 0,
  prp2: 0,
  sglAddress: 0,
  sglBytes: 0,
  sglType: 0,
};

/** Pages that PRPs can say: the first may start, the last may end inside. */
function prpEntries(firstOffset: number, lastLen: number): Entry[] {
  const page = (i: number): number => memory.page + [3, 30, 7, 12, 50][i];
  return [
    { page: page(0), offset: firstOffset, len: PAGE_BYTES - firstOffset },
    { page: page(1), offset: 0, len: 3 * PAGE_BYTES },
    { page: page(2), offset: 0, len: PAGE_BYTES },
    { page: page(3), offset: 0, len: lastLen },
  ];
}

function behindIommu(): { device: DmaDevice; iommu: Iommu; pages: CoherentPages } {
  const iommu = new Iommu({ spaceBytes: 16 * MIB });
  const device = new DmaDevice({ iommu });
  return { device, iommu, pages: new CoherentPages(device, lowArena, 8) };
}

test('a command through lists and IOMMU: every byte, both ways, and nothing after unmap', () => {
  const { device, iommu, pages } = behindIommu();
  const view = new ControllerView(device);
  const entries = prpEntries(1024, 100);
  const total = totalOf(entries);
  const list = listOf(sgPool, entries);
  const dma = new DmaList(4);
  const pointer = new NvmePointer(pages, 2);
  for (const build of ['prp', 'sgl'] as const) {
    const make = (): number =>
      build === 'prp' ? buildPrp(pointer, dma, PRP_LIMITS) : buildSgl(pointer, dma, SGL_LIMITS);
    fillEntries(entries, pattern(total, 1));
    device.mapSg(list, 4, DmaDir.TO_DEVICE, dma);
    assert.equal(make(), 0);
    const seen = new Uint8Array(total + 10);
    assert.equal(view.read(pointer, total, seen, 5), total);
    assert.equal(view.status, NvmeStatus.SUCCESS);
    assert.deepEqual(seen.subarray(5, 5 + total), pattern(total, 1));
    assert.equal(view.write(pointer, total, seen), 0, 'it may not write what it may read');
    assert.equal(view.status, NvmeStatus.DATA_TRANSFER_ERROR);
    assert.equal(view.faultAddress, dma.address[0]);
    device.unmapSg(list, 4, dma);
    assert.equal(view.read(pointer, total, seen), 0, 'use after unmap');
    assert.equal(view.status, NvmeStatus.DATA_TRANSFER_ERROR);
    pointer.release();
    device.mapSg(list, 4, DmaDir.FROM_DEVICE, dma);
    assert.equal(make(), 0);
    assert.equal(view.write(pointer, total, pattern(total, 9)), total);
    device.unmapSg(list, 4, dma);
    assert.deepEqual(bytesOf(entries), pattern(total, 9));
    pointer.release();
  }
  list.release();
  pages[Symbol.dispose]();
  iommu.assertNothingOutstanding();
});

test('corrupting one entry makes exactly the bytes of that entry wrong', () => {
  const { device, pages } = behindIommu();
  const view = new ControllerView(device);
  const entries = prpEntries(512, PAGE_BYTES);
  const total = totalOf(entries);
  const data = pattern(total, 3);
  fillEntries(entries, data);
  const list = listOf(sgPool, entries);
  const elsewhere = { page: memory.page + 60, offset: 0, len: PAGE_BYTES };
  bytesAt(elsewhere).fill(0xee);
  const other = listOf(sgPool, [elsewhere]);
  const [dma, target] = [new DmaList(4), new DmaList(1)];
  const pointer = new NvmePointer(pages, 1);
  device.mapSg(list, 4, DmaDir.TO_DEVICE, dma);
  device.mapSg(other, 1, DmaDir.TO_DEVICE, target);
  assert.equal(buildPrp(pointer, dma, PRP_LIMITS), 0);
  assert.equal(pointer.entries, 6);
  const index = pointer.lists[0];
  const raw = bytesAt({ page: pages.page[index], offset: 0, len: 5 * 8 });
  for (let slot = 0; slot < 5; slot++) {
    const good = raw.slice(slot * 8, slot * 8 + 8);
    pages.write64(index, slot * 8, target.address[0]);
    const seen = new Uint8Array(total);
    assert.equal(view.read(pointer, total, seen), total);
    const expected = data.slice();
    const start = 3584 + slot * PAGE_BYTES;
    expected.fill(0xee, start, start + PAGE_BYTES);
    assert.deepEqual(seen, expected, `entry ${slot} of the list`);
    raw.set(good, slot * 8);
  }
  const seen = new Uint8Array(total);
  view.read(pointer, total, seen);
  assert.deepEqual(seen, data, 'and right again');
  pointer.release();
  // The same with an entry of the page table of the IOMMU.
  assert.equal(buildSgl(pointer, dma, SGL_LIMITS), 0);
  const { iommu } = device;
  assert.ok(iommu !== null);
  const row = iommu.rowFor(dma.address[0], DmaPerm.READ) + 2;
  const good = iommu.target[row];
  iommu.target[row] = elsewhere.page;
  view.read(pointer, total, seen);
  const expected = data.slice();
  expected.fill(0xee, 3584 + PAGE_BYTES, 3584 + 2 * PAGE_BYTES);
  assert.deepEqual(seen, expected);
  iommu.target[row] = good;
  pointer.release();
  device.unmapSg(list, 4, dma);
  device.unmapSg(other, 1, target);
  list.release();
  other.release();
  pages[Symbol.dispose]();
});

test('45: any list through SGL, list pages and translation: the bytes of memory, both ways', () => {
  dmaOwnership.isEnabled = true;
  try {
    fc.assert(
      fc.property(entriesArb, deviceArb, fc.boolean(), (raw, shape, isRead) => {
        using world = new DeviceWorld(shape);
        const { device } = world;
        const entries = fitEntries(raw, device);
        const total = totalOf(entries);
        fillEntries(entries, pattern(total, 1));
        const pages = new CoherentPages(device, lowArena, 2);
        const view = new ControllerView(device);
        const pointer = new NvmePointer(pages, 2);
        const list = listOf(sgPool, entries);
        const dma = new DmaList(entries.length);
        const dir = isRead ? DmaDir.FROM_DEVICE : DmaDir.TO_DEVICE;
        if (device.mapSg(list, entries.length, dir, dma) > 0) {
          assert.equal(buildSgl(pointer, dma, SGL_LIMITS), 0);
          if (isRead) {
            assert.equal(view.write(pointer, total, pattern(total, 6)), total);
          } else {
            const seen = new Uint8Array(total);
            assert.equal(view.read(pointer, total, seen), total);
            assert.deepEqual(seen, pattern(total, 1));
          }
          device.unmapSg(list, entries.length, dma);
          assert.deepEqual(bytesOf(entries), pattern(total, isRead ? 6 : 1));
        }
        pointer.release();
        pages[Symbol.dispose]();
        list.release();
      }),
      RUNS,
    );
    assert.equal(dmaOwnership.pages, 0);
  } finally {
    dmaOwnership.isEnabled = false;
  }
});

test('any gap-free list through PRPs and an IOMMU', () => {
  const { device, iommu, pages } = behindIommu();
  const view = new ControllerView(device);
  const shape = fc.tuple(
    fc.nat(1023).map((n) => n * 4),
    fc.shuffledSubarray([0, 10, 20, 30, 40, 50], { minLength: 1 }),
    fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 6, maxLength: 6 }),
    fc.integer({ min: 1, max: PAGE_BYTES }),
  );
  fc.assert(
    fc.property(shape, ([offset, starts, counts, last]) => {
      const entries = starts.map((start, i): Entry => {
        const from = i === 0 ? offset : 0;
        const cut = i === starts.length - 1 ? PAGE_BYTES - last : 0;
        const len = Math.max(counts[i] * PAGE_BYTES - from - cut, 1);
        return { page: memory.page + start, offset: from, len };
      });
      const total = totalOf(entries);
      fillEntries(entries, pattern(total, 5));
      const list = listOf(sgPool, entries);
      const dma = new DmaList(6);
      const pointer = new NvmePointer(pages, 1);
      assert.ok(device.mapSg(list, entries.length, DmaDir.TO_DEVICE, dma) > 0);
      assert.equal(buildPrp(pointer, dma, PRP_LIMITS), 0);
      const seen = new Uint8Array(total);
      assert.equal(view.read(pointer, total, seen), total);
      assert.deepEqual(seen, pattern(total, 5));
      pointer.release();
      device.unmapSg(list, entries.length, dma);
      list.release();
    }),
    RUNS,
  );
  pages[Symbol.dispose]();
  iommu.assertNothingOutstanding();
});

test('checked mode: a controller beside its data is caught, also without an IOMMU', () => {
  const device = new DmaDevice();
  const view = new ControllerView(device);
  const entry = { page: memory.page, offset: 512, len: 1024 };
  const list = listOf(sgPool, [entry]);
  const dma = new DmaList(1);
  const into = new Uint8Array(2000);
  const says = (offset: number, bytes: number): CommandPointer => ({
    ...EMPTY,
    psdt: NvmePsdt.SGL,
    sglAddress: entry.page * PAGE_BYTES + offset,
    sglBytes: bytes,
  });
  dmaOwnership.isEnabled = true;
  try {
    device.mapSg(list, 1, DmaDir.TO_DEVICE, dma);
    assert.equal(view.read(says(512, 1024), 1024, into), 1024);
    assert.throws(() => view.read(says(511, 2), 2, into), /that the CPU owns/);
    assert.throws(() => view.read(says(512, 1025), 1025, into), /that the CPU owns/);
    device.unmapSg(list, 1, dma);
    assert.throws(() => view.read(says(512, 1024), 1024, into), /that the CPU owns/);
  } finally {
    dmaOwnership.isEnabled = false;
    list.release();
  }
});
