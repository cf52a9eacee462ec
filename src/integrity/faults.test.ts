// Damage as disks make it, on rows that are cut anywhere: what is found, in which block, and by
// which tag. With CRC64 and a ref tag of 48 bits none is missed. `testing/damage/` counts more.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Errno } from '../base/errno.ts';
import { RUNS } from '../base/runs.fuzz.ts';
import { Arena } from '../memory/arena.ts';
import { generate } from './generate.ts';
import { type BlockCopy, PiInjector } from './injector.ts';
import { formatOf, noise } from './pi-format.fuzz.ts';
import { PiWalk } from './pi-walk.ts';
import { TestMemory } from './rows.fuzz.ts';
import { CheckFlag, PiCheck, PiFault, PiTag, verify } from './verify.ts';

/** 10,000; `npm run test:nightly` makes it 200,000. */
const FAULTS = RUNS.numRuns * 10;
const BLOCKS = 8;
const BLOCK_BYTES = 512;
const SEED = 2 ** 33 + 5;

const arena = new Arena({ maxBytes: 2 ** 20 });
const buffer = arena.alloc(65536);
after(() => {
  buffer.release();
  arena.assertNothingOutstanding();
});

/** Numbers below `end`, from one seed. */
function dice(seed: number): (end: number) => number {
  let state = seed >>> 0;
  return (end) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) % end;
  };
}

type Dice = ReturnType<typeof dice>;

/** Protected blocks, and the same blocks as they were a generation before. */
class Rig {
  readonly injector: PiInjector;
  readonly fault = new PiFault();
  readonly good: readonly BlockCopy[];
  readonly old: readonly BlockCopy[];
  /** The block with the same lower 32 bits of its number, 2^32 blocks further on. */
  readonly far: readonly BlockCopy[];
  readonly #walk = new PiWalk();
  readonly #check = new PiCheck();
  readonly #generate: (seed: number) => BlockCopy[];
  readonly #verify: () => number;

