import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES, pagesSpanned } from '../base/units.ts';
import { MappedSpace } from '../memory/address-space.ts';
import { Arena } from '../memory/arena.ts';
import { folioHead, HoldKind, pinCount, releaseHold } from '../memory/holds.ts';
import {
  EACH_PAGE_PINNED,
  type ForEachPageOptions,
  ForEachPageResult,
  forEachPage,
  scratchRowsUsed,
  shortResult,
  Verdict,
} from './for-each-page.ts';
import { IovIter, IterDirection, IterKind } from './iov-iter.ts';
import { Iovec } from './iovec.ts';
import { everyCase, IterWorld, RUNS } from './iter-cases.fuzz.ts';
import { holdOf } from './iter-extract.ts';

const BATCHES = [1, 2, 16, 64, 256];
const EAGAIN = -Errno.EAGAIN;

interface Fragment {
  readonly page: number;
  readonly offset: number;
  len: number;
}

/** All fragments up to the fault, from a translation of byte after byte; and what ends them. */
function expectedFragments(
  world: IterWorld,
  bytesMax: number,
  folioRuns: boolean,
): { fragments: Fragment[]; error: number } {
  const { addr, seg, place } = world;
  const fragments: Fragment[] = [];
  for (let at = place; at < addr.length && at - place < bytesMax; at++) {
    const here = addr[at] as number;
    if (here < 0) return { fragments, error: world.errorAt(at) };
    const before = at === place ? Number.NaN : (addr[at - 1] as number);
    const page = Math.floor(here / PAGE_BYTES);
    const isNext = here === before + 1 && seg[at] === seg[at - 1];
    const isSame = folioRuns
      ? folioHead(page) === folioHead(Math.floor((Number.isNaN(before) ? here : before) / 4096))
      : here % PAGE_BYTES !== 0;
    if (isNext && isSame) (fragments.at(-1) as Fragment).len++;
    else fragments.push({ page, offset: here % PAGE_BYTES, len: 1 });
  }
  return { fragments, error: 0 };
}

interface Run {
  readonly script: readonly number[];
  readonly seen: Fragment[];
  readonly kept: Fragment[];
}

/** Follows the script of verdicts, then keeps. */
function follow(page: number, offset: number, len: number, run: Run): number {
  const verdict = run.script[run.seen.length] ?? Verdict.KEEP;
  run.seen.push({ page, offset, len });
  if (verdict === Verdict.KEEP || verdict === Verdict.STOP_KEEP) {
    run.kept.push({ page, offset, len });
  }
  return verdict;
}

const verdicts = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(Verdict.KEEP, Verdict.DROP) },
    { weight: 1, arbitrary: fc.constantFrom(Verdict.STOP_KEEP, Verdict.STOP_DROP, EAGAIN) },
  ),
  { maxLength: 30 },
);

const pagesOf = (fragments: readonly Fragment[]): number[] =>
  fragments.flatMap(({ page, offset, len }) =>
    Array.from({ length: pagesSpanned(offset, len) }, (_, i) => page + i),
  );

test('fragments, holds, result and place are those of the bytes, for every batch', () => {
  const holds = fc.constantFrom(HoldKind.PINNED, HoldKind.REFERENCED, HoldKind.BORROWED);
  const limits = fc.oneof(fc.nat(9000), fc.constant(2 ** 31));
  fc.assert(
    fc.property(
      everyCase(),
      limits,
      verdicts,
      holds,
      fc.boolean(),
      fc.constantFrom(...BATCHES, 3, 7),
      (given, bytesMax, script, wish, folioRuns, batch) => {
        using world = new IterWorld(given);
        const { iter } = world;
        const hold = holdOf(iter, wish);
        const isRefused = iter.kind === IterKind.KERNEL && hold === HoldKind.REFERENCED;
        const { fragments, error } = isRefused
          ? { fragments: [], error: world.left > 0 && bytesMax > 0 ? -Errno.EFAULT : 0 }
          : expectedFragments(world, bytesMax, folioRuns);
        const stop = fragments.findIndex((_, i) => {
          const verdict = script[i] ?? Verdict.KEEP;
          return verdict < 0 || verdict >= Verdict.STOP_KEEP;
        });
        const seen = stop < 0 ? fragments : fragments.slice(0, stop + 1);
        const refused = stop >= 0 && (script[stop] as number) < 0;
        const counted = refused ? seen.slice(0, -1) : seen;
        const bytes = counted.reduce((sum, { len }) => sum + len, 0);

        const run: Run = { script, seen: [], kept: [] };
        const options = { hold: wish, folioRuns, batch, signal: null };
        const result = new ForEachPageResult();
        forEachPage(iter, bytesMax, follow, run, options, result);

        assert.deepEqual(run.seen, seen);
        assert.equal(result.bytes, bytes);
        assert.equal(result.error, refused ? EAGAIN : stop >= 0 ? 0 : error);
        assert.equal(world.place, world.start + bytes);
        assert.equal(scratchRowsUsed(), 0);
        const kept = hold === HoldKind.BORROWED ? [] : pagesOf(run.kept);
        const { pins, refs } = world.holds();
        const counts = world.holdsOf(kept);
        assert.deepEqual(pins, hold === HoldKind.PINNED ? counts : world.holdsOf([]));
        assert.deepEqual(refs, hold === HoldKind.REFERENCED ? counts : world.holdsOf([]));
        for (const page of kept) releaseHold(hold, page, 1);
      },
    ),
    { numRuns: RUNS.numRuns * 3 },
  );
});

