import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import { type AddressSpace, MappedSpace } from '../memory/address-space.ts';
import { Arena } from '../memory/arena.ts';
import { isDirty, pinCount } from '../memory/holds.ts';
import { enterAtomic, leaveAtomic } from './atomic-section.ts';
import { DmaDevice } from './dma-device.ts';
import { DmaList } from './dma-list.ts';
import { DmaDir, DmaPerm } from './dma-status.ts';
import {
  addressOf,
  bytesAt,
  entriesOf,
  fillEntries,
  landingsOf,
  pattern,
  rangesOf,
} from './dma-world.fuzz.ts';
import { Iommu } from './iommu.ts';
import { SgList, SgPool } from './sg-list.ts';
import { getUserSg, putUserSg } from './user-sg.ts';

const ANY = { entriesMax: 1000, segBytesMax: 2 ** 32 - 1 };
const BASE = 64 * PAGE_BYTES;
const { FROM_DEVICE, TO_DEVICE, BIDIRECTIONAL } = DmaDir;

/** An address space over frames of an arena, page by page from BASE on; null = nothing there. */
class Program {
  readonly arena = new Arena({ label: 'program', maxBytes: 4 * MIB });
  readonly space = new MappedSpace();
  readonly pages: number[] = [];

  constructor(folios: readonly (readonly [order: number, readOnly?: boolean] | null)[]) {
    let at = BASE;
    for (const folio of folios) {
      if (folio === null) {
        this.pages.push(-1);
        at += PAGE_BYTES;
        continue;
      }
      const [order, readOnly = false] = folio;
      const head = this.arena.getFolio(order);
      for (let i = 0; i < 2 ** order; i++, at += PAGE_BYTES) {
        this.space.map(at, head + i, { readOnly });
        this.pages.push(head + i);
      }
    }
  }

  assertNoPins(): void {
    assert.equal(this.arena.region.pinnedPages, 0);
  }

  [Symbol.dispose](): void {
    this.assertNoPins();
    this.arena[Symbol.dispose]();
  }
}

const pool = new SgPool({ chunks: 16, chunkEntries: 8 });

test('pages that follow each other share an entry; pins are one a page; put lets all go', () => {
  using program = new Program([[2], [0], [0]]);
  const [first] = program.pages;
  // The arena hands out folios of order 0 anywhere, so say what this one did.
  const run = program.pages.findIndex((page, i) => page !== first + i);
  const joinedPages = run < 0 ? 6 : run;
  const list = new SgList(pool);
  const bytes = 4 * PAGE_BYTES - 100;
  const range = { space: program.space, addr: BASE + 100, bytes };
  assert.equal(getUserSg(list, range, FROM_DEVICE, ANY), 0);
  assert.deepEqual(entriesOf(list), [{ page: first, offset: 100, len: bytes }]);
  assert.equal(pinCount(first), 4, 'one pin for each page of the folio');
  assert.ok(!isDirty(first));
  putUserSg(list, true);
  assert.ok(isDirty(first));
  program.assertNoPins();
  putUserSg(list, true);
  assert.equal(pool.busyCount, 0);
  assert.equal(getUserSg(list, { ...range, bytes: 6 * PAGE_BYTES - 100 }, TO_DEVICE, ANY), 0);
  assert.equal(entriesOf(list)[0].len, joinedPages * PAGE_BYTES - 100);
  putUserSg(list, false);
  assert.equal(pool.busyCount, 0);
});

test('the largest segment cuts, and too many entries are -E2BIG with nothing pinned', () => {
  using program = new Program([[3]]);
  const list = new SgList(pool);
  const range = { space: program.space, addr: BASE, bytes: 8 * PAGE_BYTES };
  assert.equal(getUserSg(list, range, TO_DEVICE, { entriesMax: 4, segBytesMax: 8192 }), 0);
  assert.deepEqual(
    entriesOf(list).map(({ len }) => len),
    [8192, 8192, 8192, 8192],
  );
  putUserSg(list, false);
  assert.equal(getUserSg(list, range, TO_DEVICE, { entriesMax: 3, segBytesMax: 8192 }), -7);
  // 3 × 12000 bytes would hold it, but a segment is whole pages: 4 entries.
  assert.equal(getUserSg(list, range, TO_DEVICE, { entriesMax: 3, segBytesMax: 12000 }), -7);
  assert.equal(getUserSg(list, range, TO_DEVICE, { entriesMax: 1000, segBytesMax: 4095 }), -22);
  assert.equal(getUserSg(list, { ...range, bytes: 0 }, TO_DEVICE, ANY), -22);
  assert.equal(getUserSg(list, { ...range, addr: -1 }, TO_DEVICE, ANY), -14);
  assert.equal(getUserSg(list, { ...range, addr: 2 ** 52 - 1 }, TO_DEVICE, ANY), -14);
  program.assertNoPins();
  assert.equal(list.first, -1);
  assert.equal(pool.busyCount, 0);
});

