// A device reaches memory by three tables and by nothing else: its ranges, the pointer made of
// them, and the page table. Of one wrong entry in any of them exactly its bytes go astray: they
// come from, or land in, the place that the wrong entry names.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import { CoherentPages } from './coherent-pages.ts';
import { ControllerView } from './controller-view.ts';
import { DmaDevice } from './dma-device.ts';
import { DmaList } from './dma-list.ts';
import { DmaDir } from './dma-status.ts';
import {
  bytesAt,
  bytesOf,
  type Entry,
  entriesArb,
  fillEntries,
  fitEntries,
  listOf,
  lowArena,
  pattern,
  rangesOf,
  sgPool,
  totalOf,
} from './dma-world.fuzz.ts';
import { Iommu } from './iommu.ts';
import { NvmePointer, NvmeStatus, PRP_ENTRY_BYTES, SGL_DESCRIPTOR_BYTES } from './nvme-pointer.ts';
import { buildPrp, PRP_LIMITS } from './nvme-prp.ts';
import { buildSgl, SGL_LIMITS } from './nvme-sgl.ts';

type Kind = 'prp' | 'sgl';

/** One entry that is made to name the spare memory instead. */
interface Wrong {
  readonly label: string;
  /** Bytes of the transfer that are the entry's. */
  readonly start: number;
  readonly end: number;
  /** Where in the spare memory they come from, or land. */
  readonly spareAt: number;
  /** Before the pointer is made of the ranges, or behind it. */
  readonly when: 'list' | 'later';
  readonly apply: () => void;
}

const SPARE_PAGES = 32;
const SPARE_BYTE = 0xee;
/** On a granule of 16 KiB, and contiguous. */
const sparePage = lowArena.getFolio(5);
const spare: Entry = { page: sparePage, offset: 0, len: SPARE_PAGES * PAGE_BYTES };
const memory = lowArena.alloc(2048 * PAGE_BYTES, 'corruption');

/** A device behind an IOMMU of its own, with the spare memory mapped for it. */
class World implements Disposable {
  readonly iommu: Iommu;
  readonly device: DmaDevice;
  readonly pages: CoherentPages;
  readonly pointer: NvmePointer;
  readonly view: ControllerView;
  readonly dma = new DmaList(1024);
  readonly #spare = new DmaList(1);