const arena = new Arena({ maxBytes: 16 * 2 ** 20, label: 'for each page' });
const drop = (): number => Verdict.DROP;

/** A range of `present` pages with an absent one behind them. */
function faultyRange(present: number): { iter: IovIter; pages: number[] } {
  const space = new MappedSpace();
  const pages = Array.from({ length: present }, (_, i) => {
    const page = arena.getFolio(0);
    space.map(0x10000 + i * PAGE_BYTES, page);
    return page;
  });
  const iter = new IovIter();
  iter.initUserRange(IterDirection.DEST, space, 0x10000, (present + 3) * PAGE_BYTES);
  return { iter, pages };
}

function putAll(pages: readonly number[]): void {
  for (const page of pages) arena.putFolio(page);
  arena.assertNothingOutstanding();
}

test('a fault after progress shows both halves; shortResult hides the error', () => {
  const { iter, pages } = faultyRange(3);
  const result = new ForEachPageResult();
  forEachPage(iter, 2 ** 31, drop, null, EACH_PAGE_PINNED, result);
  assert.deepEqual([result.bytes, result.error], [3 * PAGE_BYTES, -Errno.EFAULT]);
  assert.equal(shortResult(result), 3 * PAGE_BYTES);
  forEachPage(iter, 2 ** 31, drop, null, EACH_PAGE_PINNED, result);
  assert.deepEqual([result.bytes, result.error], [0, -Errno.EFAULT]);
  assert.equal(shortResult(result), -Errno.EFAULT);
  forEachPage(iter, 0, drop, null, EACH_PAGE_PINNED, result);
  assert.deepEqual([result.bytes, result.error], [0, 0], 'the old error is gone');
  putAll(pages);
});

test('bytes that stay before the fault meet no error', () => {
  const { iter, pages } = faultyRange(3);
  const result = new ForEachPageResult();
  forEachPage(iter, 3 * PAGE_BYTES, drop, null, EACH_PAGE_PINNED, result);
  assert.deepEqual([result.bytes, result.error], [3 * PAGE_BYTES, 0]);
  forEachPage(iter, 0, drop, null, EACH_PAGE_PINNED, result);
  assert.deepEqual([result.bytes, result.error], [0, 0]);
  putAll(pages);
});

test('H7: what a walk took for its batch is given back when gathering fails', () => {
  // Upstream lost the page array of every extraction that failed.
  const { iter, pages } = faultyRange(0);
  const result = new ForEachPageResult();
  for (let i = 0; i < 5000; i++) {
    forEachPage(iter, 2 ** 31, drop, null, EACH_PAGE_PINNED, result);
    assert.equal(result.error, -Errno.EFAULT);
    assert.equal(scratchRowsUsed(), 0);
  }
  putAll(pages);
});

test('memory that its owner released: what lies before it is seen, then -EFAULT', () => {
  for (const hold of [HoldKind.PINNED, HoldKind.REFERENCED] as const) {
    for (const folioRuns of [false, true]) {
      const live = arena.alloc(2 * PAGE_BYTES);
      const gone = arena.alloc(PAGE_BYTES);
      const iovec = new Iovec(2);
      iovec.importViews([live.bytes.subarray(100), gone.bytes]);
      const iter = new IovIter();
      iter.initBytes(IterDirection.DEST, iovec);
      gone.release();
      const seen: number[] = [];
      const note = (_page: number, _offset: number, len: number): number => {
        seen.push(len);
        return Verdict.DROP;
      };
      const options = { ...EACH_PAGE_PINNED, hold, folioRuns };
      const result = new ForEachPageResult();
      forEachPage(iter, 2 ** 31, note, null, options, result);
      const before = 2 * PAGE_BYTES - 100;
      assert.deepEqual(seen, folioRuns ? [before] : [PAGE_BYTES - 100, PAGE_BYTES]);
      assert.deepEqual([result.bytes, result.error], [before, -Errno.EFAULT]);
      assert.deepEqual([iter.count, pinCount(live.page)], [PAGE_BYTES, 0]);
      live.release();
      arena.assertNothingOutstanding();
    }
  }
});

