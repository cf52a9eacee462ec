import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../../src/base/errno.ts';
import { RUNS } from '../../src/base/runs.fuzz.ts';
import { PAGE_BYTES } from '../../src/base/units.ts';
import { BioOp } from '../../src/bio/bio-op.ts';
import { IovIter, IterDirection } from '../../src/iter/iov-iter.ts';
import { maybePinned } from '../../src/memory/holds.ts';
import { randomOf } from './path-rig.ts';
import { BASE, bytesOf, fillFrame, UserRig } from './user-rig.ts';

// A page of the program that must be waited for: the transfer steps aside, with nothing in hand.

const { READ, WRITE } = BioOp;
const POLICIES = ['auto', 'always'] as const;

describe('a transfer that waits for a page', () => {
  for (const copy of POLICIES) {
    test(`copy '${copy}': what is before goes on, the rest follows, all counts`, async () => {
      for (const op of [READ, WRITE]) {
        await using rig = new UserRig(4);
        for (let i = 0; i < 4; i++) fillFrame(rig.frameAt(i), 0x60 + i);
        rig.makeWait(2);
        const ending = rig.start(op, 4096, 0, 4 * PAGE_BYTES, { copy });
        await rig.settle();
        assert.deepEqual(
          rig.engine.log.map(({ at, bytes }) => [at, bytes]),
          [[4096, 2 * PAGE_BYTES]],
        );
        assert.ok(!maybePinned(rig.frameAt(3)));
        await rig.finish();
        assert.equal(ending.result, null);
        assert.equal(rig.device.counters.faultWaits, 1);
        assert.deepEqual([rig.device.bios.busyCount, rig.device.counters.bouncePages], [0, 0]);
        assert.equal(rig.arena.stats().pinnedPages, 0);
        rig.space.ready();
        await rig.finish();
        assert.equal(ending.result, 4 * PAGE_BYTES);
        const memory = [0, 1, 2, 3].flatMap((i) => [...bytesOf(rig.frameAt(i))]);
        assert.deepEqual([...rig.medium(4096, 4096 + 4 * PAGE_BYTES)], memory);
      }
    });

    test(`copy '${copy}': it blocks nobody, whoever waits for room too`, async () => {
      await using rig = new UserRig(6, { bios: 0, random: randomOf(4) });
      rig.makeWait(0);
      const parked = [0, 1, 2, 3].map(() => rig.start(READ, 0, 0, PAGE_BYTES, { copy }));
      const others = Array.from({ length: 20 }, (_, i) => {
        return rig.start(READ, 0, (1 + (i % 5)) * PAGE_BYTES, PAGE_BYTES, { copy });
      });
      await rig.finish();
      assert.ok(others.every(({ result }) => result === PAGE_BYTES));
      assert.ok(parked.every(({ result }) => result === null));
      rig.space.ready();
      await rig.finish();
      assert.ok(parked.every(({ result }) => result === PAGE_BYTES));
    });

    test(`copy '${copy}': an abort ends it; a wake that comes late is harmless`, async () => {
      await using rig = new UserRig(3);
      rig.makeWait(1);
      const ending = rig.start(READ, 0, 0, 2 * PAGE_BYTES, { copy });
      await rig.settle();
      assert.ok(ending.transfer !== null);
      rig.device.cancel(ending.transfer);
      await rig.settle();
      assert.equal(ending.result, null, 'the first page is still in flight');
      await rig.finish();
      assert.equal(ending.result, -Errno.ECANCELED);
      // The same object, taken again and parked again, hears of the first wait as well.
      const again = rig.start(READ, 0, PAGE_BYTES, PAGE_BYTES, { copy });
      assert.equal(again.transfer, ending.transfer);
      assert.equal(rig.space.waiters, 2);
      rig.space.wakeAll();
      await rig.finish();
      assert.equal(again.result, null);
      assert.equal(rig.space.waiters, 1, 'it asked again, and waits again');
      rig.space.ready();
      await rig.finish();
      assert.equal(again.result, PAGE_BYTES);
    });

    test(`copy '${copy}': an abort before anything went out ends it at once`, async () => {
      await using rig = new UserRig(1);
      rig.makeWait(0);
      const ending = rig.start(WRITE, 100, 0, PAGE_BYTES, { copy });
      await rig.settle();
      assert.ok(ending.transfer !== null && ending.result === null);
      rig.device.cancel(ending.transfer);
      await rig.settle();
      assert.equal(ending.result, -Errno.ECANCELED);
      assert.equal(rig.engine.log.length, 0);
      rig.space.wakeAll();
      await rig.settle();
    });

    test(`copy '${copy}': an I/O error of what went out ends it without the page`, async () => {
      const fate = () => ({ status: -Errno.EIO, bytes: 0 });
      await using rig = new UserRig(2, { fate });
      rig.makeWait(1);
      const ending = rig.start(READ, 0, 0, 2 * PAGE_BYTES, { copy });
      await rig.finish();
      assert.equal(ending.result, -Errno.EIO);
    });

    test(`copy '${copy}': the page turns out to be gone: the count, then EFAULT`, async () => {
      await using rig = new UserRig(2, { random: randomOf(7) });
      rig.makeWait(1);
      const ending = rig.start(READ, 0, 0, 2 * PAGE_BYTES, { copy });
      const whole = rig.start(READ, 0, PAGE_BYTES, PAGE_BYTES, { copy });
      await rig.finish();
      rig.space.unmap(BASE + PAGE_BYTES);
      rig.space.wakeAll();
      await rig.finish();
      assert.deepEqual([ending.result, whole.result], [PAGE_BYTES, -Errno.EFAULT]);
    });

    test(`copy '${copy}': noWait does not wait`, async () => {
      await using rig = new UserRig(2, { random: randomOf(7) });
      rig.makeWait(1);
      const some = rig.start(READ, 0, 0, 2 * PAGE_BYTES, { copy, noWait: true });
      const none = rig.start(READ, 0, PAGE_BYTES, PAGE_BYTES, { copy, noWait: true });
      await rig.finish();
      assert.deepEqual([some.result, none.result], [PAGE_BYTES, -Errno.EAGAIN]);
      assert.equal(rig.space.waiters, 0);
    });
  }

  test('a write of parts of blocks gives its range to others while it waits', async () => {
    // Confirmed: without `leaving`, the second write waits for ever.
    await using rig = new UserRig(3);
    for (let i = 0; i < 3; i++) fillFrame(rig.frameAt(i), 0x70 + i);
    rig.makeWait(1);
    const parked = rig.start(WRITE, 100, PAGE_BYTES - 1, 1000);
    await rig.finish();
    assert.equal(parked.result, null);
    assert.equal(rig.engine.log.length, 0, 'a part of a block goes out whole');
    const other = rig.start(WRITE, 130, 0, 2000);
    await rig.finish();
    assert.equal(other.result, 2000);
    rig.space.ready();
    await rig.finish();
    assert.equal(parked.result, 1000);
    assert.equal(rig.medium(100, 101)[0], 0x70);
    assert.ok(
      rig.medium(101, 1100).every((byte) => byte === 0x71),
      'the later write is on top',
    );
    assert.ok(rig.medium(1100, 2130).every((byte) => byte === 0x70));
  });

  test('a part of a block whose memory comes in two steps is one write of the block', async () => {
    // Two would both read the block before either had written it.
    for (const [position, bytes] of [
      [100, 50],
      [512, 600],
    ] as const) {
      await using rig = new UserRig(2);
      const before = rig.medium(0, 2048);
      fillFrame(rig.frameAt(0), 0x51);
      fillFrame(rig.frameAt(1), 0x52);
      rig.makeWait(1);
      const first = position === 100 ? 1 : 530; // Bytes that lie in the first page.
      const ending = rig.start(WRITE, position, PAGE_BYTES - first, bytes);
      await rig.settle();
      rig.space.ready(); // What went out before is still in flight.
      await rig.finish();
      assert.equal(ending.result, bytes);
      before.fill(0x51, position, position + first);
      before.fill(0x52, position + first, position + bytes);
      assert.deepEqual(rig.medium(0, 2048), before);
    }
  });

  test('woken and aborted at once, it does not queue for its range', async () => {
    await using rig = new UserRig(2);
    rig.makeWait(1);
    const parked = rig.start(WRITE, 100, PAGE_BYTES, 10);
    await rig.settle();
    const other = rig.start(WRITE, 90, 0, 10);
    await rig.settle();
    assert.equal(rig.engine.holds, 1);
    rig.space.wakeAll();
    assert.ok(parked.transfer !== null);
    rig.device.cancel(parked.transfer);
    await rig.finish();
    assert.deepEqual([parked.result, other.result], [-Errno.ECANCELED, 10]);
  });

  test('thousands of partial writes in one range wait in turn, without a stack', async () => {
    await using rig = new UserRig(1, { bios: 0, depth: 1 });
    rig.makeWait(0);
    const all = Array.from({ length: 3000 }, () => rig.start(WRITE, 5, 0, 10));
    await rig.settle();
    for (let i = 0; i < 3000 && rig.device.counters.faultWaits < 3000; i++) await rig.settle();
    assert.equal(rig.device.counters.faultWaits, 3000);
    rig.space.ready();
    await rig.finish();
    assert.ok(all.every(({ result }) => result === 10));
  });
});

