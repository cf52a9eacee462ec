import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { RUNS } from '../base/runs.fuzz.ts';
import { IovIter, IterDirection } from '../iter/iov-iter.ts';
import type { UserSpace } from '../memory/user/user-space.ts';
import { SeededRandom } from '../testing/simulator/seeded-random.ts';
import { CacheRig, PAGE, pattern, type RigOptions } from './cache-rig.fuzz.ts';
import type { ExtentFile } from './extent-file.ts';
import type { ExtentFileOptions } from './file-options.ts';

// Several callers at once. The file is cut into pieces that are no whole pages, each of which
// belongs to one actor; an actor does one thing at a time and knows its bytes, so whatever the
// others do to the other half of a page, it must find them.

const PIECES = 24;
const PIECE_BYTES = 2048;
const ACTORS = 4;
const MAP = 0x4000_0000;

interface Plan {
  readonly rig: RigOptions;
  readonly file: Partial<ExtentFileOptions>;
  /** Direct I/O, or stores through a mapping. Linux promises nothing for both at once either. */
  readonly isDirect: boolean;
}

class Actors {
  readonly rig: CacheRig;
  readonly file: ExtentFile;
  readonly space: UserSpace;
  readonly #plan: Plan;
  readonly #random: SeededRandom;
  /** Bytes of each piece; null after a write that failed, until one succeeds. */
  readonly #pieces: (Uint8Array | null)[] = [];
  readonly #iters: IovIter[] = [];
  #left: number;
  #running = 0;
  #written = 1;

  constructor(plan: Plan, seed: number, steps: number) {
    this.#plan = plan;
    this.#random = new SeededRandom(seed);
    this.#left = steps;
    this.rig = new CacheRig({ ...plan.rig, seed });
    this.file = this.rig.file(plan.file);
    this.space = this.rig.space();
    assert.equal(this.rig.truncate(this.file, PIECES * PIECE_BYTES), 0);
    this.rig.mapFile(this.space, this.file, MAP, (PIECES * PIECE_BYTES) / PAGE);
    for (let i = 0; i < PIECES; i++) this.#pieces.push(new Uint8Array(PIECE_BYTES));
    for (let actor = 0; actor < ACTORS; actor++) this.#iters.push(new IovIter());
  }

  run(): void {
    for (let actor = 0; actor < ACTORS; actor++) this.#next(actor);
    while (this.#running > 0) {
      if (this.#random.chance(0.3)) this.#disturb();
      assert.ok(this.rig.clock.step(), 'stuck: operations never end');
    }
  }

  /** What nobody asked for: memory pressure, compaction, background writeback. */
  #disturb(): void {
    const { file, rig } = this;
    const roll = this.#random.below(4);
    const page = file.cache.pageAt(this.#random.below(PIECES / 2));
    if (roll === 0) rig.memory.reclaim(1 + this.#random.below(8));
    else if (roll === 1) file.writeOut();
    else if (page >= 0) rig.memory.migrate(page);
  }

  #next(actor: number): void {
    if (this.#left-- <= 0) return;
    const piece = this.#random.below(PIECES / ACTORS) * ACTORS + actor;
    const start = piece * PIECE_BYTES;
    const direct = this.#plan.isDirect && this.#random.chance(0.5);
    const then = (): void => {
      this.#running--;
      this.#next(actor);
    };
    this.#running++;
    switch (this.#random.below(5)) {
      case 0:
      case 1:
        this.#write(actor, piece, direct, then);
        return;
      case 2:
        this.#read(actor, piece, direct, then);
        return;
      case 3:
        this.file.startPunchHole(start, start + PIECE_BYTES, (_op, result) => {
          if (result === 0) this.#pieces[piece] = new Uint8Array(PIECE_BYTES);
          then();
        });
        return;
      default:
        if (this.#plan.isDirect || this.#random.chance(0.2)) {
          this.file.startSync(then);
          return;
        }
        this.#store(piece, then);
        return;
    }
  }

  #write(actor: number, piece: number, direct: boolean, then: () => void): void {
    const data = pattern(PIECE_BYTES, this.#written++);
    const iter = this.#iters[actor] as IovIter;
    iter.initView(IterDirection.SOURCE, data);
    this.file.startWrite(piece * PIECE_BYTES, iter, { direct }, (_op, result) => {
      this.#pieces[piece] = result === PIECE_BYTES ? data : null;
      then();
    });
  }

  #read(actor: number, piece: number, direct: boolean, then: () => void): void {
    const got = new Uint8Array(PIECE_BYTES);
    const iter = this.#iters[actor] as IovIter;
    iter.initView(IterDirection.DEST, got);
    this.file.startRead(piece * PIECE_BYTES, iter, { direct }, (_op, result) => {
      const expected = this.#pieces[piece];
      if (result >= 0) {
        assert.equal(result, PIECE_BYTES);
        if (expected !== null) assert.deepEqual(got, expected, `piece ${piece} was changed`);
      }
      then();
    });
  }

  /** As far as the program gets without waiting. */
  #store(piece: number, then: () => void): void {
    const bytes = this.#pieces[piece];
    const data = pattern(PIECE_BYTES, this.#written++);
    const done = this.space.write(MAP + piece * PIECE_BYTES, data);
    if (bytes !== null && bytes !== undefined) bytes.set(data.subarray(0, done));
    this.rig.clock.schedule(100, then, 0);
  }

  finish(): void {
    const { file, rig } = this;
    rig.settle();
    let rounds = 0;
    while (rig.fsync(file) !== 0) assert.ok(++rounds < 100, 'fsync never succeeds');
    const device = rig.onDevice(file);
    this.#pieces.forEach((bytes, piece) => {
      if (bytes === null) return;
      const start = piece * PIECE_BYTES;
      const there = device.slice(start, start + PIECE_BYTES);
      assert.deepEqual(there, new Uint8Array(bytes), `piece ${piece} on the device`);
    });
    rig[Symbol.dispose]();
  }
}

async function check(plan: Plan): Promise<void> {
  const property = fc.asyncProperty(
    fc.nat(2 ** 30),
    fc.integer({ min: 1, max: 60 }),
    async (seed, n) => {
      const actors = new Actors(plan, seed, n);
      try {
        actors.run();
        actors.finish();
      } catch (error) {
        actors.rig.abandon();
        throw error;
      }
      await actors.rig.closed;
    },
  );
  await fc.assert(property, { numRuns: Math.ceil(RUNS.numRuns / 10) });
}

const slowDisk = { slow: 0.3, short: 0.2, fewer: 0.3 };

test('reads, writes, holes and stores to neighbouring bytes of the same pages', async () => {
  await check({ rig: { rates: slowDisk }, file: {}, isDirect: false });
  await check({ rig: { rates: slowDisk }, file: { folioOrder: 2 }, isDirect: false });
});

test('direct and buffered callers beside each other', async () => {
  await check({ rig: { rates: slowDisk }, file: {}, isDirect: true });
  const rig = { rates: slowDisk, limits: { logical_block_size: 4096 }, bios: 1, depth: 2 };
  await check({ rig, file: { folioOrder: 2 }, isDirect: true });
});

test('with errors, little memory and few blocks', async () => {
  const rates = { ...slowDisk, error: 0.1, torn: 0.5 };
  await check({ rig: { rates, frames: 12, blocks: 14 }, file: {}, isDirect: false });
  await check({ rig: { rates, frames: 12, blocks: 14 }, file: {}, isDirect: true });
});
