import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fifo } from './fifo.ts';
import { RUNS } from './runs.fuzz.ts';

test('a fifo gives what an array gives', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 2 }), { maxLength: 200, size: 'max' }),
      (steps) => {
        const fifo = new Fifo<number>();
        const model: number[] = [];
        steps.forEach((step, i) => {
          if (step > 0 || model.length === 0) {
            fifo.push(i);
            model.push(i);
          } else {
            assert.equal(fifo.shift(), model.shift());
          }
          assert.equal(fifo.length, model.length);
        });
      },
    ),
    RUNS,
  );
  assert.throws(() => new Fifo().shift(), /empty/);
});
