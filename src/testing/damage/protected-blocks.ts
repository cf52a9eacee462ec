import { assert } from '../../base/assert.ts';
import { BvecTable } from '../../bvec/bvec-table.ts';
import { generate } from '../../integrity/generate.ts';
import { type BlockCopy, PiInjector } from '../../integrity/injector.ts';
import { type IntegrityProfile, intervalBytes } from '../../integrity/integrity-profile.ts';
import { PiWalk } from '../../integrity/pi-walk.ts';
import { CheckFlag, PiCheck, PiFault, verify } from '../../integrity/verify.ts';
import { Arena } from '../../memory/arena.ts';
import type { ArenaBuffer } from '../../memory/arena-buffer.ts';
import { HoldKind } from '../../memory/holds.ts';
import type { SeededRandom } from '../simulator/seeded-random.ts';

const ARENA_BYTES = 8 * 2 ** 20;

/** A part of the rows, moved from call to call. */
interface Window {
  readonly table: BvecTable;
  row: number;
  done: number;
  size: number;
}

/**
 * Blocks with their tuples in page frames, and what each was before and is meant to be now. Tests
 * damage them, look whether it is found, and mend them. Blocks are counted from 0; their ref tags
 * from `firstBlock`.
 */
export class ProtectedBlocks {
  readonly injector: PiInjector;
  /** What a block held before it was written last, under the same ref tag. */
  before: readonly BlockCopy[] = [];
  now: readonly BlockCopy[] = [];
  readonly profile: IntegrityProfile;
  readonly count: number;
  readonly firstBlock: number;
  readonly #arena = new Arena({ label: 'damage', maxBytes: ARENA_BYTES, places: false });
  readonly #buffers: ArenaBuffer[] = [];
  readonly #data: Window;
  readonly #records: Window;
  readonly #walk = new PiWalk();
  readonly #check = new PiCheck();
  readonly #fault = new PiFault();

  constructor(
    profile: IntegrityProfile,
    { count, firstBlock, random }: { count: number; firstBlock: number; random: SeededRandom },
  ) {
    this.profile = profile;
    this.count = count;
    this.firstBlock = firstBlock;
    this.#data = this.#rows(count * intervalBytes(profile));
    this.#records = this.#rows(count * profile.metadata_size);
    this.#check.flags = CheckFlag.GUARD | CheckFlag.REF;
    this.injector = new PiInjector(profile, { ...this.#data }, { ...this.#records });
    this.rewrite(random);
    this.rewrite(random);
  }

  /** Every block is written once more, with other data. */
  rewrite(random: SeededRandom): void {
    for (const buffer of this.#buffers) fillRandom(buffer.bytes, random);
    this.#generate(0, this.count, this.firstBlock);
    this.before = this.now;
    this.now = Array.from({ length: this.count }, (_, block) => this.injector.copyOf(block));
  }

  /** CheckFlag: what `find` looks at. */
  set checks(flags: number) {
    this.#check.flags = flags;
  }

  /** The first bad block of `count` from `first` on, or -1. */
  find(first: number, count: number): number {
    this.#window(first, count);
    this.#check.seed = this.firstBlock + first;
    this.#walk.startSeparate(this.profile, this.#data, this.#records);
    const result = verify(this.#walk, this.profile, this.#check, this.#fault);
    return result === 0 ? -1 : first + this.#fault.interval;
  }

  /** The block holds again what it is meant to. */
  mend(block: number): void {
    this.injector.put(block, this.now[block]);
  }

  /**
   * What a program wrote to `block` + `distance`: other data, under that block's ref tag. It is in
   * no place yet.
   */
  writtenFor(block: number, distance: number): BlockCopy {
    const { data } = this.before[block];
    this.injector.put(block, { data, record: new Uint8Array(this.profile.metadata_size) });
    this.#generate(block, 1, this.firstBlock + block + distance);
    const copy = this.injector.copyOf(block);
    this.mend(block);
    return copy;
  }

  [Symbol.dispose](): void {
    for (const buffer of this.#buffers) buffer[Symbol.dispose]();
    this.#arena.assertNothingOutstanding();
    this.#arena[Symbol.dispose]();
  }

  #rows(bytes: number): Window {
    const buffer = this.#arena.alloc(bytes);
    this.#buffers.push(buffer);
    const table = new BvecTable(1);
    table.set(0, buffer.page, 0, bytes, HoldKind.BORROWED);
    return { table, row: 0, done: 0, size: bytes };
  }

  #generate(first: number, count: number, seed: number): void {
    this.#window(first, count);
    this.#walk.startSeparate(this.profile, this.#data, this.#records);
    generate(this.#walk, this.profile, seed);
  }

  #window(first: number, count: number): void {
    assert(first >= 0 && first + count <= this.count, 'damage: outside the blocks');
    const bytes = intervalBytes(this.profile);
    this.#data.done = first * bytes;
    this.#data.size = count * bytes;
    this.#records.done = first * this.profile.metadata_size;
    this.#records.size = count * this.profile.metadata_size;
  }
}

export function fillRandom(bytes: Uint8Array, random: SeededRandom): void {
  for (let i = 0; i < bytes.length; i += 4) {
    const word = random.uint32();
    for (let k = 0; k < 4; k++) bytes[i + k] = word >>> (8 * k);
  }
}
