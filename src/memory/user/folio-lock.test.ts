import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FrameFlag } from '../region.unsafe.ts';
import { Machine } from './machine.fuzz.ts';

test('1.5: the folio lock: one at a time, waiters in order, the late queue again', () => {
  using machine = new Machine();
  const { memory } = machine;
  const page = memory.allocPage({ zeroed: false, movable: false, order: 1 });
  const order: string[] = [];
  assert.ok(memory.tryLockFolio(page + 1));
  assert.ok(!memory.tryLockFolio(page), 'one lock for all pages of the folio');
  memory.whenUnlocked(page, () => {
    order.push('first');
    assert.ok(memory.tryLockFolio(page));
    memory.whenUnlocked(page, () => order.push('late'));
    memory.unlockFolio(page);
    order.push('first ends');
  });
  memory.whenUnlocked(page + 1, () => {
    order.push('second');
    assert.ok(memory.tryLockFolio(page));
  });
  memory.whenUnlocked(page, () => {
    order.push('third');
    assert.ok(!memory.tryLockFolio(page));
    memory.whenUnlocked(page, () => order.push('again'));
  });
  memory.unlockFolio(page);
  assert.deepEqual(order, ['first', 'first ends', 'second', 'third', 'late']);
  assert.throws(() => memory.assertNothingOutstanding(), /waiters/);
  memory.unlockFolio(page);
  assert.deepEqual(order, ['first', 'first ends', 'second', 'third', 'late', 'again']);
  assert.throws(() => memory.unlockFolio(page), /unlocked twice/);
  assert.equal(
    machine.arena.region.flags[page - machine.arena.region.firstPage] & FrameFlag.LOCKED,
    0,
  );
  memory.putPage(page);
});
