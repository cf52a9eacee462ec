import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import { CoherentPages } from './coherent-pages.ts';
import { DmaDevice } from './dma-device.ts';
import { DmaList } from './dma-list.ts';
import { NOT_NOW } from './dma-status.ts';
import { bytesAt, highArena, lowArena, MASK_32 } from './dma-world.fuzz.ts';
import { Iommu } from './iommu.ts';
import { NvmePointer, NvmePsdt, SglType } from './nvme-pointer.ts';
import { buildPrp, PRP_LIMITS, prpListsFor } from './nvme-prp.ts';
import { buildSgl, SGL_LIMITS, sglListsFor } from './nvme-sgl.ts';
import { dmaOwnership } from './ownership.ts';

const device = new DmaDevice();
type Range = readonly [address: number, len: number];

function dmaOf(ranges: readonly Range[]): DmaList {
  const dma = new DmaList(Math.max(ranges.length, 1));
  ranges.forEach(([address, len], i) => {
    dma.address[i] = address;
    dma.len[i] = len;
  });
  dma.count = ranges.length;
  return dma;
}

/** The list pages of a pointer by bus address, read past the code that wrote them. */
function listBytes(pointer: NvmePointer, address: number): DataView {
  const { pages } = pointer;
  const page = pages.page[pages.busAddress.indexOf(address - (address % pages.pageBytes))];
  assert.ok(page !== undefined, `${address} is no list page`);
  const bytes = bytesAt({ page, offset: address % pages.pageBytes, len: 0 });
  const room = pages.pageBytes - (address % pages.pageBytes);
  return new DataView(bytes.buffer, bytes.byteOffset, room);
}

function entry64(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}

/** All PRP entries of a command in order, as the specification says how to find them. */
function prpEntries(pointer: NvmePointer, bytes: number, pageBytes: number): number[] {
  const first = pointer.prp1;
  const count = Math.ceil(((first % pageBytes) + bytes) / pageBytes);
  if (count === 1) return [first];
  if (count === 2) return [first, pointer.prp2];
  const entries = [first];
  const slots = pageBytes / 8;
  for (let list = pointer.prp2; ; ) {
    const view = listBytes(pointer, list);
    const left = count - entries.length;
    const here = left > slots ? slots - 1 : left;
    for (let i = 0; i < here; i++) entries.push(entry64(view, i * 8));
    if (left <= slots) return entries;
    list = entry64(view, (slots - 1) * 8);
  }
}

/** All data descriptors in order, with the rules for segments checked on the way. */
function sglRanges(pointer: NvmePointer): Range[] {
  if (pointer.sglType === SglType.DATA_BLOCK) return [[pointer.sglAddress, pointer.sglBytes]];
  const ranges: Range[] = [];
  let { sglAddress: address, sglBytes: bytes, sglType: type } = pointer;
  for (;;) {
    const view = listBytes(pointer, address);
    const count = bytes / 16;
    assert.ok(Number.isInteger(count) && count > 0 && bytes <= view.byteLength);
    let chain: [number, number, number] | null = null;
    for (let i = 0; i < count; i++) {
      const one = [entry64(view, i * 16), view.getUint32(i * 16 + 8, true)] as const;
      assert.equal(view.getUint32(i * 16 + 12, true) & 0xffffff, 0, 'reserved bytes are zero');
      const kind = view.getUint8(i * 16 + 15);
      if (kind === SglType.DATA_BLOCK) {
        ranges.push(one);
        continue;
      }
      assert.equal(i, count - 1, 'a chain stands at the end');
      chain = [one[0], one[1], kind];
    }
    assert.equal(chain === null, type === SglType.LAST_SEGMENT);
    if (chain === null) return ranges;
    [address, bytes, type] = chain;
  }
}

const pages = new CoherentPages(device, lowArena, 64);

