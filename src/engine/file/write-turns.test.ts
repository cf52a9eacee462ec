import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WriteTurns } from './write-turns.ts';

test('one writer at a time, the others in order', () => {
  const turns = new WriteTurns();
  const order: string[] = [];
  const writer = (name: string) => (): void => {
    if (turns.enter(writer(name))) order.push(name);
  };
  for (const name of ['a', 'b', 'c']) writer(name)();
  assert.deepEqual(order, ['a']);
  turns.leave();
  assert.deepEqual(order, ['a', 'b']);
  turns.leave();
  turns.leave();
  writer('d')();
  assert.deepEqual(order, ['a', 'b', 'c', 'd']);
});

test('a waiter that gave up does not hold up the next', () => {
  const turns = new WriteTurns();
  const order: string[] = [];
  assert.ok(turns.enter(() => assert.fail('it is in already')));
  turns.enter(() => order.push('gave up'));
  turns.enter(() => {
    assert.ok(turns.enter(() => assert.fail('there is room')));
    order.push('entered');
  });
  turns.leave();
  assert.deepEqual(order, ['gave up', 'entered']);
});
