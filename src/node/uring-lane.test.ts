import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lane } from '../engine/uring/lane.ts';
import { LaneShare } from '../engine/uring/lanes.ts';
import { ModelRing } from './model-ring.fuzz.ts';
import { envOf } from './uring-fixture.test.ts';

const NOP = 0;

test('what throws while it is told does not silence those behind it', () => {
  const ring = new ModelRing();
  const lane = new Lane(envOf(ring), ring);
  const told: string[] = [];
  lane.defer(() => told.push('first'));
  lane.defer(() => {
    throw new Error('of the program');
  });
  lane.defer(() => told.push('third'));
  assert.throws(() => lane.tellAll(), /of the program/);
  assert.deepEqual(told, ['first']);
  assert.equal(lane.hasReady, true);
  lane.tellAll();
  assert.deepEqual(told, ['first', 'third']);
  lane.close();
  ring.assertNothingLeft();
});

test('copies of more than 1 MiB are cut into calls, in order; each goes at least alone', () => {
  const ring = new ModelRing();
  const lane = new Lane(envOf(ring), ring);
  const done: number[] = [];
  const owner = lane.addOwner({ completed: (tag) => done.push(tag) });
  const sizes = [0.5, 0.5, 0.5, 3, 0.25, 0.25, 0.25, 0.25, 0.25].map((mib) => mib * 2 ** 20);
  const put = (bytes: number, tag: number): void => {
    assert.equal(lane.makeRoom(), true);
    lane.put(NOP, -1, 0, 0, 0, 0, tag, owner, 0, bytes);
    lane.commit(false);
  };
  for (const [tag, bytes] of sizes.entries()) put(bytes, tag);
  const taken: number[] = [];
  while (lane.inFlight > 0) {
    const before = ring.entries.length;
    lane.enter(0, 0);
    taken.push(ring.entries.length - before);
  }
  assert.deepEqual(taken, [2, 1, 1, 4, 1]);
  assert.deepEqual(done, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
  lane.removeOwner(owner);
  lane.close();
  ring.assertNothingLeft();
});

test('a full queue makes room by itself; the heads wrap', () => {
  const ring = new ModelRing({ submitMax: 100 });
  const lane = new Lane(envOf(ring), ring);
  let done = 0;
  const owner = lane.addOwner({
    completed: (tag) => {
      assert.equal(tag, done);
      done++;
    },
  });
  for (let tag = 0; tag < 3000; tag++) {
    assert.equal(lane.makeRoom(), true);
    lane.put(NOP, -1, 0, 0, 0, 0, tag, owner, 0, 0);
    lane.commit(true);
  }
  while (lane.inFlight > 0) lane.enter(0, 0);
  assert.equal(done, 3000);
  lane.removeOwner(owner);
  lane.close();
  ring.assertNothingLeft();
});

test('everything of a thread shares one ring; the last share closes it', () => {
  const ring = new ModelRing();
  const env = envOf(ring);
  const first = LaneShare.acquire(env);
  const second = LaneShare.acquire(env);
  assert.equal(first.lane, second.lane);
  assert.equal(ring.openRings, 1);
  first.release();
  assert.equal(ring.openRings, 1);
  second.release();
  ring.assertNothingLeft();
  using again = LaneShare.acquire(env);
  assert.notEqual(again.lane, first.lane);
});

test('when the thread ends, what is in flight ends first', () => {
  const ring = new ModelRing();
  const lane = new Lane(envOf(ring), ring);
  let done = 0;
  const owner = lane.addOwner({ completed: () => done++ });
  lane.put(NOP, -1, 0, 0, 0, 0, 1, owner, 0, 0);
  for (const exit of [...ring.exits]) exit();
  assert.equal(done, 1);
  assert.equal(lane.isClosed, true);
  ring.assertNothingLeft();
});
