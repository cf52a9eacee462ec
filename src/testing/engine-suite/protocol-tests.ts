import assert from 'node:assert/strict';
import { BioOp } from '../../bio/bio-op.ts';
import { assertSameBytes, CANARY, type EngineBench } from './engine-bench.ts';

/** The calls themselves: acceptance, completion, waking, edges. */
export const PROTOCOL_TESTS: Readonly<Record<string, (bench: EngineBench) => Promise<void>>> = {
  'it says what it is': saysWhatItIs,
  'submit takes a prefix in order, never more than its depth': acceptsPrefix,
  'a submit of nothing is nothing': submitsNothing,
  'reap gives at most max, and each tag once': reapsAtMost,
  'arm wakes once, later, and only for something': armsOnce,
  'arm before the submit wakes too, and arms anew': armsEarly,
  'a read ends short at the end of the device, and only there': readsEndShort,
  'a write beyond the end changes nothing that is there': writesBeyondEnd,
  'cancel knows what is in flight; the tag still comes back once': cancels,
  'after close it takes nothing': closes,
};

async function saysWhatItIs(bench: EngineBench): Promise<void> {
  const { engine } = bench;
  const { info } = engine;
  assert(info.kind.length > 0 && info.target.length > 0);
  assert(Number.isInteger(info.depth) && info.depth >= 1);
  assert(Number.isSafeInteger(engine.sizeBytes()) && engine.sizeBytes() > 0);
  assert.equal(engine.reap(new Uint32Array(4), 4), 0, 'nothing was submitted');
}

async function acceptsPrefix(bench: EngineBench): Promise<void> {
  const { driver, engine } = bench;
  const { depth } = engine.info;
  const count = depth + 5;
  const bytes = bench.randomBytes(bench.unitBytes);
  bench.memory.bytes.set(bytes);
  // All write the same bytes to the same place, so any order gives the same medium.
  const tags = Array.from({ length: count }, () => bench.buildUnit(BioOp.WRITE, 65536));
  let rest: readonly number[] = tags;
  for (let rounds = 0; rest.length > 0; rounds++) {
    assert(rounds < 100 * count, 'the engine makes no progress');
    const accepted = driver.offer(rest);
    assert(accepted >= 0, 'a good request was refused');
    assert(driver.acceptedCount <= depth, 'more requests at the engine than its depth');
    rest = rest.slice(accepted);
    if (rest.length === 0) break;
    assert(driver.acceptedCount > 0, 'full, but nothing is in flight');
    if (driver.reap(count) === 0) await driver.untilWoken();
  }
  await driver.waitAll();
  for (const tag of tags) {
    const { status } = await driver.wait(tag);
    assert.equal(status, 0);
    driver.release(tag);
  }
  await bench.put(65536, bytes); // A short transfer above may have left a part.
  await bench.assertMedium(65536, bench.expected(bytes));
}

async function submitsNothing(bench: EngineBench): Promise<void> {
  assert.equal(bench.driver.offer([]), 0);
  assert.equal(bench.driver.reap(8), 0);
}

async function reapsAtMost(bench: EngineBench): Promise<void> {
  const { driver, engine } = bench;
  const count = Math.min(engine.info.depth, 5);
  const tags = Array.from({ length: count }, (_, i) =>
    bench.buildUnit(BioOp.READ, i * bench.unitBytes, i),
  );
  let rest: readonly number[] = tags;
  while (rest.length > 0) {
    assert.equal(driver.reap(0), 0, 'reap of at most 0');
    const accepted = driver.offer(rest);
    assert(accepted >= 0);
    rest = rest.slice(accepted);
    if (rest.length > 0 && driver.reap(1) === 0) await driver.untilWoken();
  }
  while (driver.acceptedCount > 0) {
    const before = driver.acceptedCount;
    const reaped = driver.reap(1);
    assert.equal(before - driver.acceptedCount, reaped);
    if (reaped === 0) await driver.untilWoken();
  }
  assert.equal(driver.reap(8), 0, 'everything was reaped');
  for (const tag of tags) driver.release(tag);
}