test('PRP: the entries of a command and of its list', () => {
  const P = PAGE_BYTES;
  const cases: [Range[], number[], number][] = [
    [[[0x1000, 100]], [0x1000], 0],
    [[[0x1200, 0xe00]], [0x1200], 0],
    [[[0x1200, 0xe04]], [0x1200, 0x2000], 0],
    [[[0x1000, 2 * P]], [0x1000, 0x2000], 0],
    [
      [
        [0x1ffc, 4],
        [0x9000, P],
      ],
      [0x1ffc, 0x9000],
      0,
    ],
    // 12 KiB from 0x1200 on touch four pages.
    [[[0x1200, 3 * P]], [0x1200, 0x2000, 0x3000, 0x4000], 1],
    [
      [
        [0x1000, P],
        [2 ** 40, 2 * P],
        [0x7000, 512],
      ],
      [0x1000, 2 ** 40, 2 ** 40 + P, 0x7000],
      1,
    ],
  ];
  for (const [ranges, entries, lists] of cases) {
    const pointer = new NvmePointer(pages, 2);
    const dma = dmaOf(ranges);
    assert.equal(buildPrp(pointer, dma, PRP_LIMITS), 0);
    assert.equal(pointer.psdt, NvmePsdt.PRP);
    assert.equal(pointer.entries, entries.length);
    assert.equal(pointer.listCount, lists);
    assert.deepEqual(prpEntries(pointer, dma.bytes(), P), entries);
    if (entries.length === 1) assert.equal(pointer.prp2, 0, 'reserved when it is not used');
    pointer.release();
    assert.equal(pages.busyCount, 0);
  }
});

test('PRP lists: a full page ends with data if nothing follows, with a chain if more does', () => {
  // entries of the command, list pages: 512 entries fit a page, 511 of one that chains
  const cases = [
    [2, 0],
    [3, 1],
    [513, 1],
    [514, 2],
    [1024, 2],
    [1025, 3],
    [1535, 3],
    [1536, 4],
  ] as const;
  for (const [entries, lists] of cases) {
    const pointer = new NvmePointer(pages, 8);
    const bytes = entries * PAGE_BYTES;
    const dma = dmaOf([[0x100000, bytes]]);
    assert.equal(buildPrp(pointer, dma, PRP_LIMITS), 0);
    assert.equal(pointer.listCount, lists, `${entries} entries`);
    const expected = Array.from({ length: entries }, (_, i) => 0x100000 + i * PAGE_BYTES);
    assert.deepEqual(prpEntries(pointer, bytes, PAGE_BYTES), expected);
    // What a driver keeps ready for a command of this size holds it wherever it starts.
    assert.equal(prpListsFor(bytes - PAGE_BYTES, PAGE_BYTES), lists);
    pointer.release();
  }
  assert.equal(pages.busyCount, 0);
});

test('PRP: what they cannot say is -EINVAL, no list page is back-pressure', () => {
  const pointer = new NvmePointer(pages, 1);
  const refused: [Range[], number][] = [
    [[], 0],
    [[[0x1002, 512]], 0],
    [
      [
        [0x1000, 512],
        [0x3000, 512],
      ],
      0,
    ],
    [
      [
        [0x1000, PAGE_BYTES],
        [0x3200, 512],
      ],
      0,
    ],
    [[[0x1000, 8192]], 4096],
    [[[0x1000, 514 * PAGE_BYTES]], 0], // two lists, and the pointer has room for one
  ];
  for (const [ranges, bytesMax] of refused) {
    assert.equal(buildPrp(pointer, dmaOf(ranges), { ...PRP_LIMITS, bytesMax }), -22);
    assert.equal(pointer.listCount, 0);
  }
  assert.equal(buildPrp(pointer, dmaOf([[0x1000, 8192]]), { ...PRP_LIMITS, bytesMax: 8192 }), 0);
  pointer.release();
  const taken = Array.from({ length: pages.count }, () => pages.acquire());
  assert.equal(pages.acquire(), -1);
  const dma = dmaOf([[0x1000, 4 * PAGE_BYTES]]);
  assert.equal(buildPrp(pointer, dma, PRP_LIMITS), NOT_NOW);
  pages.release(taken[0]);
  assert.equal(buildPrp(pointer, dma, PRP_LIMITS), 0);
  assert.throws(() => buildPrp(pointer, dma, PRP_LIMITS), /in use/);
  pointer.release();
  for (const index of taken.slice(1)) pages.release(index);
  assert.throws(() => pages.release(0), /released twice/);
  assert.equal(pages.busyCount, 0);
});

