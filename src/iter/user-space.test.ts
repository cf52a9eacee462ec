import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../base/errno.ts';
import { RUNS } from '../base/runs.fuzz.ts';
import { PAGE_BYTES, pagesSpanned } from '../base/units.ts';
import { BvecTable } from '../bvec/bvec-table.ts';
import { Access } from '../memory/address-space.ts';
import { Arena } from '../memory/arena.ts';
import { folioHead, HoldKind, pinCount, refCount, releaseHold } from '../memory/holds.ts';
import { Protection } from '../memory/user/area.ts';
import { UserMemory } from '../memory/user/user-memory.ts';
import type { UserSpace } from '../memory/user/user-space.ts';
import { EACH_PAGE_PINNED, ForEachPageResult, forEachPage, Verdict } from './for-each-page.ts';
import { IovIter, IterDirection } from './iov-iter.ts';
import { Iovec } from './iovec.ts';
import { copyBytesFromIter } from './iter-copy.ts';
import { EXTRACT_ALL, extract } from './iter-extract.ts';

// The walks over the memory of a process as it really is: pages that come with the first touch,
// shared after a fork, in large folios, read-only, or not there at all.

const PAGES = 10;
const arena = new Arena({ maxBytes: 8 * 2 ** 20, label: 'user space', places: false });

const areaArb = fc.constantFrom('none', 'read', 'write', 'write', 'write', 'touched', 'large');
const worldArb = fc.record({
  areas: fc.array(areaArb, { minLength: PAGES, maxLength: PAGES }),
  forks: fc.boolean(),
  isWrite: fc.boolean(),
  hold: fc.constantFrom(HoldKind.PINNED, HoldKind.PINNED, HoldKind.REFERENCED),
  ranges: fc.array(
    fc.tuple(fc.nat(PAGES * PAGE_BYTES), fc.oneof(fc.constantFrom(0, 512, 4096), fc.nat(20000))),
    { minLength: 1, maxLength: 5 },
  ),
  rowsMax: fc.integer({ min: 1, max: 40 }),
  batch: fc.constantFrom(1, 2, 16, 64, 256),
});
type World = typeof worldArb extends fc.Arbitrary<infer T> ? T : never;

/** Runs `body` in a machine of its own, and checks that nothing of it stays. */
function inWorld(
  given: World,
  body: (iter: IovIter, addrs: readonly number[], space: UserSpace) => void,
): void {
  const memory = new UserMemory({ arena, label: 'world' });
  const space = memory.newSpace('program');
  const base = space.mmap({ bytes: PAGES * PAGE_BYTES, protection: Protection.NONE });
  for (const [i, kind] of given.areas.entries()) {
    const addr = base + i * PAGE_BYTES;
    if (kind === 'none') continue;
    const protection = kind === 'read' ? Protection.READ : Protection.WRITE;
    const folioOrder = kind === 'large' ? 1 : 0;
    assert.equal(space.mmap({ addr, bytes: PAGE_BYTES, protection, folioOrder }), addr);
    if (kind === 'touched') assert.equal(space.write(addr, Uint8Array.of(i)), 1);
  }
  const child = given.forks ? space.fork('child') : null;
  const bases: number[] = [];
  const lens: number[] = [];
  const addrs: number[] = [];
  for (const [at, wanted] of given.ranges) {
    const len = Math.min(wanted, (PAGES + 1) * PAGE_BYTES - at);
    bases.push(base + at);
    lens.push(len);
    for (let i = 0; i < len; i++) addrs.push(base + at + i);
  }
  const iovec = new Iovec();
  iovec.importRanges(bases, lens, bases.length);
  const iter = new IovIter();
  iter.initUser(given.isWrite ? IterDirection.DEST : IterDirection.SOURCE, space, iovec);
  body(iter, addrs, space);
  space.exit();
  child?.exit();
  memory[Symbol.dispose]();
  arena.assertNothingOutstanding();
}

/** Bytes before the first one that the access may not touch. */
function reachable({ areas, isWrite }: World, base: number, addrs: readonly number[]): number {
  const at = addrs.findIndex((addr) => {
    const kind = areas[Math.floor((addr - base) / PAGE_BYTES)] ?? 'none';
    return kind === 'none' || (isWrite && kind === 'read');
  });
  return at < 0 ? addrs.length : at;
}

/** Where the page table says that a byte lies now. */
function physical(space: UserSpace, addr: number): number {
  const frame = space.table.frameAt(Math.floor(addr / PAGE_BYTES));
  return frame * PAGE_BYTES + (addr % PAGE_BYTES);
}