describe('a fault that needs the very device', () => {
  /** Page 1 comes from byte 8192 of the medium, read when it is first asked for. */
  function pageFromDevice(rig: UserRig): { reads: number } {
    const seen = { reads: 0 };
    const frame = rig.frameAt(1);
    const view = new Uint8Array(PAGE_BYTES);
    const { region } = rig.arena;
    rig.makeWait(1);
    rig.space.onFault = (addr) => {
      if (addr !== BASE + PAGE_BYTES || seen.reads > 0) return;
      seen.reads++;
      const iter = new IovIter();
      const at = (frame - region.firstPage) * PAGE_BYTES;
      assert.equal(view.length, PAGE_BYTES);
      iter.initView(IterDirection.DEST, new Uint8Array(region.u8.buffer, at, PAGE_BYTES));
      rig.device.transfer(READ, 8192, iter, PAGE_BYTES, {}, (_, result) => {
        assert.equal(result, PAGE_BYTES);
        rig.space.ready();
      });
    };
    return seen;
  }

  for (const copy of POLICIES) {
    for (const [op, position] of [
      [READ, 0],
      [WRITE, 0],
      [READ, 5],
      [WRITE, 8192 + 5],
    ] as const) {
      const name = `${op === READ ? 'read' : 'write'} at ${position}, copy '${copy}'`;
      test(`${name}: no pool is held`, async () => {
        // Confirmed: without the turn of `leaving` nobody starts the read that found no bio.
        const pools = { bios: 0, splits: 0, depth: 1, arenaBytes: 256 * 1024 };
        await using rig = new UserRig(2, { ...pools, random: randomOf(3) });
        fillFrame(rig.frameAt(0), 0x31);
        const page = rig.medium(8192, 8192 + PAGE_BYTES);
        const seen = pageFromDevice(rig);
        const taken: number[] = [];
        for (let one = rig.arena.getFolio(0); one >= 0; one = rig.arena.getFolio(0)) {
          taken.push(one); // Own pages come from the reserve alone.
        }
        // All bios but one are out, and come back only with the page.
        const busy = [rig.device.bios.acquire(READ, 0, 0)];
        const ending = rig.start(op, position, PAGE_BYTES, PAGE_BYTES, { copy });
        for (let i = 0; i < 50 && ending.result === null; i++) await rig.finish();
        assert.deepEqual([seen.reads, ending.result], [1, PAGE_BYTES]);
        if (op === WRITE) assert.deepEqual(rig.medium(position, position + PAGE_BYTES), page);
        for (const bio of busy) if (bio !== null) rig.device.bios.release(bio);
        for (const one of taken) rig.arena.putFolio(one);
      });
    }
  }
});