test('an error of the callback in the middle of a batch lets the rest of the batch go', () => {
  const { iter, pages } = faultyRange(8);
  const result = new ForEachPageResult();
  const atThird = (_page: number, _offset: number, _len: number, calls: { n: number }): number =>
    ++calls.n === 3 ? -Errno.ENOSPC : Verdict.KEEP;
  forEachPage(iter, 2 ** 31, atThird, { n: 0 }, EACH_PAGE_PINNED, result);
  assert.deepEqual([result.bytes, result.error], [2 * PAGE_BYTES, -Errno.ENOSPC]);
  assert.deepEqual(pages.map(pinCount), [1, 1, 0, 0, 0, 0, 0, 0]);
  assert.equal(iter.offset, 2 * PAGE_BYTES);
  for (const page of pages.slice(0, 2)) releaseHold(HoldKind.PINNED, page, 1);
  putAll(pages);
});

test('a callback that throws leaks nothing', () => {
  const { iter, pages } = faultyRange(8);
  const result = new ForEachPageResult();
  const bad = (_page: number, _offset: number, _len: number, calls: { n: number }): number => {
    if (++calls.n === 3) throw new Error('mine');
    return Verdict.DROP;
  };
  assert.throws(() => forEachPage(iter, 2 ** 31, bad, { n: 0 }, EACH_PAGE_PINNED, result), /mine/);
  assert.equal(result.bytes, 2 * PAGE_BYTES);
  assert.equal(iter.offset, 2 * PAGE_BYTES);
  assert.throws(
    () => forEachPage(iter, 2 ** 31, () => 4, null, EACH_PAGE_PINNED, result),
    /no such verdict/,
  );
  assert.equal(scratchRowsUsed(), 0);
  putAll(pages);
});

test('a callback may walk another iterator, 22 deep; batches shrink and nobody sees it', () => {
  const { iter: first, pages } = faultyRange(5);
  const iters = Array.from({ length: 22 }, () => new IovIter());
  // Every second one starts a page later, so that rows of two walks are never the same.
  for (const [depth, iter] of iters.entries()) {
    iter.assign(first);
    iter.advance((depth % 2) * PAGE_BYTES);
  }
  const result = iters.map(() => new ForEachPageResult());
  const options: ForEachPageOptions = { ...EACH_PAGE_PINNED, batch: 256 };
  const seen: number[] = [];
  const walk = (page: number, _offset: number, _len: number, depth: number): number => {
    if (page !== pages[2]) return Verdict.DROP;
    seen.push(scratchRowsUsed());
    const next = depth + 1;
    const [iter, answer] = [iters[next], result[next]];
    if (iter !== undefined && answer !== undefined) {
      forEachPage(iter, 2 ** 31, walk, next, options, answer);
    }
    return Verdict.DROP;
  };
  forEachPage(iters[0] as IovIter, 2 ** 31, walk, 0, options, result[0] as ForEachPageResult);
  assert.equal(seen.length, iters.length);
  assert.equal(seen[0], 256);
  assert.deepEqual(
    result.map(({ bytes, error }) => [bytes, error]),
    iters.map((_, depth) => [(5 - (depth % 2)) * PAGE_BYTES, -Errno.EFAULT]),
  );
  assert.equal(scratchRowsUsed(), 0);
  putAll(pages);
});

test('a signal between batches ends the walk like a fault, with EINTR', () => {
  const { iter, pages } = faultyRange(5);
  const signal = { aborted: false };
  const result = new ForEachPageResult();
  const options = { ...EACH_PAGE_PINNED, batch: 2, signal };
  const abort = (): number => {
    signal.aborted = true;
    return Verdict.DROP;
  };
  forEachPage(iter, 2 ** 31, abort, null, options, result);
  assert.deepEqual([result.bytes, result.error], [2 * PAGE_BYTES, -Errno.EINTR]);
  forEachPage(iter, 2 ** 31, abort, null, options, result);
  assert.deepEqual([result.bytes, result.error], [0, -Errno.EINTR]);
  putAll(pages);
});

test('batches outside 1..256 are a bug', () => {
  const iter = new IovIter();
  iter.initDiscard(1);
  for (const batch of [0, 257]) {
    const options = { ...EACH_PAGE_PINNED, batch };
    const walk = (): unknown => forEachPage(iter, 1, drop, null, options, new ForEachPageResult());
    assert.throws(walk, /batch/);
  }
});
