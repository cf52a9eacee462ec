import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tally } from '../tally.ts';
import { Model } from './model.ts';
import { Certainty, ModelObject } from './model-object.ts';

const PAGE = 4096;

function filled(value: number, bytes = PAGE): Uint8Array {
  return new Uint8Array(bytes).fill(value);
}

/** Two pages of 1, of which bytes 512 to 1024 may be 2 or 3 after a race, or what they were. */
function raced(): { object: ModelObject; model: Model; counts: Tally } {
  const object = new ModelObject('file', 2 * PAGE, true);
  object.write(0, filled(1, 2 * PAGE), 0, 2 * PAGE);
  for (const value of [1, 2, 3]) object.mayBe(512, filled(value, 512));
  const counts = new Tally();
  return { object, model: new Model(counts), counts };
}

test('after a race any of the known bytes is legal, byte by byte, and no other', () => {
  const { object, model, counts } = raced();
  const seen = filled(1);
  seen.fill(2, 512, 600);
  seen.fill(3, 600, 1024);
  model.observe(object, 0, PAGE, seen, 0, 'first');
  assert.equal(counts.of('model: bytes that are old or new'), 512);
  // A copy elsewhere may still have the other bytes.
  model.observe(object, 0, PAGE, filled(1), 0, 'second');
  seen[700] = 9;
  assert.throws(() => model.observe(object, 0, PAGE, seen, 0, 'third'), /byte 700 of file is 0x9/);
});

test('what lies beside the race is exact', () => {
  const { object, model } = raced();
  for (const at of [511, 1024, PAGE]) {
    const seen = filled(2, 1);
    assert.throws(
      () => model.observe(object, at, 1, seen, 0, 'beside'),
      /is 0x2, the model has 0x1/,
    );
  }
});

test('written anew it is exact again, and the alternatives are gone', () => {
  const { object, model } = raced();
  object.write(512, filled(4, 512), 0, 512);
  object.trust(512, 512, Number.POSITIVE_INFINITY);
  assert.throws(() => model.observe(object, 512, 1, filled(2, 1), 0, 'old'), /is 0x2/);
  object.mayBe(512, filled(5, 512));
  assert.ok(object.allows(600, 5) && !object.allows(600, 2));
});

test('too many races, and a page that was copied meanwhile, may have anything', () => {
  const { object } = raced();
  const copy = new ModelObject('page', PAGE);
  copy.copyPage(object, 0);
  assert.equal(copy.certaintyAt(600), Certainty.LOOSE);
  assert.equal(copy.certaintyAt(100), Certainty.EXACT);
  for (let i = 0; i < 100; i++) object.mayBe(512, filled(i, 512));
  assert.equal(object.certaintyAt(600), Certainty.LOOSE);
  assert.ok(object.allows(600, 255) && !object.allows(100, 255));
});