  constructor(granuleBytes: number) {
    this.iommu = new Iommu({ spaceBytes: 64 * MIB, granuleBytes });
    this.device = new DmaDevice({ iommu: this.iommu });
    this.pages = new CoherentPages(this.device, lowArena, 4);
    this.pointer = new NvmePointer(this.pages, 4);
    this.view = new ControllerView(this.device);
    this.device.beginPieces(DmaDir.BIDIRECTIONAL, this.#spare);
    assert.equal(this.device.mapPiece(spare.page, 0, spare.len, this.#spare), 0);
  }

  get spareAddress(): number {
    return this.#spare.address[0];
  }

  build(kind: Kind): void {
    const { pointer, dma } = this;
    const built =
      kind === 'prp' ? buildPrp(pointer, dma, PRP_LIMITS) : buildSgl(pointer, dma, SGL_LIMITS);
    assert.equal(built, 0);
  }

  [Symbol.dispose](): void {
    this.device.unmap(this.#spare);
    this.pages[Symbol.dispose]();
    this.device.assertNothingOutstanding();
    this.iommu.assertNothingOutstanding();
  }
}

/** Every row of the device's list. */
function wrongRanges({ dma, spareAddress }: World): Wrong[] {
  let start = 0;
  return rangesOf(dma).map(([address, len], row) => {
    const spareAt = address % PAGE_BYTES;
    const apply = (): void => {
      dma.address[row] = spareAddress + spareAt;
    };
    start += len;
    return { label: `range ${row}`, start: start - len, end: start, spareAt, when: 'list', apply };
  });
}

/** Every PRP entry: the pages of the ranges, each as the command or a list names it. */
function wrongPrps({ dma, pages, pointer, spareAddress }: World): Wrong[] {
  const out: Wrong[] = [];
  let start = 0;
  for (const [address, len] of rangesOf(dma)) {
    for (let at = address; at < address + len; ) {
      const spareAt = at % PAGE_BYTES;
      const bytes = Math.min(PAGE_BYTES - spareAt, address + len - at);
      const index = out.length;
      const apply = (): void => {
        if (index === 0) pointer.prp1 = spareAddress + spareAt;
        else if (pointer.listCount === 0) pointer.prp2 = spareAddress;
        else {
          // 511 entries a list, and the chain; the last list has no chain.
          const isLast = index === pointer.entries - 1 && (index - 1) % 511 === 0 && index > 1;
          const list = Math.floor((index - 1) / 511) - (isLast ? 1 : 0);
          const slot = isLast ? 511 : (index - 1) % 511;
          pages.write64(pointer.lists[list], slot * PRP_ENTRY_BYTES, spareAddress);
        }
      };
      const label = `prp entry ${index}`;
      out.push({ label, start, end: start + bytes, spareAt, when: 'later', apply });
      start += bytes;
      at += bytes;
    }
  }
  return out;
}

/** Every SGL descriptor of data. */
function wrongDescriptors({ dma, pages, pointer, spareAddress }: World): Wrong[] {
  let start = 0;
  return rangesOf(dma).map(([address, len], index) => {
    const spareAt = address % PAGE_BYTES;
    const apply = (): void => {
      if (pointer.listCount === 0) {
        pointer.sglAddress = spareAddress + spareAt;
        return;
      }
      // 255 descriptors a segment, and the chain; the last segment has 256 of data.
      const list = Math.min(Math.floor(index / 255), pointer.listCount - 1);
      const at = (index - list * 255) * SGL_DESCRIPTOR_BYTES;
      pages.write64(pointer.lists[list], at, spareAddress + spareAt);
    };
    start += len;
    const label = `descriptor ${index}`;
    return { label, start: start - len, end: start, spareAt, when: 'later', apply };
  });
}

/** Every entry of the page table under the ranges. */
function wrongGranules({ dma, iommu }: World): Wrong[] {
  const { granuleBytes, first, target } = iommu;
  const out: Wrong[] = [];
  let start = 0;
  for (const [address, len] of rangesOf(dma)) {
    for (let at = address; at < address + len; ) {
      const spareAt = at % granuleBytes;
      const bytes = Math.min(granuleBytes - spareAt, address + len - at);
      const row = Math.floor(at / granuleBytes) - first;
      const apply = (): void => {
        target[row] = (spare.page * PAGE_BYTES) / granuleBytes;
      };
      const label = `granule ${row}`;
      out.push({ label, start, end: start + bytes, spareAt, when: 'later', apply });
      start += bytes;
      at += bytes;
    }
  }
  return out;
}

function sameBytes(seen: Uint8Array, expected: Uint8Array, what: string): void {
  if (Buffer.compare(seen, expected) === 0) return;
  const at = seen.findIndex((byte, i) => byte !== expected[i]);
  assert.fail(`${what}: byte ${at} of ${expected.length} is ${seen[at]}, not ${expected[at]}`);
}

/** One transfer with `wrong`, or without a wrong entry. The list is mapped for it alone. */
function run(
  world: World,
  kind: Kind,
  entries: readonly Entry[],
  isRead: boolean,
  choose: (world: World) => Wrong | null,
): void {
  const { device, dma, view, pointer } = world;
  const total = totalOf(entries);
  const [before, data] = [pattern(total, 1), pattern(total, 6)];
  fillEntries(entries, before);
  bytesAt(spare).fill(SPARE_BYTE);
  const list = listOf(sgPool, entries);
  const dir = isRead ? DmaDir.FROM_DEVICE : DmaDir.TO_DEVICE;
  assert.ok(device.mapSg(list, entries.length, dir, dma) > 0);
  const ranges = rangesOf(dma);
  const wrong = choose(world);
  if (wrong?.when === 'list') wrong.apply();
  world.build(kind);
  if (wrong?.when === 'later') wrong.apply();
  const seen = new Uint8Array(total);
  const moved = isRead ? view.write(pointer, total, data) : view.read(pointer, total, seen);
  assert.equal(moved, total);
  assert.equal(view.status, NvmeStatus.SUCCESS);
  pointer.release();
  ranges.forEach(([address], row) => {
    dma.address[row] = address; // What is unmapped is what was mapped.
  });
  device.unmapSg(list, entries.length, dma);
  list.release();
  const { start, end, spareAt, label } = wrong ?? { start: 0, end: 0, spareAt: 0, label: 'none' };
  const what = `${kind}, ${isRead ? 'read' : 'write'}, ${label}`;
  const expected = isRead ? data.slice() : before.slice();
  if (isRead) expected.set(before.subarray(start, end), start);
  else expected.fill(SPARE_BYTE, start, end);
  sameBytes(isRead ? bytesOf(entries) : seen, expected, what);
  if (!isRead) return;
  const stray = new Uint8Array(spare.len).fill(SPARE_BYTE);
  stray.set(data.subarray(start, end), spareAt);
  sameBytes(bytesAt(spare), stray, `${what}, the spare memory`);
}

type Choice = (world: World) => Wrong[];

const TABLES: Readonly<Record<Kind, readonly Choice[]>> = {
  prp: [wrongRanges, wrongPrps, wrongGranules],
  sgl: [wrongRanges, wrongDescriptors, wrongGranules],
};

/** Each entry of each table, both ways; and without a wrong one. `indices`: which entries. */
function corruptEach(
  world: World,
  kind: Kind,
  entries: readonly Entry[],
  indices: (count: number) => readonly number[] = (count) =>
    Array.from({ length: count }, (_, i) => i),
): number {
  let done = 0;
  for (const isRead of [false, true]) {
    let counts: number[] = [];
    run(world, kind, entries, isRead, (mapped) => {
      counts = TABLES[kind].map((table) => table(mapped).length);
      return null;
    });
    TABLES[kind].forEach((table, i) => {
      for (const index of indices(counts[i])) {
        run(world, kind, entries, isRead, (mapped) => table(mapped)[index]);
        done++;
      }
    });
  }
  return done;
}

/** What PRPs can say: the first entry may start, and the last may end, inside a page. */
const gapFreeArb: fc.Arbitrary<Entry[]> = fc
  .record({
    offset: fc.nat(1023).map((n) => n * 4),
    places: fc.shuffledSubarray([0, 10, 20, 30, 40], { minLength: 1 }),
    pages: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 5, maxLength: 5 }),
    lastBytes: fc.integer({ min: 1, max: PAGE_BYTES }),
  })
  .map(({ offset, places, pages, lastBytes }) =>
    places.map((place, i) => {
      const from = i === 0 ? offset : 0;
      const cut = i === places.length - 1 ? PAGE_BYTES - lastBytes : 0;
      const len = Math.max(pages[i] * PAGE_BYTES - from - cut, 1);
      return { page: memory.page + place, offset: from, len };
    }),
  );

/** A run tries every entry there is, so a fifth of the runs of other properties will do. */
const FIFTH = { numRuns: Math.ceil(RUNS.numRuns / 5) };

describe('one wrong entry: exactly its bytes', () => {
  test('of ranges, PRPs and page table, for any list that PRPs can say', () => {
    let wrongs = 0;
    fc.assert(
      fc.property(gapFreeArb, fc.constantFrom(4096, 16384), (entries, granuleBytes) => {
        using world = new World(granuleBytes);
        wrongs += corruptEach(world, 'prp', entries);
      }),
      FIFTH,
    );
    assert.ok(wrongs > 1000, `only ${wrongs} entries were tried`);
  });

  test('of ranges, SGL descriptors and page table, for any list', () => {
    let wrongs = 0;
    fc.assert(
      fc.property(entriesArb, fc.constantFrom(4096, 16384), (raw, granuleBytes) => {
        using world = new World(granuleBytes);
        wrongs += corruptEach(world, 'sgl', fitEntries(raw, world.device));
      }),
      FIFTH,
    );
    assert.ok(wrongs > 1000, `only ${wrongs} entries were tried`);
  });

  test('around the places where lists of pointers go on in another page', () => {
    using world = new World(PAGE_BYTES);
    const entriesOf = (count: number): Entry[] =>
      Array.from({ length: count }, (_, i) => ({
        page: memory.page + 2 * i,
        offset: 0,
        len: 4096,
      }));
    const around = (seam: number) => (count: number) =>
      [0, 1, seam - 1, seam, seam + 1, seam + 2, count - 1].filter((index) => index < count);
    // 1 + 511 entries and the chain; 513 need no second list, 514 do.
    for (const count of [513, 514, 600]) corruptEach(world, 'prp', entriesOf(count), around(511));
    // 255 descriptors and the chain; 256 need no second segment.
    for (const count of [256, 257, 300]) corruptEach(world, 'sgl', entriesOf(count), around(254));
  });
});