  constructor(csum: 'crc16' | 'crc64', flags: number) {
    const memory = new TestMemory(buffer);
    const { profile } = formatOf(csum, BLOCK_BYTES, 0, 0, true);
    const data = memory.place(noise(BLOCKS * BLOCK_BYTES, 1), [700, 3000, 512], 3);
    const records = memory.place(new Uint8Array(BLOCKS * profile.metadata_size), [23, 40], 1);
    this.injector = new PiInjector(profile, data.rows, records.rows);
    this.#check.flags = flags;
    this.#check.seed = SEED;
    this.#generate = (seed) => {
      this.#walk.startSeparate(profile, data.rows, records.rows);
      generate(this.#walk, profile, seed);
      return Array.from({ length: BLOCKS }, (_, block) => this.injector.copyOf(block));
    };
    this.#verify = () => {
      this.#walk.startSeparate(profile, data.rows, records.rows);
      return verify(this.#walk, profile, this.#check, this.fault);
    };
    this.old = this.#generate(SEED);
    data.write(noise(BLOCKS * BLOCK_BYTES, 2));
    this.far = this.#generate(SEED + 2 ** 32);
    data.write(noise(BLOCKS * BLOCK_BYTES, 3));
    this.good = this.#generate(SEED);
    assert.equal(this.#verify(), 0);
  }

  /** Runs `damage` on good blocks; the blocks that it changed, lowest first, and what was found. */
  strike(damage: (injector: PiInjector) => void): { changed: number[]; status: number } {
    damage(this.injector);
    const changed: number[] = [];
    const status = this.#verify();
    for (const [block, good] of this.good.entries()) {
      const now = this.injector.copyOf(block);
      const isSame = Buffer.compare(now.data, good.data) === 0;
      if (!isSame || Buffer.compare(now.record, good.record) !== 0) changed.push(block);
    }
    for (const block of changed) this.injector.put(block, this.good[block] as BlockCopy);
    return { changed, status };
  }
}

function burst(roll: Dice, bytesMax: number): Uint8Array {
  const mask = Uint8Array.from({ length: 1 + roll(bytesMax) }, () => roll(256));
  mask[0] ^= mask.every((byte) => byte === 0) ? 1 : 0;
  return mask;
}

/** Every kind of damage that a generation of old contents allows. */
const KINDS: readonly ((rig: Rig, roll: Dice, injector: PiInjector) => void)[] = [
  // One bit, and a burst of up to 64 bytes, in the data.
  (_rig, roll, injector) => injector.flip(roll(BLOCKS), 'data', roll(BLOCK_BYTES * 8)),
  (_rig, roll, injector) => {
    const mask = burst(roll, 64);
    injector.xor(roll(BLOCKS), 'data', roll(BLOCK_BYTES - mask.length + 1), mask);
  },
  // A burst in the guard, and in the ref tag.
  (_rig, roll, injector) => injector.xor(roll(BLOCKS), 'guard', 0, burst(roll, 8)),
  (_rig, roll, injector) => injector.xor(roll(BLOCKS), 'ref', 0, burst(roll, 6)),
  // A write that arrived at another block, near or 2^32 blocks away, and two blocks swapped.
  (_rig, roll, injector) => injector.misdirect(roll(BLOCKS), roll(BLOCKS)),
  (rig, roll, injector) => {
    const block = roll(BLOCKS);
    injector.put(block, rig.far[block] as BlockCopy);
  },
  (_rig, roll, injector) => injector.swap(roll(BLOCKS), roll(BLOCKS)),
  // A write of which the data, or the record, or the end of the record was lost.
  (rig, roll, injector) => {
    const block = roll(BLOCKS);
    injector.put(block, rig.old[block] as BlockCopy, roll(2) === 0 ? 'data' : 'record');
  },
  (rig, roll, injector) => {
    const block = roll(BLOCKS);
    injector.tearRecord(block, rig.old[block] as BlockCopy, 1 + roll(15));
  },
  // Torn inside the data: some sectors of the old generation.
  (rig, roll, injector) => {
    const block = roll(BLOCKS);
    const old = rig.old[block] as BlockCopy;
    const torn = (rig.good[block] as BlockCopy).data.slice();
    torn.set(old.data.subarray(0, 1 + roll(BLOCK_BYTES - 1)));
    injector.put(block, { data: torn, record: old.record }, 'data');
  },
];

test('CRC64 and a ref tag of 48 bits miss nothing', (t) => {
  const rig = new Rig('crc64', CheckFlag.GUARD | CheckFlag.REF);
  const roll = dice(FAULTS);
  const hits = KINDS.map(() => 0);
  for (let i = 0; i < FAULTS; i++) {
    const kind = i % KINDS.length;
    const damage = KINDS[kind] as (typeof KINDS)[number];
    const { changed, status } = rig.strike((injector) => damage(rig, roll, injector));
    if (changed.length === 0) {
      assert.equal(status, 0); // A block swapped with itself.
      continue;
    }
    hits[kind]++;
    assert.equal(status, -Errno.EILSEQ, `fault ${i} of kind ${kind} was missed`);
    assert.equal(rig.fault.interval, changed[0], `fault ${i} of kind ${kind}: wrong block`);
  }
  assert.ok(
    hits.every((count) => count > FAULTS / KINDS.length / 2),
    'every kind was made',
  );
  t.diagnostic(`${hits.reduce((sum, n) => sum + n)} faults injected, none missed`);
});

test('CRC16 finds every burst of up to 16 bits', () => {
  const rig = new Rig('crc16', CheckFlag.GUARD);
  const roll = dice(5);
  for (let i = 0; i < 2000; i++) {
    const mask = burst(roll, 2);
    const at = roll(BLOCK_BYTES - mask.length + 1);
    const { status } = rig.strike((injector) => injector.xor(roll(BLOCKS), 'data', at, mask));
    assert.equal(status, -Errno.EILSEQ);
    assert.equal(rig.fault.tag, PiTag.GUARD);
  }
});

test('what cannot be seen: both lost, and 2^32 blocks away with 32-bit ref tags', () => {
  for (const csum of ['crc16', 'crc64'] as const) {
    const rig = new Rig(csum, CheckFlag.GUARD | CheckFlag.REF);
    const lost = rig.strike((injector) => injector.put(3, rig.old[3] as BlockCopy));
    assert.deepEqual(lost, { changed: [3], status: 0 });
    const far = rig.strike((injector) => injector.put(3, rig.far[3] as BlockCopy));
    assert.deepEqual(far.changed, [3]);
    assert.equal(far.status, csum === 'crc16' ? 0 : -Errno.EILSEQ);
  }
});
