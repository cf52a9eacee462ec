import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exponent, ratioOf, summarize } from './stats.ts';

test('A summary has the middle, the ends and the spread of its rounds', () => {
  const odd = { median: 3, min: 1, max: 9, spread: 8 / 3, rounds: 3 };
  assert.deepEqual(summarize([9, 1, 3]), odd);
  assert.equal(summarize([4, 1, 2, 3]).median, 2.5, 'between the two in the middle');
});

test('A ratio is that of the medians; its ends are those of single rounds', () => {
  // Medians 20 and 10. By round: 10/10, 20/5, 30/15, so 1 to 4 (their median would be 2 too).
  const plain = ratioOf([10, 20, 30], [10, 5, 15]);
  assert.deepEqual(plain, { median: 2, min: 1, max: 4, spread: 1.5, rounds: 3 });
  // The median of the rounds' ratios (1, 1, 9) is 1, but 9 / 3 is what the medians say.
  assert.equal(ratioOf([3, 9, 9], [3, 9, 1]).median, 3);
});

test('Slope of a linear and of a quadratic growth', () => {
  const sizes = [1, 2, 4, 8];
  assert.ok(Math.abs(exponent(sizes, [3, 6, 12, 24]) - 1) < 1e-12);
  assert.ok(Math.abs(exponent(sizes, [3, 12, 48, 192]) - 2) < 1e-12);
});
