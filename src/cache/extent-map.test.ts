import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { BlockAllocator } from './block-allocator.ts';
import { ExtentMap, ExtentRun, ExtentState } from './extent-map.ts';

const BLOCKS = 40;
const { HOLE, MAPPED, UNWRITTEN } = ExtentState;

const steps = fc.array(
  fc.record({
    kind: fc.constantFrom('insert', 'insert', 'convert', 'remove'),
    start: fc.nat(BLOCKS - 1),
    count: fc.integer({ min: 1, max: 10 }),
    goal: fc.nat(BLOCKS - 1),
    isMapped: fc.boolean(),
  }),
  { maxLength: 40 },
);

/** One entry a block: where it lies and what state it has. */
class BlockModel {
  readonly device = new Array<number>(BLOCKS).fill(-1);
  readonly state = new Array<number>(BLOCKS).fill(HOLE);

  isAll(start: number, end: number, isHole: boolean): boolean {
    const part = this.state.slice(start, end);
    return part.every((state) => (state === HOLE) === isHole);
  }
}

function compare(map: ExtentMap, model: BlockModel): void {
  map.verify();
  const run = new ExtentRun();
  for (let block = 0; block < BLOCKS; block++) {
    map.lookup(block, run);
    assert.ok(run.start <= block && block < run.end, 'the run holds the block');
    assert.equal(run.state, model.state[block]);
    if (run.state !== HOLE) assert.equal(run.device + block - run.start, model.device[block]);
    // A run is as long as it can be: what stands before its start is something else.
    const before = run.start - 1;
    if (before < 0 || run.state === HOLE) continue;
    const isSame = model.state[before] === run.state;
    assert.ok(!isSame || model.device[before] !== (model.device[run.start] as number) - 1);
  }
  assert.equal(map.blocks, model.state.filter((state) => state !== HOLE).length);
}

test('insert, convert and remove do what they do to an array of blocks', () => {
  fc.assert(
    fc.property(steps, (list) => {
      const map = new ExtentMap();
      const allocator = new BlockAllocator(BLOCKS);
      const model = new BlockModel();
      for (const { kind, start, count, goal, isMapped } of list) {
        const end = Math.min(start + count, BLOCKS);
        if (kind === 'insert' && model.isAll(start, end, true)) {
          const got = allocator.acquire(end - start, goal, false);
          map.insert(start, got, allocator.start, isMapped ? MAPPED : UNWRITTEN);
          for (let i = 0; i < got; i++) {
            model.device[start + i] = allocator.start + i;
            model.state[start + i] = isMapped ? MAPPED : UNWRITTEN;
          }
        } else if (kind === 'convert' && model.isAll(start, end, false)) {
          map.convert(start, end);
          model.state.fill(MAPPED, start, end);
        } else if (kind === 'remove') {
          const freed: number[] = [];
          map.remove(start, end, (device, blocks) => {
            allocator.release(device, blocks);
            for (let i = 0; i < blocks; i++) freed.push(device + i);
          });
          const had = model.device.slice(start, end).filter((device) => device >= 0);
          assert.deepEqual(freed, had);
          model.device.fill(-1, start, end);
          model.state.fill(HOLE, start, end);
        }
        compare(map, model);
        allocator.verify();
        assert.equal(allocator.free, BLOCKS - map.blocks);
      }
    }),
    RUNS,
  );
});

test('insert over an extent, convert of a hole: bugs', () => {
  const map = new ExtentMap();
  map.insert(4, 4, 10, UNWRITTEN);
  assert.throws(() => map.insert(7, 1, 30, MAPPED), /over an extent/);
  assert.throws(() => map.insert(2, 3, 30, MAPPED), /over the next/);
  assert.throws(() => map.convert(6, 9), /of a hole/);
});

test('an allocator: near the goal, else whole, else the longest; reservations are kept', () => {
  const blocks = new BlockAllocator(20);
  assert.ok(blocks.acquireAt(5, 3)); // Free: 0–4, 8–19.
  assert.ok(!blocks.acquireAt(4, 2));
  assert.equal(blocks.acquire(4, 10, false), 4);
  assert.equal(blocks.start, 10); // Free: 0–4, 8–9, 14–19.
  assert.equal(blocks.acquire(6, 5, false), 6);
  assert.equal(blocks.start, 14); // Free: 0–4, 8–9.
  assert.equal(blocks.acquire(9, 6, false), 5);
  assert.equal(blocks.start, 0); // Free: 8–9.
  assert.ok(blocks.reserve(2));
  assert.ok(!blocks.reserve(1));
  assert.equal(blocks.acquire(1, 8, false), 0);
  assert.equal(blocks.acquire(1, 8, true), 1);
  assert.equal(blocks.start, 8);
  blocks.unreserve(1);
  assert.equal(blocks.acquire(5, 0, false), 1);
  assert.throws(() => blocks.release(20, 1), /beyond the device/);
  blocks.release(0, 20);
  assert.throws(() => blocks.release(3, 1), /released twice/);
  blocks.verify();
});
