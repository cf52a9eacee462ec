import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fifo } from './fifo.ts';
import { RUNS } from './runs.fuzz.ts';

test('a fifo gives what an array gives', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 200, size: 'max' }),
      (steps) => {
        const fifo = new Fifo<number>();
        const model: number[] = [];
        steps.forEach((step, i) => {
          if (step === 3) {
            // Of those that are there, or one that is not.
            const at = (i * 7) % (model.length + 1);
            fifo.remove(model[at] ?? -1);
            model.splice(at, 1);
          } else if (step > 0 || model.length === 0) {
            fifo.push(i);
            model.push(i);
          } else {
            assert.equal(fifo.shift(), model.shift());
          }
          assert.equal(fifo.length, model.length);
          if (model.length > 0) assert.equal(fifo.first, model[0]);
        });
      },
    ),
    RUNS,
  );
  assert.throws(() => new Fifo().shift(), /empty/);
  assert.throws(() => new Fifo().first, /empty/);
});