test('all or nothing: a hole, or a page that may not be written, lets every pin go', () => {
  using program = new Program([[0], [1], null, [0], [0, true], [0]]);
  const list = new SgList(pool);
  const get = (page: number, pages: number, dir: DmaDir): number => {
    const range = {
      space: program.space,
      addr: BASE + page * PAGE_BYTES,
      bytes: pages * PAGE_BYTES,
    };
    const result = getUserSg(list, range, dir, ANY);
    if (result === 0) putUserSg(list, false);
    program.assertNoPins();
    assert.equal(pool.busyCount, 0);
    return result;
  };
  assert.equal(get(0, 3, FROM_DEVICE), 0);
  assert.equal(get(0, 4, TO_DEVICE), -14, 'a hole at the end');
  assert.equal(get(3, 1, TO_DEVICE), -14, 'a hole at the start');
  assert.equal(get(2, 3, TO_DEVICE), -14, 'a hole in the middle');
  assert.equal(get(4, 3, TO_DEVICE), 0, 'a write of the disk reads the memory');
  assert.equal(get(4, 3, FROM_DEVICE), -14, 'a read of the disk writes it');
  assert.equal(get(4, 3, BIDIRECTIONAL), -14);
});

test('a page that must be waited for: -EAGAIN, with nothing pinned', () => {
  using program = new Program([[0], [0], [0]]);
  const { space } = program;
  let waits = true;
  const slow: AddressSpace = {
    pageAt: (addr, access) => space.pageAt(addr, access),
    holdPages: (addr, count, access, hold, out, at) => {
      const second = BASE + PAGE_BYTES;
      if (waits && addr >= second) return -11;
      const most = waits ? Math.min(count, (second - addr) / PAGE_BYTES) : count;
      return space.holdPages(addr, most, access, hold, out, at);
    },
    whenReady: () => {},
  };
  const list = new SgList(pool);
  const range = { space: slow, addr: BASE, bytes: 3 * PAGE_BYTES };
  assert.equal(getUserSg(list, range, TO_DEVICE, ANY), -11);
  program.assertNoPins();
  waits = false;
  assert.equal(getUserSg(list, range, TO_DEVICE, ANY), 0);
  putUserSg(list, false);
  const small = new SgPool({ chunks: 1, chunkEntries: 2 });
  const [a, b] = [new SgList(small), new SgList(small)];
  b.acquire(1);
  assert.equal(getUserSg(a, range, TO_DEVICE, ANY), -12, 'no table');
  program.assertNoPins();
  b.release();
});

test('the contract: no table before, no device at put, no sleeping section', () => {
  using program = new Program([[0]]);
  const list = new SgList(pool);
  const range = { space: program.space, addr: BASE, bytes: 10 };
  enterAtomic();
  assert.throws(() => getUserSg(list, range, TO_DEVICE, ANY), /may sleep/);
  leaveAtomic();
  getUserSg(list, range, TO_DEVICE, ANY);
  assert.throws(() => getUserSg(list, range, TO_DEVICE, ANY), /has a table already/);
  const device = new DmaDevice();
  const dma = new DmaList(1);
  device.mapSg(list, 1, TO_DEVICE, dma);
  assert.throws(() => putUserSg(list, false), /while a device has it/);
  device.unmapSg(list, 1, dma);
  putUserSg(list, false);
  list.acquire(1);
  assert.throws(() => putUserSg(list, false), /did not make/);
  list.release();
  assert.equal(pool.busyCount, 0);
});

