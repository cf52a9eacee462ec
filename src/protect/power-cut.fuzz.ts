import assert from 'node:assert/strict';
import { PowerHistory } from '../testing/simulator/power-history.ts';
import { SeededRandom } from '../testing/simulator/seeded-random.ts';
import type { Media, Rig, RigOptions } from './protect-rig.fuzz.ts';
import { openRig } from './protect-rig.fuzz.ts';
import type { RecoveryReport } from './recovery.ts';

// A workload on a protected disk, remembered together with what its two disks did: then the power
// can go at any moment of it, again and again, and what is left is judged by a model that knows
// nothing of tuples.

/** One thing that a block may hold. Times are events of the history. */
interface Version {
  /** 0: zeros, after WRITE_ZEROES; -1: what was there in the beginning. */
  readonly stamp: number;
  readonly issued: number;
  ended: number;
  /** When the program was told that it is on the medium. */
  durable: number;
}

export interface WorkloadOptions {
  readonly seed: number;
  readonly media: Media;
  readonly blockBytes: number;
  readonly steps: number;
  readonly rig?: RigOptions;
  /** Blocks of the longest write. */
  readonly blocksMax?: number;
  /** How often it is closed and opened again. Default 1. */
  readonly sessions?: number;
}

const NEVER = Number.POSITIVE_INFINITY;

/** Contents of a block: every 512 bytes of it are told from those of every other version. */
export function stampBlock(into: Uint8Array, block: number, stamp: number, salt: number): void {
  if (stamp === 0) {
    into.fill(0);
    return;
  }
  const words = new Uint32Array(into.length / 4);
  for (let i = 0; i < words.length; i++) {
    words[i] = Math.imul(block * 0x9e37 + stamp * 0x85eb + salt, 0x27d4eb2f) + i * 0x1b873593;
  }
  into.set(new Uint8Array(words.buffer));
}

/** A run, and what may be read after it was cut short. */
export class CutWorkload {
  readonly history = new PowerHistory();
  readonly blocks: number;
  readonly #options: WorkloadOptions;
  readonly #random: SeededRandom;
  readonly #versions: Version[][];
  readonly #initial: Uint8Array;
  #stamp = 0;

  constructor(options: WorkloadOptions) {
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    this.blocks = options.media.data.length / options.blockBytes;
    this.#initial = options.media.data.slice();
    const first = (): Version[] => [{ stamp: -1, issued: 0, ended: 0, durable: 0 }];
    this.#versions = Array.from({ length: this.blocks }, first);
  }

  /** Runs all steps, a few at once, and closes; in each session. */
  async run(): Promise<void> {
    const { sessions = 1 } = this.#options;
    for (let i = 0; i < sessions; i++) await this.#session();
  }

  async #session(): Promise<void> {
    const { media, steps, seed, rig } = this.#options;
    const opened = await openRig(media, { ...rig, seed: seed + 1, history: this.history });
    const running: Promise<void>[] = [];
    for (let i = 0; i < steps; i++) {
      running.push(this.#step(opened));
      if (running.length >= 4 || this.#random.chance(0.3)) await Promise.all(running.splice(0));
    }
    await Promise.all(running);
    await opened.disk.close();
  }

  async #step(rig: Rig): Promise<void> {
    const dice = this.#random.below(20);
    if (dice === 0) await this.#flush(rig);
    else if (dice === 1) await this.#zero(rig);
    else if (dice < 4) await this.#read(rig);
    else await this.#write(rig, dice === 4);
  }

  #range(): [number, number] {
    const { blocksMax = 6 } = this.#options;
    const first = this.#random.below(this.blocks);
    const most = Math.min(
      this.blocks - first,
      this.#random.chance(0.1) ? 4 * blocksMax : blocksMax,
    );
    return [first, this.#random.between(1, most)];
  }