test('15, 16: rows are the pages that the process has then, each held once', () => {
  fc.assert(
    fc.property(worldArb, (given) => {
      inWorld(given, (iter, addrs, space) => {
        const base = (space.areas[0]?.start ?? 0) as number;
        const table = new BvecTable(64);
        const want = reachable(given, base, addrs);
        const { page, offset, len } = table;
        let done = 0;
        for (;;) {
          const refs = new Map<number, number>();
          const options = { ...EXTRACT_ALL, hold: given.hold };
          const bytes = extract(iter, table, 0, given.rowsMax, 2 ** 31, options);
          if (bytes <= 0) {
            assert.equal(bytes, done < addrs.length ? -Errno.EFAULT : 0);
            break;
          }
          let at = done;
          const held = new Map<number, number>();
          for (let row = 0; row < iter.rowsOut; row++) {
            const start = (page[row] as number) * PAGE_BYTES + (offset[row] as number);
            for (let i = 0; i < (len[row] as number); i++, at++) {
              if (physical(space, addrs[at] as number) !== start + i) assert.fail(`byte ${at}`);
            }
            const pages = pagesSpanned(offset[row] as number, len[row] as number);
            for (let i = 0; i < pages; i++) {
              const head = folioHead((page[row] as number) + i);
              held.set(head, (held.get(head) ?? 0) + 1);
            }
          }
          assert.equal(at - done, bytes);
          done += bytes;
          const { zeroPage } = space.memory;
          for (const [head, count] of held) {
            const pins = given.hold === HoldKind.PINNED && head !== zeroPage ? count : 0;
            assert.equal(pinCount(head), pins);
            refs.set(head, refCount(head));
          }
          for (let row = 0; row < iter.rowsOut; row++) {
            const pages = pagesSpanned(offset[row] as number, len[row] as number);
            releaseHold(given.hold, page[row] as number, pages);
          }
          for (const [head, count] of held) {
            const back = given.hold === HoldKind.REFERENCED ? count : 0;
            assert.deepEqual(
              [pinCount(head), (refs.get(head) as number) - refCount(head)],
              [0, back],
            );
          }
        }
        assert.equal(done, want);
        assert.equal(iter.count, addrs.length - want);
      });
    }),
    { numRuns: Math.max(Math.floor(RUNS.numRuns / 4), 50) },
  );
});

test('20: forEachPage hands out the same pages for every batch, and lets each go', () => {
  fc.assert(
    fc.property(worldArb, (given) => {
      inWorld(given, (iter, addrs, space) => {
        const base = (space.areas[0]?.start ?? 0) as number;
        const want = reachable(given, base, addrs);
        let at = 0;
        const check = (page: number, offset: number, len: number): number => {
          for (let i = 0; i < len; i++, at++) {
            const here = page * PAGE_BYTES + offset + i;
            if (physical(space, addrs[at] as number) !== here) assert.fail(`byte ${at}`);
          }
          return Verdict.DROP;
        };
        const options = { ...EACH_PAGE_PINNED, hold: given.hold, batch: given.batch };
        const result = forEachPage(iter, 2 ** 31, check, null, options, new ForEachPageResult());
        assert.deepEqual([result.bytes, at], [want, want]);
        assert.equal(result.error, want < addrs.length ? -Errno.EFAULT : 0);
        assert.equal(iter.count, addrs.length - want);
      });
    }),
    { numRuns: Math.max(Math.floor(RUNS.numRuns / 4), 50) },
  );
});

test('13: a copy has exactly the bytes before the fault', () => {
  fc.assert(
    fc.property(worldArb, (wanted) => {
      const given = { ...wanted, isWrite: false };
      inWorld(given, (iter, addrs, space) => {
        const base = (space.areas[0]?.start ?? 0) as number;
        const want = reachable(given, base, addrs);
        const out = new Uint8Array(addrs.length);
        assert.equal(copyBytesFromIter(iter, out, 0, addrs.length), want);
        for (let i = 0; i < want; i++) {
          const addr = addrs[i] as number;
          const isFirst = addr % PAGE_BYTES === 0;
          const page = Math.floor((addr - base) / PAGE_BYTES);
          const value = isFirst && given.areas[page] === 'touched' ? page : 0;
          // Frames of large folios are zeroed as a whole; everything else was never written.
          if (out[i] !== value) assert.fail(`byte ${i} is ${out[i]}`);
        }
        assert.equal(space.pageAt(base - PAGE_BYTES, Access.READ), -Errno.EFAULT);
      });
    }),
    { numRuns: Math.max(Math.floor(RUNS.numRuns / 4), 50) },
  );
});
