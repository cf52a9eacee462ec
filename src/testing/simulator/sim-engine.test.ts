import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Errno } from '../../base/errno.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { presetLimits } from '../../limits/presets.ts';
import { Arena } from '../../memory/arena.ts';
import { EngineDriver } from '../engine-driver.ts';
import { engineSuite } from '../engine-suite.ts';
import { FaultPlan, type FaultRates, type FaultRule, NO_FAULTS } from './fault-plan.ts';
import { SimClock } from './sim-clock.ts';
import { SimEngine } from './sim-engine.ts';
import { fillPattern } from './sim-op.ts';

const SIZE = 2 ** 21;
const PAGE = 4096;

function open(seed: number, depth: number, rates: FaultRates, rules: readonly FaultRule[] = []) {
  const clock = new SimClock();
  const plan = new FaultPlan(seed, rates, rules);
  const limits = presetLimits('unlimited');
  const engine = new SimEngine({ seed, clock, limits, sizeBytes: SIZE, depth, plan });
  const readBack = (start: number, bytes: number): Uint8Array => engine.medium.peek(start, bytes);
  const tick = (): void => void clock.step();
  return { engine, readBack, tick };
}

const QUIET = { ...NO_FAULTS, slow: 0.2 };
const RESTLESS = { ...NO_FAULTS, short: 0.5, fewer: 0.7, slow: 0.2 };

engineSuite('simulator', async () => open(1, 32, QUIET), { discardsToZero: true });
engineSuite('simulator of depth 1', async () => open(2, 1, QUIET), { discardsToZero: true });
engineSuite('simulator, short and full', async () => open(3, 7, RESTLESS), {
  discardsToZero: true,
});

/** A write of 16 pages under `rules`; the result and how many leading bytes are on the medium. */
async function writeUnder(seed: number, rates: FaultRates, rules: readonly FaultRule[]) {
  const { engine, tick } = open(seed, 4, rates, rules);
  const driver = new EngineDriver({ engine, tick });
  const arena = new Arena({ maxBytes: 2 ** 20 });
  const buffer = arena.alloc(16 * PAGE);
  fillPattern(buffer.bytes, 3);
  const segment = { page: buffer.page, offset: 0, len: 16 * PAGE };
  const tag = driver.build(BioOp.WRITE, 8192, [[segment]]);
  const [result] = await driver.run([tag]);
  driver.release(tag);
  driver.assertNothingOutstanding();
  const there = engine.medium.peek(8192, 16 * PAGE);
  const same = there.map((byte, i) => (byte === buffer.bytes[i] ? 1 : 0));
  const zero = there.map((byte) => (byte === 0 ? 1 : 0));
  buffer.release();
  arena.assertNothingOutstanding();
  return { result, same, zero };
}

test('a failed write leaves exactly the reported bytes', async () => {
  const fault = { kind: 'error', errno: Errno.EIO, bytes: 5 * 512 } as const;
  const rules: FaultRule[] = [{ nth: 1, op: BioOp.WRITE, fault }];
  const { result, same, zero } = await writeUnder(1, NO_FAULTS, rules);
  assert.deepEqual(result, { status: -5, bytesDone: 2560 });
  assert(same.subarray(0, 2560).every((bit) => bit === 1));
  assert(zero.subarray(2560).every((bit) => bit === 1));
});

test('a short write leaves exactly the reported bytes', async () => {
  const rules: FaultRule[] = [{ nth: 1, fault: { kind: 'short', bytes: 1000 } }];
  const { result, same, zero } = await writeUnder(1, NO_FAULTS, rules);
  assert.deepEqual(result, { status: 0, bytesDone: 1000 });
  assert(same.subarray(0, 1000).every((bit) => bit === 1));
  assert(zero.subarray(1000).every((bit) => bit === 1));
});

test('a torn write leaves whole sectors behind the reported bytes, new or old', async () => {
  const rates = { ...NO_FAULTS, error: 1, torn: 1 };
  const { result, same, zero } = await writeUnder(5, rates, []);
  assert(result !== undefined && result.status < 0);
  let fresh = 0;
  for (let at = result.bytesDone; at < same.length; at += 512) {
    const isNew = same.subarray(at, at + 512).every((bit) => bit === 1);
    const isOld = zero.subarray(at, at + 512).every((bit) => bit === 1);
    assert(isNew || isOld, `the sector at ${at} is neither`);
    if (isNew) fresh++;
  }
  assert(fresh > 0, 'nothing was torn');
});

test('exact rules: the third request is refused, others are not', () => {
  const fault = { kind: 'refuse', errno: Errno.EAGAIN } as const;
  const { engine, tick } = open(1, 8, NO_FAULTS, [{ nth: 3, fault }]);
  const driver = new EngineDriver({ engine, tick });
  const tags = [0, 1, 2, 3].map(() => driver.build(BioOp.FLUSH, 0, [[]]));
  assert.equal(driver.offer(tags), 2, 'the prefix before it');
  assert.equal(driver.offer(tags.slice(2)), -Errno.EAGAIN);
  assert.equal(driver.offer(tags.slice(3)), 1);
});

test('requests overtake each other, in the same way for the same seed', async () => {
  const orders = [];
  for (let run = 0; run < 2; run++) {
    const { engine, tick } = open(4, 16, QUIET);
    const driver = new EngineDriver({ engine, tick });
    const tags = Array.from({ length: 16 }, () => driver.build(BioOp.FLUSH, 0, [[]]));
    assert.equal(driver.offer(tags), 16);
    const order: number[] = [];
    const one = new Uint32Array(16);
    for (let i = 0; i < 1000 && order.length < 16; i++) {
      tick();
      const count = engine.reap(one, 16);
      for (let k = 0; k < count; k++) order.push(tags.indexOf(one[k] as number));
    }
    orders.push(order);
  }
  assert.deepEqual(orders[0], orders[1]);
  assert.notDeepEqual(
    orders[0],
    [...(orders[0] as number[])].sort((a, b) => a - b),
  );
});
