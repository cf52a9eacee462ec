import { assert } from '../../base/assert.ts';
import type { SeededRandom } from './seeded-random.ts';

// What reached disks with volatile caches, and when: enough to say what may be on their media if
// the power goes at any moment.

/** One write, as the disk was given it. Times are events, counted over all disks. */
interface MediumWrite {
  readonly disk: number;
  readonly start: number;
  readonly bytes: Uint8Array;
  readonly isFua: boolean;
  readonly issued: number;
  done: number;
}

interface MediumFlush {
  readonly disk: number;
  readonly issued: number;
  done: number;
}

/** How a disk tears and forgets. */
export interface CutOptions {
  /** Bytes that are written as a whole or not at all. */
  readonly sectorBytes: number;
  readonly random: SeededRandom;
}

/**
 * The past of a few disks. The rule for what a cut at event `t` leaves, by sector: the newest write
 * that was made durable by then (FUA, or a flush that began after the write had ended), or any
 * later one that was given to the disk, in any combination.
 */
export class PowerHistory {
  readonly #writes: MediumWrite[] = [];
  readonly #flushes: MediumFlush[] = [];
  readonly #initial: Uint8Array[] = [];
  readonly #names: string[] = [];
  #clock = 0;

  /** Events so far. */
  get now(): number {
    return this.#clock;
  }

  get writes(): number {
    return this.#writes.length;
  }

  /** When each write was given to its disk: the moments worth a cut. */
  get writeTimes(): readonly number[] {
    return this.#writes.map((write) => write.issued);
  }

  /** A disk that was opened before goes on with its past. */
  addDisk(name: string, initial: Uint8Array): number {
    const known = this.#names.indexOf(name);
    if (known >= 0) return known;
    this.#names.push(name);
    this.#initial.push(initial.slice());
    return this.#initial.length - 1;
  }

  /** An event that is none of a disk's. */
  tick(): number {
    return ++this.#clock;
  }

  issueWrite(disk: number, start: number, bytes: Uint8Array, isFua: boolean): number {
    const issued = this.tick();
    this.#writes.push({ disk, start, bytes, isFua, issued, done: Number.POSITIVE_INFINITY });
    return this.#writes.length - 1;
  }

  endWrite(index: number): void {
    const write = this.#writes[index];
    assert(write !== undefined, 'history: no such write');
    write.done = this.tick();
  }

  issueFlush(disk: number): number {
    const issued = this.tick();
    this.#flushes.push({ disk, issued, done: Number.POSITIVE_INFINITY });
    return this.#flushes.length - 1;
  }

  endFlush(index: number): void {
    const flush = this.#flushes[index];
    assert(flush !== undefined, 'history: no such flush');
    flush.done = this.tick();
  }

  /** What one disk may hold when the power goes at event `at`: one of the legal outcomes. */
  cut(disk: number, at: number, options: CutOptions): Uint8Array {
    const { random, sectorBytes } = options;
    const medium = (this.#initial[disk] as Uint8Array).slice();
    const flushed = this.#flushedBefore(disk, at);
    // Some cuts lose all that may be lost, some nothing, most of them a part.
    const kept = random.pick([0, 0.1, 0.5, 0.9, 1]);
    const tears = random.chance(0.5);
    for (const write of this.#writes) {
      if (write.disk !== disk || write.issued > at) continue;
      const isDurable = write.done <= flushed || (write.isFua && write.done <= at);
      const isWhole = isDurable || (!tears && random.chance(kept));
      if (isWhole) medium.set(write.bytes, write.start);
      else if (tears) {
        for (let byte = 0; byte < write.bytes.length; byte += sectorBytes) {
          if (!random.chance(kept)) continue;
          medium.set(write.bytes.subarray(byte, byte + sectorBytes), write.start + byte);
        }
      }
    }
    return medium;
  }

  /** What the system has of a disk when a process is killed: all that ended, some of the rest. */
  kill(disk: number, at: number, random: SeededRandom): Uint8Array {
    const medium = (this.#initial[disk] as Uint8Array).slice();
    for (const write of this.#writes) {
      if (write.disk !== disk || write.issued > at) continue;
      if (write.done <= at || random.chance(0.5)) medium.set(write.bytes, write.start);
    }
    return medium;
  }

  /** When the last flush began that had ended by then. */
  #flushedBefore(disk: number, at: number): number {
    let last = 0;
    for (const flush of this.#flushes) {
      if (flush.disk === disk && flush.done <= at) last = Math.max(last, flush.issued);
    }
    return last;
  }
}
