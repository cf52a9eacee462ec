import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Errno } from '../base/errno.ts';
import { ProbePoint } from '../base/probe.ts';
import { RUNS } from '../base/runs.fuzz.ts';
import { BioFlag, BioOp } from '../bio/bio-op.ts';
import { limitsArb } from '../bio/limits-judge.fuzz.ts';
import { DEFAULT_LIMITS, type Limits } from '../limits/limits.ts';
import { LINUX_6_1, PROFILES } from '../limits/profile.ts';
import { validateLimits } from '../limits/validate.ts';
import { QueueWorld, type Row } from './queue-world.fuzz.ts';
import type { Request } from './request.ts';

const PAGE = 4096;

/** One page at `page`, which is the memory of 8 sectors. */
function pageAt(page: number): Row[] {
  return [{ page, offset: 0, len: PAGE }];
}

const stepArb = fc.record({
  kind: fc.constantFrom(
    'bio',
    'bio',
    'bio',
    'bio',
    'plug',
    'unplug',
    'complete',
    'complete',
    'turn',
  ),
  /** Where the bio starts: behind the last one, before it, or anywhere. */
  place: fc.constantFrom('behind', 'behind', 'behind', 'behind', 'before', 'before', 'anywhere'),
  blocks: fc.nat(60),
  lens: fc.oneof(
    fc.integer({ min: 1, max: 3 }).map((units) => [units]),
    fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 6 }),
  ),
  joins: fc.boolean(),
  offset: fc.constantFrom(0, 0, 512, 2048),
  /** Thousandths of the request that are done. */
  share: fc.oneof(fc.constant(1000), fc.nat(999)),
  status: fc.constantFrom(0, 0, 0, 0, 0, -5),
  pick: fc.nat(1000),
  accept: fc.constantFrom(0, 1, 2, 32, 32, 32, -28),
  write: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
});
type Step = typeof stepArb extends fc.Arbitrary<infer T> ? T : never;

/** Bios whose memory is used once, so that every sector of it can be followed. */
class Workload {
  readonly world: QueueWorld;
  #page = 100;
  #first = 0;
  #end = 0;
  plugs = 0;
  errors = 0;

  constructor(world: QueueWorld) {
    this.world = world;
  }

  step(step: Step): void {
    const { world } = this;
    world.accept = (count) => Math.min(step.accept, count);
    if (step.accept < 0) this.errors++;
    if (step.kind === 'bio') this.#bio(step);
    else if (step.kind === 'plug' && this.plugs < 3) {
      this.plugs++;
      world.queue.startPlug();
    } else if (step.kind === 'unplug' && this.plugs > 0) {
      this.plugs--;
      world.quietly(() => world.queue.finishPlug(step.joins));
    } else if (step.kind === 'turn') world.turn();
    else if (step.kind === 'complete' && world.inFlight.length > 0) this.#complete(step);
  }

