import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { Errno } from '../base/errno.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { Access, MappedSpace, UserHold } from './address-space.ts';
import { Arena } from './arena.ts';
import { pinCount, putPages, refCount, unpinPages } from './holds.ts';

const arena = new Arena({ maxBytes: 2 ** 20, label: 'mapped space', places: false });
const pages = Array.from({ length: 12 }, () => arena.getFolio(0));
after(() => {
  for (const page of pages) arena.putFolio(page);
  arena.assertNothingOutstanding();
});

/** Entries of a leaf of the page table. */
const LEAF = 512;
const EFAULT = -Errno.EFAULT;
const { READ, WRITE } = Access;
const { PIN, GET } = UserHold;

function addrOf(vpn: number): number {
  return vpn * PAGE_BYTES;
}

describe('pages at any address', () => {
  test('one by one: there, read-only, gone, never there', () => {
    const space = new MappedSpace();
    space.map(addrOf(3), pages[0] as number);
    space.map(addrOf(4), pages[1] as number, { readOnly: true });
    const at = (vpn: number): number[] =>
      [READ, WRITE].map((a) => space.pageAt(addrOf(vpn) + 9, a));
    assert.deepEqual(at(3), [pages[0], pages[0]]);
    assert.deepEqual(at(4), [pages[1], EFAULT]);
    assert.deepEqual(at(5), [EFAULT, EFAULT], 'in a leaf that is there');
    assert.deepEqual(at(3 + LEAF), [EFAULT, EFAULT], 'in none');
    space.unmap(addrOf(3));
    assert.deepEqual(at(3), [EFAULT, EFAULT]);
    space.map(addrOf(4), pages[2] as number);
    assert.deepEqual(at(4), [pages[2], pages[2]]);
  });

  test('many at once, over leaves, neighbours or not, up to what is not there', () => {
    const space = new MappedSpace();
    const first = LEAF - 4;
    // Neighbours, then a jump back, then two from behind: in two leaves.
    const order = [0, 1, 2, 7, 6, 3, 4, 5, 11].map((i) => pages[i] as number);
    order.forEach((page, i) => void space.map(addrOf(first + i), page));
    for (const [from, count, got] of [
      [0, 9, 9],
      [0, 4, 4],
      [2, 5, 5],
      [0, 20, 9],
      [4, 2, 2],
      [8, 3, 1],
      [9, 1, EFAULT],
      [600, 1, EFAULT],
      [3, 0, 0],
    ] as const) {
      for (const [hold, count1] of [
        [PIN, pinCount],
        [GET, refCount],
      ] as const) {
        const before = order.map((page) => count1(page));
        const out = new Uint32Array(30).fill(77);
        const answer = space.holdPages(addrOf(first + from), count, WRITE, hold, out, 5);
        assert.equal(answer, got, `${count} from ${from}`);
        const held = order.slice(from, from + Math.max(got, 0));
        assert.deepEqual([...out.subarray(5, 5 + held.length)], held);
        assert.equal(out[4], 77);
        const grown = order.map((page, i) => count1(page) - (before[i] as number));
        assert.deepEqual(
          grown.map((n) => n > 0),
          order.map((_, i) => i >= from && i < from + Math.max(got, 0)),
        );
        for (const page of held) (hold === PIN ? unpinPages : putPages)(page, 1);
      }
    }
  });

  test('a page that may not be written ends what is held for writing', () => {
    const space = new MappedSpace();
    for (const [vpn, readOnly] of [
      [8, false],
      [9, true],
      [10, false],
    ] as const) {
      space.map(addrOf(vpn), pages[vpn - 8] as number, { readOnly });
    }
    const out = new Uint32Array(4);
    assert.equal(space.holdPages(addrOf(8), 3, READ, PIN, out, 0), 3);
    for (const page of out.subarray(0, 3)) unpinPages(page, 1);
    assert.equal(space.holdPages(addrOf(8), 3, WRITE, PIN, out, 0), 1);
    unpinPages(pages[0] as number, 1);
    assert.equal(space.holdPages(addrOf(9), 2, WRITE, PIN, out, 0), EFAULT);
  });

  test('a page that its owner gave back ends the run before it', () => {
    const space = new MappedSpace();
    const folio = arena.getFolio(1);
    space.map(addrOf(0), pages[0] as number);
    space.map(addrOf(1), folio);
    space.map(addrOf(2), folio + 1);
    arena.putFolio(folio);
    const out = new Uint32Array(4);
    assert.equal(space.holdPages(0, 3, READ, PIN, out, 0), 1);
    assert.equal(pinCount(pages[0] as number), 1);
    unpinPages(pages[0] as number, 1);
    assert.equal(space.holdPages(addrOf(1), 2, READ, PIN, out, 0), EFAULT);
  });
});