test('PRP with a larger controller page: entries and lists are of that size', () => {
  const large = new CoherentPages(device, lowArena, 4, 16384);
  const pointer = new NvmePointer(large, 2);
  const limits = { pageBytes: 16384, bytesMax: 0 };
  const dma = dmaOf([[0x101000, 65536]]);
  assert.equal(buildPrp(pointer, dma, limits), 0);
  const entries = [0x101000, 0x104000, 0x108000, 0x10c000, 0x110000];
  assert.deepEqual(prpEntries(pointer, 65536, 16384), entries);
  pointer.release();
  assert.equal(buildPrp(pointer, dmaOf([[0x101000, 0x3000]]), limits), 0);
  assert.deepEqual([pointer.prp1, pointer.prp2], [0x101000, 0]);
  pointer.release();
  const off = dmaOf([
    [0x104000, 4096],
    [0x108000, 4096],
  ]);
  assert.equal(buildPrp(pointer, off, limits), -22, 'a joint at 4 KiB is inside such a page');
  assert.throws(() => buildPrp(pointer, dma, PRP_LIMITS), /another size/);
  large[Symbol.dispose]();
});

const prpArb = fc
  .tuple(
    fc.nat(1023).map((n) => n * 4),
    fc.array(fc.tuple(fc.nat(2 ** 31), fc.integer({ min: 1, max: 300 })), {
      minLength: 1,
      maxLength: 8,
    }),
    fc.integer({ min: 1, max: PAGE_BYTES }),
  )
  .map(([offset, runs, last]) =>
    runs.map(([page, count], i): Range => {
      const start = page * PAGE_BYTES + (i === 0 ? offset : 0);
      const end = (page + count) * PAGE_BYTES - (i === runs.length - 1 ? PAGE_BYTES - last : 0);
      return [start, Math.max(end - start, 4)];
    }),
  );

test('PRP: any gap-free list is said page by page', () => {
  fc.assert(
    fc.property(prpArb, (ranges) => {
      const pointer = new NvmePointer(pages, 8);
      const dma = dmaOf(ranges);
      const result = buildPrp(pointer, dma, PRP_LIMITS);
      const expected = ranges.flatMap(([address, len]) => {
        const out = [address];
        const first = address - (address % PAGE_BYTES) + PAGE_BYTES;
        for (let at = first; at < address + len; at += PAGE_BYTES) out.push(at);
        return out;
      });
      assert.equal(result, 0);
      assert.deepEqual(prpEntries(pointer, dma.bytes(), PAGE_BYTES), expected);
      assert.ok(pointer.listCount <= prpListsFor(dma.bytes(), PAGE_BYTES));
      pointer.release();
      assert.equal(pages.busyCount, 0);
    }),
    RUNS,
  );
});

test('SGL: one range in the command, more in segments, the last of them marked', () => {
  const cases = [
    [1, 0],
    [2, 1],
    [256, 1],
    [257, 2],
    [511, 2],
    [512, 3],
    [766, 3],
    [767, 4],
  ] as const;
  for (const [count, lists] of cases) {
    const pointer = new NvmePointer(pages, 8);
    const ranges = Array.from(
      { length: count },
      (_, i): Range => [2 ** 33 + i * 12345, 1 + ((i * 977) % 70000)],
    );
    assert.equal(buildSgl(pointer, dmaOf(ranges), SGL_LIMITS), 0);
    assert.equal(pointer.psdt, NvmePsdt.SGL);
    assert.deepEqual([pointer.entries, pointer.listCount], [count, lists]);
    assert.equal(sglListsFor(count, PAGE_BYTES), lists);
    assert.deepEqual(sglRanges(pointer), ranges);
    pointer.release();
  }
  const one = new NvmePointer(pages, 0);
  assert.equal(buildSgl(one, dmaOf([[0x1003, 4294967295]]), SGL_LIMITS), 0);
  assert.deepEqual([one.sglAddress, one.sglBytes, one.sglType], [0x1003, 4294967295, 0]);
  assert.equal(pages.busyCount, 0);
});