async function armsOnce(bench: EngineBench): Promise<void> {
  const { driver, engine } = bench;
  let wakes = 0;
  engine.arm(() => wakes++);
  assert.equal(wakes, 0, 'woken from inside arm');
  await driver.pause();
  assert.equal(wakes, 0, 'woken although nothing was submitted');
  const tag = bench.buildUnit(BioOp.READ, 0);
  assert.equal(driver.offer([tag]), 1);
  assert.equal(wakes, 0, 'woken from inside submit');
  // The wake is the driver's now; the first callback is replaced and must stay silent.
  await driver.untilWoken();
  await driver.wait(tag);
  await driver.pause();
  assert(wakes === 0, 'a replaced wake was called');
  driver.release(tag);
}

async function armsEarly(bench: EngineBench): Promise<void> {
  const { driver, engine } = bench;
  for (let round = 0; round < 3; round++) {
    let wakes = 0;
    engine.arm(() => wakes++);
    const tag = bench.buildUnit(BioOp.READ, 0);
    assert.equal(driver.offer([tag]), 1);
    assert.equal(wakes, 0, 'woken from inside submit');
    for (let i = 0; i < 5000 && wakes === 0; i++) await driver.pause();
    assert.equal(wakes, 1, 'not woken');
    assert.equal(driver.reap(4), 1, 'woken, but there was nothing');
    await driver.pause();
    assert.equal(wakes, 1, 'woken twice');
    driver.release(tag);
  }
}

async function readsEndShort(bench: EngineBench): Promise<void> {
  const { driver, engine } = bench;
  const unit = bench.unitBytes;
  const block = engine.info.limits.logical_block_size;
  const size = engine.sizeBytes();
  const start = size - (size % block) - block;
  bench.memory.bytes.fill(CANARY);
  const pages = [{ page: bench.memory.page, offset: 0, len: unit * 2 }];
  if (engine.info.limits.max_sectors * 512 < unit * 2) return;
  const straddles = await driver.transfer(driver.build(BioOp.READ, start, [pages]));
  assert.deepEqual(straddles, { status: 0, bytesDone: size - start });
  const tail = bench.memory.bytes.slice(0, size - start);
  assertSameBytes(tail, await bench.medium(start, size - start), 'the end of the device');
  const beyond = bench.memory.bytes.slice(size - start, unit * 2);
  assertSameBytes(beyond, new Uint8Array(beyond.length).fill(CANARY), 'memory beyond the end');
  const outside = bench.buildUnit(BioOp.READ, size + unit * 4 - (size % unit));
  assert.deepEqual(await driver.transfer(outside), { status: 0, bytesDone: 0 });
}

async function writesBeyondEnd(bench: EngineBench): Promise<void> {
  const { driver, engine } = bench;
  const unit = bench.unitBytes;
  const size = engine.sizeBytes();
  const start = size - (size % unit);
  const margin = Math.min(65536, start);
  const before = await bench.medium(start - margin, margin);
  bench.memory.bytes.set(bench.randomBytes(bench.memory.length));
  const result = await driver.transfer(bench.buildUnit(BioOp.WRITE, start));
  if (engine.info.fixedSize && size === start) {
    assert.equal(result.status, -28, 'beyond the end of the device it is ENOSPC');
    assert.equal(engine.sizeBytes(), size);
  } else if (!engine.info.fixedSize) {
    assert.deepEqual(result, { status: 0, bytesDone: unit });
    assert.equal(engine.sizeBytes(), start + unit);
    const written = bench.memory.bytes.slice(0, unit);
    await bench.assertMedium(start, bench.expected(written));
  }
  await bench.assertMedium(start - margin, before);
}

async function cancels(bench: EngineBench): Promise<void> {
  const { driver, engine } = bench;
  const tag = bench.buildUnit(BioOp.READ, 0);
  assert.equal(engine.cancel(tag), -2, 'a tag that was not submitted is ENOENT');
  assert.equal(driver.offer([tag]), 1);
  assert.equal(engine.cancel(tag), 0, 'a tag in flight');
  const { status } = await driver.wait(tag);
  assert(status === 0 || status === -125, 'done, or ECANCELED');
  assert.equal(engine.cancel(tag), -2, 'a tag that came back is ENOENT');
  await driver.pause();
  assert.equal(driver.reap(4), 0, 'it came back twice');
  driver.release(tag);
}

async function closes(bench: EngineBench): Promise<void> {
  const { driver, engine } = bench;
  await driver.transfer(bench.buildUnit(BioOp.READ, 0));
  await engine.close();
  const tag = bench.buildUnit(BioOp.READ, 0);
  assert(driver.offer([tag]) <= 0, 'a closed engine took a request');
  driver.release(tag);
  await engine.close(); // A second close is harmless.
}