  async #write(rig: Rig, fua: boolean): Promise<void> {
    const { blockBytes, seed } = this.#options;
    const [first, count] = this.#range();
    const bytes = new Uint8Array(count * blockBytes);
    const stamp = ++this.#stamp;
    for (let i = 0; i < count; i++) {
      const at = i * blockBytes;
      stampBlock(bytes.subarray(at, at + blockBytes), first + i, stamp, seed);
    }
    const versions = this.#begin(first, count, stamp);
    await rig.disk.write(bytes, { position: first * blockBytes, fua });
    this.#end(versions, fua);
  }

  async #zero(rig: Rig): Promise<void> {
    const { blockBytes } = this.#options;
    const [first, count] = this.#range();
    const versions = this.#begin(first, count, 0);
    await rig.disk.writeZeroes(first * blockBytes, count * blockBytes);
    this.#end(versions, false);
  }

  #begin(first: number, count: number, stamp: number): Version[] {
    const issued = this.history.tick();
    const list: Version[] = [];
    for (let block = first; block < first + count; block++) {
      const version = { stamp, issued, ended: NEVER, durable: NEVER };
      (this.#versions[block] as Version[]).push(version);
      list.push(version);
    }
    return list;
  }

  #end(versions: readonly Version[], isDurable: boolean): void {
    const now = this.history.tick();
    for (const version of versions) {
      version.ended = now;
      if (isDurable) version.durable = now;
    }
  }

  async #flush(rig: Rig): Promise<void> {
    const begun = this.history.tick();
    await rig.disk.flush();
    const now = this.history.tick();
    for (const list of this.#versions) {
      for (const version of list) {
        if (version.ended < begun) version.durable = Math.min(version.durable, now);
      }
    }
  }

  /** A read of any range never fails. */
  async #read(rig: Rig): Promise<void> {
    const { blockBytes } = this.#options;
    const [first, count] = this.#range();
    await rig.disk.read(new Uint8Array(count * blockBytes), { position: first * blockBytes });
  }

  /** What they hold when the process is killed at event `at`: the system keeps what it took. */
  mediaAfterKill(at: number, random: SeededRandom): Media {
    return { data: this.history.kill(0, at, random), store: this.history.kill(1, at, random) };
  }

  /**
   * Asserts that no block was taken as it is whose every write the program knew to be on the medium
   * at event `at`.
   */
  judgeTaken(recovery: RecoveryReport | null, at: number): void {
    for (const block of [...(recovery?.torn ?? []), ...(recovery?.unlogged ?? [])]) {
      const list = this.#versions[block] as Version[];
      const isOpen = list.some((version) => version.issued <= at && version.durable > at);
      assert(isOpen, `block ${block} was flushed, and yet not compared with its tuple`);
    }
  }

  /** Whether the program knew at event `at` that something of it is on the medium. */
  hasKept(at: number): boolean {
    return this.#versions.some((list) =>
      list.some(({ stamp, durable }) => stamp >= 0 && durable <= at),
    );
  }

  /** Blocks that some write had not finished with at event `at`. */
  blocksInFlight(at: number): Set<number> {
    const blocks = new Set<number>();
    this.#versions.forEach((list, block) => {
      if (list.some((version) => version.issued <= at && version.ended > at)) blocks.add(block);
    });
    return blocks;
  }

  /** What the media may hold when the power goes at event `at`. */
  mediaAt(at: number, random: SeededRandom, sectorBytes: number): Media {
    const options = { random, sectorBytes };
    return { data: this.history.cut(0, at, options), store: this.history.cut(1, at, options) };
  }

  /**
   * Asserts that every block of `bytes`, read after a cut at `at`, is one of its legal versions;
   * with sectors smaller than a block, each sector of it.
   */
  judge(bytes: Uint8Array, at: number, sectorBytes: number): void {
    const { blockBytes } = this.#options;
    const expected = new Uint8Array(blockBytes);
    const unit = Math.min(sectorBytes, blockBytes);
    for (let block = 0; block < this.blocks; block++) {
      const actual = bytes.subarray(block * blockBytes, (block + 1) * blockBytes);
      const isGood = new Array(blockBytes / unit).fill(false) as boolean[];
      for (const version of this.#legal(block, at)) {
        this.#fill(expected, block, version.stamp);
        for (let i = 0; i < isGood.length; i++) {
          if (!isGood[i]) isGood[i] = same(actual, expected, i * unit, unit);
        }
      }
      assert(
        !isGood.includes(false),
        `block ${block} holds what nobody wrote, or lost what was flushed`,
      );
    }
  }

  #fill(into: Uint8Array, block: number, stamp: number): void {
    const { blockBytes, seed } = this.#options;
    const at = block * blockBytes;
    if (stamp < 0) into.set(this.#initial.subarray(at, at + blockBytes));
    else stampBlock(into, block, stamp, seed);
  }

  /** From the last version that the program knows to be on the medium on. */
  #legal(block: number, at: number): Version[] {
    const list = (this.#versions[block] as Version[]).filter((version) => version.issued <= at);
    let floor = 0;
    list.forEach((version, i) => {
      if (version.durable <= at) floor = i;
    });
    const least = list[floor] as Version;
    // A write that was under way at the same time may have come before or after.
    return list.filter((version, i) => i >= floor || version.ended > least.issued);
  }
}

function same(a: Uint8Array, b: Uint8Array, start: number, bytes: number): boolean {
  for (let i = start; i < start + bytes; i++) if (a[i] !== b[i]) return false;
  return true;
}

/**
 * Opens what a cut left, reads all of it, and closes. Of every third the next opening must find
 * nothing to mend, and the same bytes.
 */
export async function mendAndRead(
  media: Media,
  rig: RigOptions,
  seed: number,
): Promise<{ readonly bytes: Uint8Array; readonly recovery: RecoveryReport | null }> {
  const { disk, engine } = await openRig(media, { ...rig, seed });
  const { buffer } = await disk.read(new Uint8Array(media.data.length), { position: 0 });
  await disk.close();
  if (seed % 3 === 0) {
    const again = await openRig(media, { seed });
    assert.equal(again.engine.recovery, null);
    const second = await again.disk.read(new Uint8Array(buffer.length), { position: 0 });
    assert.equal(Buffer.compare(second.buffer, buffer), 0);
    await again.disk.close();
  }
  return { bytes: buffer, recovery: engine.recovery };
}
