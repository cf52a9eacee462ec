import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Arena } from '../../memory/arena.ts';
import { copyIn, copyOut } from '../../memory/copy.ts';
import { OpenFileReserve, RESERVE_BYTES } from './open-file-reserve.ts';
import type { FolioSource } from './passthrough-context.ts';
import { RequestMemory } from './request-memory.ts';

/** An arena that says what was asked of it, and has no folio above `orderMost`. */
class Folios implements FolioSource, Disposable {
  readonly arena = new Arena({ maxBytes: 256 * PAGE_BYTES, label: 'file reserve', places: false });
  readonly asked: number[] = [];
  orderMost = 10;
  left = Number.POSITIVE_INFINITY;

  getFolio(order: number): number {
    this.asked.push(order);
    if (order > this.orderMost || this.left === 0) return -1;
    this.left--;
    return this.arena.getFolio(order);
  }

  putFolio(page: number): void {
    this.left++;
    this.arena.putFolio(page);
  }

  [Symbol.dispose](): void {
    this.arena.assertNothingOutstanding();
    this.arena[Symbol.dispose]();
  }
}

function memoryOf(answer: RequestMemory | number): RequestMemory {
  assert.ok(typeof answer !== 'number');
  return answer;
}

describe('pages of a driver', () => {
  test('page i is pages[i div 2^order] + i mod 2^order, and none behind the folios in use', () => {
    const memory = new RequestMemory(Uint32Array.of(100, 40, 7), 1, 2);
    assert.equal(memory.bytes, 4 * PAGE_BYTES);
    assert.deepEqual(
      [0, 1, 2, 3, 4, 5].map((i) => memory.pageAt(i)),
      [100, 101, 40, 41, -1, -1],
    );
    assert.deepEqual([memory.offset, memory.isNullMapped, memory.isFromUser], [0, false, false]);
    assert.equal(new RequestMemory(Uint32Array.of(5), 0).entries, 1);
    assert.throws(() => new RequestMemory(Uint32Array.of(5), 0, 2), /more folios/);
  });
});

describe('the reserve of an open file', () => {
  test('serves one command that fits it, from its start', () => {
    using folios = new Folios();
    using file = new OpenFileReserve(folios, RESERVE_BYTES, 4);
    assert.deepEqual([file.bytes, folios.asked, file.isTaken], [32768, [3], false]);
    const memory = memoryOf(file.take(32768, false));
    memory.offset = 5;
    memory.isNullMapped = true;
    memory.isFromUser = true;
    assert.ok(file.isTaken);
    file.giveBack(memory);
    assert.ok(!file.isTaken);
    assert.throws(() => file.giveBack(memory), /given back twice/);
    const again = memoryOf(file.take(1, true));
    assert.equal(again, memory);
    assert.deepEqual([again.offset, again.isNullMapped, again.isFromUser], [0, false, false]);
    file.giveBack(again);
    assert.equal(folios.asked.length, 1);
  });

  test('busy or too small: pages of the command; who sees the reserve is refused', () => {
    using folios = new Folios();
    using file = new OpenFileReserve(folios, RESERVE_BYTES, 4);
    assert.equal(file.take(32769, true), -Errno.ENOMEM, 'too big, though it is free');
    const larger = memoryOf(file.take(32769, false));
    assert.deepEqual([larger.bytes, larger.entries, file.isTaken], [65536, 2, false]);
    const reserve = memoryOf(file.take(4096, false));
    assert.equal(file.take(4096, true), -Errno.EBUSY);
    assert.equal(file.take(32768, true), -Errno.EBUSY, 'as large as the reserve is not too big');
    assert.equal(file.take(32769, true), -Errno.ENOMEM);
    const second = memoryOf(file.take(4096, false));
    assert.notEqual(second, reserve);
    assert.throws(() => file[Symbol.dispose](), /commands under way/);
    for (const memory of [larger, second]) file.giveBack(memory);
    assert.throws(() => file[Symbol.dispose](), /commands under way/);
    file.giveBack(reserve);
    assert.throws(() => file.giveBack(second), /somebody else/);
  });

  test('folios of one order for all: of 32 KiB, else of less, as many as one may have', () => {
    using folios = new Folios();
    folios.orderMost = 1;
    using file = new OpenFileReserve(folios, 20480, 3);
    assert.deepEqual([folios.asked, file.bytes], [[3, 2, 1, 1, 1], 24576]);
    // 24,577 bytes are 49 sectors, so 4 folios of 8 KiB: one too many.
    assert.equal(file.take(24577, false), -Errno.ENOMEM);
    assert.deepEqual(folios.asked.slice(5), [3, 2]);
    const memory = memoryOf(file.take(24576, false));
    assert.deepEqual([memory.order, memory.entries], [1, 3]);
    file.giveBack(memory);
  });

  test('what was got before memory ran out goes back', () => {
    using folios = new Folios();
    folios.left = 2;
    using file = new OpenFileReserve(folios, 5 * RESERVE_BYTES, 64);
    assert.equal(file.bytes, 0, 'no reserve, and the file is open all the same');
    assert.equal(folios.left, 2);
    // Two of each order, and no third.
    assert.deepEqual(folios.asked.slice(0, 6), [3, 3, 3, 2, 2, 2]);
    assert.equal(file.take(1, true), -Errno.ENOMEM);
    const memory = memoryOf(file.take(1, false));
    assert.deepEqual([memory.bytes, folios.left], [32768, 1]);
    file.giveBack(memory);
  });

  test('no bytes are a sector; lengths are whole sectors; pages hold nothing of others', () => {
    using folios = new Folios();
    folios.orderMost = 0;
    const soiled = Array.from({ length: 256 }, () => folios.arena.getFolio(0));
    for (const page of soiled) copyIn(page, 0, new Uint8Array(PAGE_BYTES).fill(7), 0, PAGE_BYTES);
    for (const page of soiled) folios.arena.putFolio(page);
    using empty = new OpenFileReserve(folios, 0, 1);
    assert.equal(empty.bytes, PAGE_BYTES);
    using exact = new OpenFileReserve(folios, 2 * PAGE_BYTES, 2);
    assert.equal(exact.bytes, 2 * PAGE_BYTES);
    using over = new OpenFileReserve(folios, 2 * PAGE_BYTES + 1, 2);
    assert.equal(over.bytes, 0);
    folios.orderMost = 3;
    const large = memoryOf(exact.take(2 * RESERVE_BYTES, false));
    for (const memory of [large, memoryOf(exact.take(1, false))]) {
      for (let i = 0; i < memory.bytes / PAGE_BYTES; i++) {
        const page = new Uint8Array(PAGE_BYTES).fill(1);
        copyOut(page, 0, memory.pageAt(i), 0, PAGE_BYTES);
        assert.ok(page.every((byte) => byte === 0));
      }
      exact.giveBack(memory);
    }
  });
});