  #complete({ pick, share, status }: Step): void {
    const { world } = this;
    const request = world.inFlight[pick % world.inFlight.length] as Request;
    const bytes = Math.floor((request.bytes * share) / 1000);
    if (status !== 0 || bytes < world.limits.logical_block_size) this.errors++;
    world.complete(request, bytes, status);
    world.turn();
  }

  #bio({ place, blocks, lens, joins, offset, write, pick }: Step): void {
    const { world } = this;
    const block = world.limits.logical_block_size / 512;
    const rows: Row[] = [];
    let sectors = 0;
    for (const [i, units] of lens.entries()) {
      const len = units * block * 512;
      // The first entry may go on where the memory of the bio before it ends.
      if (i > 0 || !joins) this.#page += 1 + (pick % 2);
      rows.push({ page: this.#page, offset: i === 0 && !joins ? offset : 0, len });
      this.#page += Math.ceil((len + offset) / PAGE);
      sectors += len / 512;
    }
    const before = Math.max(this.#first - sectors, 0);
    const sector =
      place === 'behind' ? this.#end : place === 'before' ? before : 10_000 + blocks * block;
    this.#first = sector;
    this.#end = sector + sectors;
    world.submit(world.build(write ? BioOp.WRITE : BioOp.READ, sector, rows));
  }

  finish(): void {
    for (; this.plugs > 0; this.plugs--) this.world.queue.finishPlug();
    this.world.finish();
  }
}

test('29, 26: random work: requests fit, sectors move once, bios end once', () => {
  let merges = 0;
  let splits = 0;
  let waits = 0;
  let requeues = 0;
  const worldArb = fc.record({
    // A wider mask counts from the first page of a row, as in Linux; the judge counts addresses.
    limits: limitsArb.filter((limits) => limits.virt_boundary_mask < PAGE),
    depth: fc.constantFrom(1, 2, 8, 64),
    splitBios: fc.constantFrom(0, 1, 64),
    profile: fc.constantFrom(
      ...PROFILES.filter(({ subBlockSplit }) => subBlockSplit !== 'unsplit'),
    ),
  });
  fc.assert(
    fc.property(worldArb, fc.array(stepArb, { maxLength: 60, size: 'max' }), (options, steps) => {
      const world = new QueueWorld(options);
      const work = new Workload(world);
      for (const step of steps) work.step(step);
      work.finish();
      for (const { status } of world.outcomes) {
        if (work.errors === 0) assert.ok(status === 0 || status === -Errno.EINVAL, `${status}`);
      }
      const { counters } = world.queue;
      merges += counters.merges;
      splits += counters.splits;
      waits += counters.engineWaits;
      requeues += counters.requeues;
      const count = (point: ProbePoint): number => world.hits.filter((hit) => hit === point).length;
      assert.equal(count(ProbePoint.BIO_QUEUE), counters.bios);
      assert.equal(count(ProbePoint.GET_REQUEST), counters.requests);
      assert.equal(count(ProbePoint.SPLIT), counters.splits);
      assert.equal(count(ProbePoint.BIO_END), counters.bios);
    }),
    RUNS,
  );
  const counts = [merges, splits, waits, requeues];
  assert.ok(Math.min(...counts) > 500, `merges, splits, waits, requeues: ${counts}`);
});

test('depth 1: one request at a time, in order, none lost', () => {
  const world = new QueueWorld({ limits: DEFAULT_LIMITS, depth: 1 });
  for (let i = 0; i < 20; i++) world.submit(world.build(BioOp.WRITE, i * 100, pageAt(2 * i)));
  assert.equal(world.inFlight.length, 1);
  assert.equal(world.table.busyCount, 1);
  assert.ok(world.queue.isBlocked && world.queue.counters.tagWaits > 0);
  world.finish();
  assert.deepEqual(
    world.issued.map((line) => Number(line.split(' ')[1]?.split('+')[0])),
    Array.from({ length: 20 }, (_, i) => i * 100),
  );
});

test('depth 1 under a plug: the plug is issued when the tags are out', () => {
  const world = new QueueWorld({ limits: DEFAULT_LIMITS, depth: 1 });
  world.queue.startPlug();
  for (let i = 0; i < 3; i++) world.submit(world.build(BioOp.WRITE, i * 100, pageAt(2 * i)));
  assert.equal(world.inFlight.length, 1, 'else nobody would ever get on');
  world.drain();
  world.queue.finishPlug();
  world.finish();
});

test('an engine that takes fewer gets the rest after a completion, in order', () => {
  const world = new QueueWorld({ limits: DEFAULT_LIMITS });
  world.queue.startPlug();
  for (let i = 0; i < 10; i++) world.submit(world.build(BioOp.READ, i * 100, pageAt(2 * i)));
  let room = 3;
  world.accept = (count) => {
    const taken = Math.min(room, count);
    room -= taken;
    return taken;
  };
  world.quietly(() => world.queue.finishPlug());
  assert.equal(world.inFlight.length, 3);
  assert.equal(world.queue.inFlight, 3, 'what waits is not at the engine');
  assert.ok(world.queue.isBlocked);
  world.turn();
  assert.equal(world.inFlight.length, 3, 'still no room');
  room = 4;
  world.complete(world.inFlight[0] as Request, PAGE);
  world.turn();
  assert.equal(world.inFlight.length, 6);
  world.finish();
  const sectors = world.issued.map((line) => Number(line.split(' ')[1]?.split('+')[0]));
  assert.deepEqual(
    sectors,
    [...sectors].sort((a, b) => a - b),
  );
  const issues = world.hits.filter((hit) => hit === ProbePoint.ISSUE).length;
  assert.equal(issues, 10, 'an attempt without room is no issue');
});

test('a refused request fails with the errno of the engine, later, and the others go on', () => {
  const world = new QueueWorld({ limits: DEFAULT_LIMITS });
  world.queue.startPlug();
  for (let i = 0; i < 5; i++) world.submit(world.build(BioOp.WRITE, i * 100, pageAt(2 * i)));
  const answers = [2, -Errno.ENOSPC, 2];
  world.accept = () => answers.shift() ?? 0;
  world.quietly(() => world.queue.finishPlug());
  assert.deepEqual(
    world.outcomes.map(({ ends }) => ends),
    [0, 0, 0, 0, 0],
  );
  assert.ok(world.queue.hasFailed);
  assert.equal(world.queue.endFailed(8), 1);
  world.finish();
  assert.deepEqual(
    world.outcomes.map(({ status }) => status),
    [0, 0, -Errno.ENOSPC, 0, 0],
  );
});

test('all bios of a refused request fail, and each once', () => {
  const world = new QueueWorld({ limits: DEFAULT_LIMITS });
  world.accept = () => -Errno.ENODEV;
  world.queue.startPlug();
  for (let i = 0; i < 4; i++) world.submit(world.build(BioOp.WRITE, i * 8, pageAt(2 * i)));
  world.quietly(() => world.queue.finishPlug());
  assert.equal(world.queue.endFailed(3), 3, 'a bounded number each turn');
  assert.equal(world.queue.endFailed(8), 1);
  world.finish();
  assert.ok(world.outcomes.every(({ status }) => status === -Errno.ENODEV));
});

test('what cannot be split fails with EINVAL after its fronts, never in submit', () => {
  const limits = validateLimits({ logical_block_size: 4096, max_segments: 1, dma_alignment: 511 });
  const world = new QueueWorld({ limits });
  const rows: Row[] = [{ page: 1, offset: 0, len: PAGE }];
  for (let i = 0; i < 8; i++) rows.push({ page: 10 + 2 * i, offset: 0, len: 512 });
  const outcome = world.submit(world.build(BioOp.WRITE, 0, rows));
  assert.equal(world.inFlight.length, 1, 'the whole block went');
  world.turn();
  assert.equal(outcome.ends, 0, 'its front is still at the engine');
  world.finish();
  assert.equal(outcome.status, -Errno.EINVAL);
});

test('less than a block is an error, and goes unsplit under linux-6.12 alone', () => {
  const limits = validateLimits({ logical_block_size: 4096, max_segments: 1, dma_alignment: 511 });
  const rows = Array.from({ length: 8 }, (_, i) => ({ page: 10 + 2 * i, offset: 0, len: 512 }));
  for (const profile of PROFILES) {
    const world = new QueueWorld({ limits, profile });
    world.accept = () => 0; // The judge of the test would not let it pass.
    world.submit(world.build(BioOp.WRITE, 0, rows));
    assert.equal(world.queue.hasFailed, profile.subBlockSplit !== 'unsplit', profile.name);
  }
});

test('the rest of a short transfer goes again from where it stopped, over merged bios', () => {
  const world = new QueueWorld({ limits: validateLimits({ max_hw_sectors: 1024 }) });
  world.queue.startPlug();
  for (let i = 0; i < 4; i++) world.submit(world.build(BioOp.READ, i * 8, pageAt(3 * i)));
  world.queue.finishPlug();
  assert.deepEqual(world.issued, ['0 0+32 segments=4']);
  const ends = (): number[] => world.outcomes.map((outcome) => outcome.ends);
  world.complete(world.inFlight[0] as Request, PAGE + 512);
  assert.deepEqual(ends(), [1, 0, 0, 0], 'the first bio was done as a whole');
  world.complete(world.inFlight[0] as Request, PAGE - 512 + PAGE);
  assert.deepEqual(ends(), [1, 1, 1, 0]);
  world.complete(world.inFlight[0] as Request, 1024);
  world.complete(world.inFlight[0] as Request, PAGE - 1024);
  assert.deepEqual(ends(), [1, 1, 1, 1]);
  assert.deepEqual(
    world.issued.map((line) => line.split(' ')[1]),
    ['0+32', '9+23', '24+8', '26+6'],
  );
  assert.equal(world.queue.counters.requeues, 3);
  world.finish();
});

test('a read that ends at the end of the device tells each bio where', () => {
  const world = new QueueWorld({ limits: DEFAULT_LIMITS });
  world.queue.startPlug();
  for (let i = 0; i < 3; i++) world.submit(world.build(BioOp.READ, i * 8, pageAt(3 * i)));
  world.queue.finishPlug();
  world.completeShort(world.inFlight[0] as Request, PAGE + 1024);
  const shortAt = PAGE + 1024;
  assert.deepEqual(
    world.outcomes.map((outcome) => outcome.shortAt),
    [Number.POSITIVE_INFINITY, shortAt, shortAt],
  );
  world.finish();
});

test('a request is completed once, and requeued only after the engine let go', () => {
  const world = new QueueWorld({ limits: DEFAULT_LIMITS });
  world.submit(world.build(BioOp.READ, 0, pageAt(1)));
  const request = world.inFlight[0] as Request;
  const { tag } = request;
  assert.throws(() => world.queue.requeue(request, 512), /still owns/);
  world.complete(request, PAGE);
  assert.throws(() => world.queue.finishRequest(request, 0, PAGE), /completed twice/);
  assert.throws(() => world.table.get(tag), /stale tag/);
  world.finish();
});

test('a bio is submitted once, and with an end', () => {
  const world = new QueueWorld({ limits: DEFAULT_LIMITS });
  const bio = world.build(BioOp.READ, 0, pageAt(1));
  assert.throws(() => world.queue.submitBio(bio), /without endIo/);
  world.submit(bio);
  assert.throws(() => world.queue.submitBio(bio), /submitted twice/);
  world.finish();
});

test('NOWAIT fails with EAGAIN rather than split', () => {
  const world = new QueueWorld({ limits: validateLimits({ max_segments: 1 }) });
  const bio = world.build(BioOp.READ, 0, [...pageAt(1), ...pageAt(5)]);
  bio.flags |= BioFlag.NOWAIT;
  const outcome = world.submit(bio);
  assert.equal(outcome.ends, 0);
  world.finish();
  assert.equal(outcome.status, -Errno.EAGAIN);
  assert.equal(world.issued.length, 0);
});

test('a plug that ends in a sleep issues in order also under linux-6.1', () => {
  for (const sleeping of [false, true]) {
    const world = new QueueWorld({ limits: DEFAULT_LIMITS, profile: LINUX_6_1 });
    world.queue.startPlug();
    for (let i = 0; i < 3; i++) world.submit(world.build(BioOp.READ, i * 100, pageAt(2 * i)));
    world.queue.finishPlug(sleeping);
    const order = sleeping ? ['0+8', '100+8', '200+8'] : ['200+8', '100+8', '0+8'];
    assert.deepEqual(
      world.issued.map((line) => line.split(' ')[1]),
      order,
    );
    world.finish();
  }
});

test('limits of one sector: a page is eight requests, whatever the pool of fronts has', () => {
  const limits: Limits = validateLimits({ max_dev_sectors: 1 });
  for (const splitBios of [0, 1, 64]) {
    const world = new QueueWorld({ limits, splitBios });
    world.submit(world.build(BioOp.WRITE, 0, pageAt(1)));
    world.finish();
    assert.equal(world.issued.length, 8);
    assert.equal(world.queue.counters.splits, 7);
  }
});