test('any range: the bytes in order, a pin for each page, and nothing left', () => {
  const folio = fc.oneof(
    fc.constantFrom(0, 0, 1, 2, 3).map((order) => [order] as const),
    fc.constantFrom(null, [0] as const, [0] as const, [0] as const, [0] as const),
  );
  fc.assert(
    fc.property(
      fc.array(folio, { minLength: 1, maxLength: 10 }),
      fc.nat(999),
      fc.nat(999),
      fc.constantFrom(4096, 12288, 2 ** 32 - 1),
      fc.constantFrom(1, 2, 5, 1000),
      (folios, from, share, segBytesMax, entriesMax) => {
        using program = new Program(folios);
        const total = program.pages.length * PAGE_BYTES;
        const start = Math.floor((total * from) / 1000);
        const bytes = 1 + Math.floor(((total - start - 1) * share) / 1000);
        const list = new SgList(pool);
        const range = { space: program.space, addr: BASE + start, bytes };
        const limits = { entriesMax, segBytesMax };
        const result = getUserSg(list, range, FROM_DEVICE, limits);
        const firstPage = Math.floor(start / PAGE_BYTES);
        const endPage = Math.ceil((start + bytes) / PAGE_BYTES);
        const under = program.pages.slice(firstPage, endPage);
        if (result === 0) {
          assert.equal(program.arena.region.pinnedPages, under.length);
          const entries = entriesOf(list);
          assert.ok(entries.length <= entriesMax);
          let at = start;
          for (const entry of entries) {
            assert.ok(entry.len <= segBytesMax);
            for (let i = 0; i < entry.len; at++, i++) {
              if (i > 0 && i < entry.len - 1 && at % PAGE_BYTES !== 0) continue;
              const page = program.pages[Math.floor(at / PAGE_BYTES)];
              assert.equal(addressOf(entry) + i, page * PAGE_BYTES + (at % PAGE_BYTES));
            }
          }
          assert.equal(at, start + bytes);
          putUserSg(list, true);
          assert.ok(under.every((page) => isDirty(page)));
        } else {
          const isHole = under.includes(-1);
          const runs = countRuns(under, segBytesMax);
          const isLong = bytes > entriesMax * segBytesMax || runs > entriesMax;
          assert.equal(result, isHole && bytes <= entriesMax * segBytesMax ? -14 : -7);
          assert.ok(isHole || isLong);
        }
        program.assertNoPins();
        assert.equal(pool.busyCount, 0);
      },
    ),
    RUNS,
  );
});

/** Runs of frames that follow each other, each of at most a segment of whole pages. */
function countRuns(pages: readonly number[], segBytesMax: number): number {
  const most = Math.floor(segBytesMax / PAGE_BYTES);
  let runs = 0;
  let length = 0;
  pages.forEach((page, i) => {
    const goesOn = i > 0 && page === pages[i - 1] + 1 && length < most;
    if (!goesOn) runs++;
    length = goesOn ? length + 1 : 1;
  });
  return runs;
}

test('from a program to a device and back: mapped, written, unmapped, put', () => {
  using program = new Program([[0], [2], [0]]);
  const iommu = new Iommu({ spaceBytes: MIB });
  const device = new DmaDevice({ iommu });
  const list = new SgList(pool);
  const dma = new DmaList(8);
  const range = { space: program.space, addr: BASE + 1000, bytes: 5 * PAGE_BYTES };
  assert.equal(getUserSg(list, range, FROM_DEVICE, ANY), 0);
  const nents = list.nents;
  assert.equal(device.mapSg(list, nents, FROM_DEVICE, dma), 1, 'one range of the device');
  assert.equal(rangesOf(dma)[0][1], 5 * PAGE_BYTES);
  const data = pattern(5 * PAGE_BYTES, 6);
  fillEntries(landingsOf(device, dma, DmaPerm.WRITE), data);
  device.unmapSg(list, nents, dma);
  putUserSg(list, true);
  assert.ok(program.pages.every((page) => isDirty(page)));
  const seen = new Uint8Array(6 * PAGE_BYTES);
  program.pages.forEach((page, i) => {
    seen.set(bytesAt({ page, offset: 0, len: PAGE_BYTES }), i * PAGE_BYTES);
  });
  assert.deepEqual(seen.subarray(1000, 1000 + data.length), data);
  iommu.assertNothingOutstanding();
});
