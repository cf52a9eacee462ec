import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../base/errno.ts';
import { RUNS } from '../base/runs.fuzz.ts';
import { MIB, PAGE_BYTES } from '../base/units.ts';
import { Access, ARENA_SPACE, holdUserPages, MappedSpace, UserHold } from './address-space.ts';
import { Arena } from './arena.ts';
import { pinCount, putPages, refCount, unpinPages } from './holds.ts';

const UNTOUCHED = 0xffff_ffff;

test('4, 6: a table of pages: held up to the first that cannot be, in any batches', () => {
  using arena = new Arena({ maxBytes: MIB });
  const folio = arena.getFolio(4);
  // Entry: which of the 16 frames, or nothing; some read-only. The range crosses two leaves.
  const entry = fc.record({ frame: fc.option(fc.nat(15)), readOnly: fc.boolean() });
  const first = 512 * 7 - 10;
  fc.assert(
    fc.property(
      fc.array(entry, { minLength: 20, maxLength: 20 }),
      fc.nat(19),
      fc.integer({ min: 1, max: 24 }),
      fc.constantFrom(Access.READ, Access.WRITE),
      fc.constantFrom(UserHold.PIN, UserHold.GET),
      fc.integer({ min: 1, max: 24 }),
      (entries, at, count, access, hold, batch) => {
        const space = new MappedSpace();
        entries.forEach(({ frame, readOnly }, i) => {
          if (frame === null) return;
          space.map((first + i) * PAGE_BYTES, folio + frame, { readOnly });
        });
        const expected: number[] = [];
        for (let i = at; i < Math.min(at + count, 20); i++) {
          const { frame, readOnly } = entries[i] as { frame: number | null; readOnly: boolean };
          if (frame === null || (access === Access.WRITE && readOnly)) break;
          expected.push(folio + frame);
        }
        const out = new Uint32Array(count).fill(UNTOUCHED);
        let done = 0;
        let answer = 1;
        while (done < count && answer > 0) {
          // An address anywhere in the page means the page.
          const addr = (first + at + done) * PAGE_BYTES + 17;
          answer = holdUserPages(
            space,
            addr,
            Math.min(batch, count - done),
            access,
            hold,
            out,
            done,
          );
          assert.notEqual(answer, 0);
          if (answer > 0) done += answer;
        }
        assert.equal(done, expected.length);
        if (answer < 0) assert.equal(answer, -Errno.EFAULT);
        assert.deepEqual([...out.subarray(0, done)], expected);
        assert.ok(out.subarray(done).every((page) => page === UNTOUCHED));
        const held = hold === UserHold.PIN ? pinCount(folio) : refCount(folio) - 1;
        assert.equal(held, done);
        for (const page of expected) (hold === UserHold.PIN ? unpinPages : putPages)(page, 1);
      },
    ),
    RUNS,
  );
  arena.putFolio(folio);
  arena.assertNothingOutstanding();
});

test('a table that leads to memory which was given back: held up to there', () => {
  using arena = new Arena({ maxBytes: 16 * PAGE_BYTES });
  const pages = [0, 1, 2, 3].map(() => arena.getFolio(0));
  const space = new MappedSpace();
  for (const [i, page] of pages.entries()) space.map((i + 1) * PAGE_BYTES, page);
  arena.putFolio(pages[2] as number);
  const out = new Uint32Array(4);
  for (const [from, expected] of [
    [1, 2],
    [3, -Errno.EFAULT],
    [4, 1],
  ] as const) {
    const got = space.holdPages(from * PAGE_BYTES, 5 - from, Access.WRITE, UserHold.PIN, out, 0);
    assert.equal(got, expected);
    for (let i = 0; i < got; i++) unpinPages(out[i] as number, 1);
  }
  for (const at of [0, 1, 3]) arena.putFolio(pages[at] as number);
  arena.assertNothingOutstanding();
});

test('memory of the program: its own addresses, held as far as it is alive', () => {
  using arena = new Arena({ maxBytes: 16 * PAGE_BYTES });
  const folio = arena.getFolio(2);
  const out = new Uint32Array(8);
  const addr = folio * PAGE_BYTES;
  assert.equal(ARENA_SPACE.pageAt(addr + PAGE_BYTES, Access.WRITE), folio + 1);
  assert.equal(ARENA_SPACE.holdPages(addr + 5, 8, Access.WRITE, UserHold.PIN, out, 0), 4);
  assert.deepEqual([...out], [folio, folio + 1, folio + 2, folio + 3, 0, 0, 0, 0]);
  assert.equal(pinCount(folio), 4);
  unpinPages(folio, 4);
  const dead = addr + 8 * PAGE_BYTES;
  assert.equal(ARENA_SPACE.holdPages(dead, 1, Access.READ, UserHold.GET, out, 0), -Errno.EFAULT);
  assert.equal(ARENA_SPACE.holdPages(2 ** 46, 1, Access.READ, UserHold.GET, out, 0), -Errno.EFAULT);
  assert.equal(ARENA_SPACE.holdPages(addr, 0, Access.READ, UserHold.GET, out, 0), 0);
  assert.throws(() => ARENA_SPACE.whenReady(() => undefined), /never waits/);
  assert.throws(() => new MappedSpace().whenReady(), /never waits/);
  arena.putFolio(folio);
  arena.assertNothingOutstanding();
});