test('SGL: limits are -EINVAL, no list page is back-pressure', () => {
  const pointer = new NvmePointer(pages, 1);
  const two: Range[] = [
    [0x1000, 8],
    [0x2002, 8],
  ];
  assert.equal(buildSgl(pointer, dmaOf([]), SGL_LIMITS), -22);
  assert.equal(buildSgl(pointer, dmaOf(two), { ...SGL_LIMITS, descriptorsMax: 1 }), -22);
  assert.equal(buildSgl(pointer, dmaOf(two), { ...SGL_LIMITS, bytesMax: 15 }), -22);
  assert.equal(buildSgl(pointer, dmaOf(two), { ...SGL_LIMITS, isDwordAligned: true }), -22);
  assert.equal(
    buildSgl(pointer, dmaOf([[0x1000, 6]]), { ...SGL_LIMITS, isDwordAligned: true }),
    -22,
  );
  const long = Array.from({ length: 257 }, (): Range => [0, 4]);
  assert.equal(buildSgl(pointer, dmaOf(long), SGL_LIMITS), -22, 'two lists, room for one');
  const exact = { descriptorsMax: 2, bytesMax: 16, isDwordAligned: false };
  assert.equal(buildSgl(pointer, dmaOf(two), exact), 0);
  assert.throws(() => buildSgl(pointer, dmaOf(two), exact), /in use/);
  pointer.release();
  const taken = Array.from({ length: pages.count }, () => pages.acquire());
  assert.equal(buildSgl(pointer, dmaOf(two), SGL_LIMITS), NOT_NOW);
  assert.equal(pointer.listCount, 0);
  for (const index of taken) pages.release(index);
  assert.equal(pages.busyCount, 0);
});

test('coherent pages: of memory that the device reaches, mapped for both sides, given back', () => {
  const before = lowArena.stats().usedBytes;
  const narrow = new DmaDevice({ dmaMask: MASK_32 });
  assert.throws(() => new CoherentPages(narrow, highArena, 1), { code: 'EIO' });
  assert.throws(() => new CoherentPages(device, lowArena, 100_000), { code: 'ENOMEM' });
  const tiny = new Iommu({ spaceBytes: 2 * PAGE_BYTES });
  const behind = new DmaDevice({ iommu: tiny });
  assert.throws(() => new CoherentPages(behind, lowArena, 3), { code: 'ENOMEM' });
  tiny.assertNothingOutstanding();
  assert.equal(lowArena.stats().usedBytes, before);
  // 64 KiB granules: 16 pages are cut from each folio.
  const iommu = new Iommu({ granuleBytes: 65536, spaceBytes: MIB });
  const large = new CoherentPages(new DmaDevice({ iommu }), lowArena, 17);
  assert.equal(large.count, 32);
  assert.equal(iommu.space.usedGranules, 2);
  assert.equal(new Set(large.busAddress).size, 32);
  assert.ok(large.busAddress.every((address) => address % PAGE_BYTES === 0));
  const index = large.acquire();
  const { page } = large;
  dmaOwnership.isEnabled = true;
  dmaOwnership.assertDeviceOwns(page[31], 0, PAGE_BYTES);
  dmaOwnership.assertCpuOwns(page[31], 0, PAGE_BYTES);
  assert.throws(() => large[Symbol.dispose](), /while pages are out/);
  assert.throws(() => large.write32(index, 4096, 0), /outside the page/);
  large.release(index);
  assert.throws(() => large.release(-1), /what is none/);
  large[Symbol.dispose]();
  assert.throws(() => dmaOwnership.assertDeviceOwns(page[31], 0, 1), /that the CPU owns/);
  dmaOwnership.isEnabled = false;
  iommu.assertNothingOutstanding();
  assert.equal(lowArena.stats().usedBytes, before);
});
