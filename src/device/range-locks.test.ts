import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS as BASE } from '../base/runs.fuzz.ts';
import { type RangeHolder, RangeLocks } from './range-locks.ts';

const RUNS = BASE.numRuns;

class Writer implements RangeHolder {
  readonly lockStart: number;
  readonly lockEnd: number;
  readonly isExclusive: boolean;
  readonly order: number;
  holds = false;

  constructor(start: number, end: number, isExclusive: boolean, order = 0) {
    this.lockStart = start;
    this.lockEnd = end;
    this.isExclusive = isExclusive;
    this.order = order;
  }
}

function grant(writer: Writer): void {
  assert.equal(writer.holds, false, 'granted twice');
  writer.holds = true;
}

/** Two of them cannot be in at the same time. */
function clash(a: Writer, b: Writer): boolean {
  const overlap = a.lockStart < b.lockEnd && b.lockStart < a.lockEnd;
  return overlap && (a.isExclusive || b.isExclusive);
}

test('plain writes never wait for each other', () => {
  const locks = new RangeLocks<Writer>();
  const writers = [new Writer(0, 10, false), new Writer(5, 15, false)];
  for (const writer of writers) assert.ok(locks.acquire(writer));
  for (const writer of writers) locks.release(writer, grant);
  assert.ok(locks.isIdle);
});

test('a cycle waits for what it overlaps, and is not overtaken', () => {
  const locks = new RangeLocks<Writer>();
  const plain = new Writer(0, 10, false);
  const cycle = new Writer(5, 6, true);
  const late = new Writer(5, 6, false);
  const far = new Writer(20, 30, true);
  assert.deepEqual(
    [plain, cycle, late, far].map((writer) => locks.acquire(writer)),
    [true, false, false, true],
  );
  locks.release(plain, grant);
  assert.deepEqual([cycle.holds, late.holds], [true, false]);
  locks.release(cycle, grant);
  assert.equal(late.holds, true);
  locks.release(late, grant);
  locks.release(far, grant);
  assert.ok(locks.isIdle);
});

test('a waiter that gives up lets those behind it in at once', () => {
  const locks = new RangeLocks<Writer>();
  const plain = new Writer(0, 10, false);
  const cycle = new Writer(0, 10, true);
  const late = new Writer(0, 10, false);
  assert.deepEqual(
    [plain, cycle, late].map((writer) => locks.acquire(writer)),
    [true, false, false],
  );
  locks.forget(cycle, grant);
  assert.equal(late.holds, true);
  locks.forget(cycle, grant); // It is not there any more: nothing happens.
  locks.release(plain, grant);
  locks.release(late, grant);
  assert.ok(locks.isIdle);
});

test('never two that clash, never one that waits without a reason, in order', () => {
  const step = fc.record({
    start: fc.nat(20),
    len: fc.nat(6),
    isExclusive: fc.boolean(),
    /** Afterwards: how many of those inside leave, and whether a waiter gives up. */
    leave: fc.nat(2),
    forget: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const locks = new RangeLocks<Writer>();
      const all: Writer[] = [];
      const check = (): void => {
        for (const writer of all) {
          const before = all.filter((other) => other !== writer && clash(other, writer));
          if (writer.holds)
            assert.ok(
              before.every((other) => !other.holds),
              'two that clash',
            );
          else {
            const blocks = (other: Writer): boolean => other.holds || other.order < writer.order;
            assert.ok(before.some(blocks), 'waits without a reason');
          }
        }
      };
      const remove = (writer: Writer | undefined): void => {
        if (writer === undefined) return;
        all.splice(all.indexOf(writer), 1);
        if (writer.holds) locks.release(writer, grant);
        else locks.forget(writer, grant);
        check();
      };
      for (const [order, { start, len, isExclusive, leave, forget }] of steps.entries()) {
        const writer = new Writer(start, start + len, isExclusive, order);
        all.push(writer);
        writer.holds = locks.acquire(writer);
        check();
        for (let i = 0; i < leave; i++) remove(all.find(({ holds }) => holds));
        if (forget) remove(all.find(({ holds }) => !holds));
      }
      while (all.length > 0) remove(all.find(({ holds }) => holds) ?? assert.fail('a deadlock'));
      assert.ok(locks.isIdle);
    }),
    { numRuns: RUNS },
  );
});