test('any waits and faults: the prefix that could be had, and nothing left', async () => {
  const pageArb = fc.constantFrom('there', 'there', 'there', 'wait', 'wait', 'absent');
  const callArb = fc.record({
    op: fc.constantFrom(READ, WRITE),
    page: fc.nat(5),
    offset: fc.constantFrom(0, 0, 512, 100),
    bytes: fc.constantFrom(512, 4096, 8192, 700, 5000),
    copy: fc.constantFrom(...POLICIES),
    unit: fc.constantFrom(0, 0, 37),
  });
  const property = fc.asyncProperty(
    fc.array(pageArb, { minLength: 8, maxLength: 8 }),
    fc.array(callArb, { minLength: 1, maxLength: 8 }),
    fc.constantFrom(0, 1, 4),
    fc.nat(1000),
    async (pages, calls, bios, seed) => {
      await using rig = new UserRig(8, {
        bios,
        splits: bios,
        sizeBytes: 8 * 16384,
        random: randomOf(seed),
        limits: { max_hw_sectors: 8 },
      });
      for (const [i, state] of pages.entries()) {
        fillFrame(rig.frameAt(i), 0x80 + i);
        if (state === 'absent') rig.space.unmap(BASE + i * PAGE_BYTES);
        if (state === 'wait') rig.makeWait(i);
      }
      const endings = calls.map(({ op, page, offset, bytes, copy, unit }, i) => {
        return rig.start(op, i * 16384 + unit, page * PAGE_BYTES + offset, bytes, { copy });
      });
      await rig.finish();
      rig.space.ready();
      await rig.finish();
      for (const [i, { page, offset, bytes, unit }] of calls.entries()) {
        const there = reachable(pages, page * PAGE_BYTES + offset, bytes);
        assert.equal(endings[i]?.result, expectedCount(there, bytes, unit));
      }
    },
  );
  await fc.assert(property, { numRuns: Math.max(Math.floor(RUNS.numRuns / 10), 50) });
});

/** Bytes from `at` on before a page that never comes. */
function reachable(pages: readonly string[], at: number, bytes: number): number {
  for (let i = 0; i < bytes; i++) {
    if ((pages[Math.floor((at + i) / PAGE_BYTES)] ?? 'absent') === 'absent') return i;
  }
  return bytes;
}

/**
 * A transfer of `bytes` that begins `unit` bytes into a block: the first part to the byte, then
 * whole blocks, then a last part to the byte if it is one of the transfer's own.
 */
function expectedCount(there: number, bytes: number, unit: number): number {
  if (there === bytes) return bytes;
  const head = unit === 0 ? 0 : Math.min(512 - unit, bytes);
  const middleEnd = bytes - ((bytes - head) % 512);
  let count = there;
  if (there > head && there < middleEnd) count = there - ((there - head) % 512);
  return count > 0 ? count : -Errno.EFAULT;
}
