import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { PAGE_BYTES } from '../base/units.ts';
import type { Bio } from '../bio/bio.ts';
import { BioOp } from '../bio/bio-op.ts';
import { BioPool } from '../bio/bio-pool.ts';
import { FaultSpace } from '../iter/fault-space.fuzz.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import { Iovec } from '../iter/iovec.ts';
import { Arena } from '../memory/arena.ts';
import { HoldKind } from '../memory/holds.ts';
import { copyFromRows, copyIntoRows } from './bio-rows.ts';

const arena = new Arena({ maxBytes: 2 ** 20, label: 'bio rows', places: false });
const memory = arena.alloc(4 * PAGE_BYTES);
const pool = new BioPool({ bios: 1, rows: 16 });
after(() => memory.release());

/** Rows of 10, 30 and 20 bytes, of which the second lies before the first. Byte i of them is at: */
const ROWS = [
  [2 * PAGE_BYTES + 100, 10],
  [500, 30],
  [PAGE_BYTES + 7, 20],
] as const;
const places = ROWS.flatMap(([at, len]) => Array.from({ length: len }, (_, i) => at + i));

function bioOfRows(): Bio {
  const bio = pool.acquire(BioOp.READ, 0, 4);
  assert.ok(bio !== null);
  ROWS.forEach(([at, len], i) => {
    const page = memory.page + Math.floor(at / PAGE_BYTES);
    bio.table.set(bio.first + i, page, at % PAGE_BYTES, len, HoldKind.OWNED);
  });
  bio.vcnt = ROWS.length;
  bio.size = 60;
  return bio;
}

test('bytes go between the rows and memory from any byte of them on, and nowhere else', () => {
  const bio = bioOfRows();
  const numbers = Uint8Array.from({ length: 60 }, (_, i) => i + 1);
  for (let skip = 0; skip <= 60; skip += 5) {
    for (let bytes = 0; skip + bytes <= 60; bytes += 5) {
      const iter = new IovIter();
      memory.bytes.fill(0);
      iter.initView(IterDirection.SOURCE, numbers);
      assert.equal(copyIntoRows(bio, skip, iter, bytes), bytes);
      assert.equal(iter.count, 60 - bytes);
      const expected = new Uint8Array(memory.bytes.length);
      for (let i = 0; i < bytes; i++) expected[places[skip + i] as number] = i + 1;
      assert.ok(Buffer.from(memory.bytes).equals(expected), `into, ${skip} + ${bytes}`);

      places.forEach((at, i) => void (memory.bytes[at] = i + 1));
      const out = new Uint8Array(60);
      iter.initView(IterDirection.DEST, out);
      assert.equal(copyFromRows(bio, skip, iter, bytes), bytes);
      const wanted = new Uint8Array(60);
      wanted.set(numbers.subarray(skip, skip + bytes));
      assert.deepEqual(out, wanted, `from, ${skip} + ${bytes}`);
    }
  }
  pool.release(bio);
});

test('a fault ends the copy with the bytes before it', () => {
  const bio = bioOfRows();
  const space = new FaultSpace();
  space.map(0x10000, { frame: memory.page + 3 });
  for (const [copy, direction] of [
    [copyIntoRows, IterDirection.SOURCE],
    [copyFromRows, IterDirection.DEST],
  ] as const) {
    for (const there of [5, 10, 25, 40]) {
      const iovec = new Iovec();
      iovec.importRange(0x11000 - there, 60);
      const iter = new IovIter();
      iter.initUser(direction, space, iovec);
      assert.equal(copy(bio, 0, iter, 60), there);
      assert.equal(iter.count, 60 - there);
    }
  }
  pool.release(bio);
});
