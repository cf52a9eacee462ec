import { PAGE_BYTES, SECTOR_BYTES } from '../../../base/units.ts';
import type { ModelProcess } from './model-process.ts';

/** How well the model knows a sector of an object. */
export const Certainty = {
  EXACT: 0,
  /** A race ended in one of several ways that are known: as in the model, or an alternative. */
  OPEN: 1,
  /** Nobody can say what is there: any byte is legal, once it is seen. */
  LOOSE: 2,
  /** The simulated disk spoiled it on purpose: whoever reads it has found an injected fault. */
  SPOILED: 3,
} as const;
export type Certainty = (typeof Certainty)[keyof typeof Certainty];

/** Where a page of anonymous memory is mapped: `vpn` has byte 0 of the object. */
export interface Home {
  readonly process: ModelProcess;
  readonly vpn: number;
}

/** What a range may have instead of the bytes of the model. */
interface Alternative {
  readonly at: number;
  readonly bytes: Uint8Array;
}

/** Beyond these a range is LOOSE: the outcome of so many races is anybody's guess. */
const ALTERNATIVES_MAX = 64;

/**
 * What must be in a file, a raw range of a disk, or memory of a process, byte by byte. The truth
 * of the simulated world: what the path did is compared with it, never the other way round but
 * where several outcomes are legal.
 */
export class ModelObject {
  readonly name: string;
  /** Whole pages. Shared with others until the first `write`: look, but do not touch. */
  bytes: Uint8Array;
  #isOwn: boolean;
  /** By sector. */
  readonly certainty: Uint8Array;
  /** By sector: when the disk spoiled it last. */
  readonly spoiledNs: Float64Array;
  /** Sectors that are not EXACT. */
  uncertain = 0;
  /** For OPEN sectors; those of others mean nothing. */
  #alternatives: Alternative[] = [];
  /** Anonymous memory: one for private pages, several for shared ones. */
  readonly homes: Home[] = [];
  /** Changes so far: who compares at two moments knows whether something happened between. */
  version = 0;

  /** Bytes of a disk, not of memory: it has no homes. */
  readonly isFile: boolean;

  constructor(name: string, bytes: number, isFile = false) {
    this.isFile = isFile;
    this.name = name;
    const whole = Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES;
    this.#isOwn = whole > PAGE_BYTES;
    this.bytes = this.#isOwn ? new Uint8Array(whole) : ZERO_PAGE;
    this.certainty = new Uint8Array(this.bytes.length / SECTOR_BYTES);
    this.spoiledNs = isFile ? new Float64Array(this.certainty.length) : NEVER;
  }

  write(at: number, from: Uint8Array, fromAt: number, bytes: number): void {
    if (!this.#isOwn) {
      this.bytes = this.bytes.slice();
      this.#isOwn = true;
    }
    this.version++;
    if (bytes === from.length) this.bytes.set(from, at);
    else this.bytes.set(from.subarray(fromAt, fromAt + bytes), at);
  }

  /** Pre: one page. It has what the page at `at` of `other` has now, doubts included. */
  copyPage(other: ModelObject, at: number): void {
    const isPage = other.bytes.length === PAGE_BYTES;
    this.bytes = isPage ? other.bytes : other.bytes.slice(at, at + PAGE_BYTES);
    this.#isOwn = !isPage;
    if (isPage) other.#isOwn = false; // Each takes a copy when it is written to.
    if (other.uncertain === 0) return;
    const first = at / SECTOR_BYTES;
    for (let i = 0; i < this.certainty.length; i++) {
      const certainty = other.certainty[first + i];
      this.certainty[i] = certainty === Certainty.OPEN ? Certainty.LOOSE : certainty;
      if (this.certainty[i] !== Certainty.EXACT) this.uncertain++;
    }
  }

  isExact(at: number, bytes: number): boolean {
    if (this.uncertain === 0) return true;
    const end = Math.floor((at + bytes - 1) / SECTOR_BYTES);
    for (let i = Math.floor(at / SECTOR_BYTES); i <= end; i++) {
      if (this.certainty[i] !== Certainty.EXACT) return false;
    }
    return true;
  }

  certaintyAt(at: number): Certainty {
    if (this.uncertain === 0) return Certainty.EXACT;
    return this.certainty[Math.floor(at / SECTOR_BYTES)] as Certainty;
  }

  /** Marks every sector that [at, at + bytes) touches. */
  doubt(at: number, bytes: number, certainty: Certainty): void {
    if (bytes === 0) return;
    const end = Math.floor((at + bytes - 1) / SECTOR_BYTES);
    for (let i = Math.floor(at / SECTOR_BYTES); i <= end; i++) {
      if (this.certainty[i] === Certainty.EXACT) this.uncertain++;
      if (this.certainty[i] < certainty) this.certainty[i] = certainty;
    }
  }

  /** A race may have left `bytes` from `at` on, and nobody has seen yet whether. Keeps them. */
  mayBe(at: number, bytes: Uint8Array): void {
    if (this.#alternatives.length >= ALTERNATIVES_MAX) this.#forgetSettled();
    const isFull = this.#alternatives.length >= ALTERNATIVES_MAX;
    if (!isFull) this.#alternatives.push({ at, bytes });
    this.doubt(at, bytes.length, isFull ? Certainty.LOOSE : Certainty.OPEN);
  }

  #forgetSettled(): void {
    this.#alternatives = this.#alternatives.filter(({ at, bytes }) => {
      const end = Math.floor((at + bytes.length - 1) / SECTOR_BYTES);
      for (let i = Math.floor(at / SECTOR_BYTES); i <= end; i++) {
        if (this.certainty[i] === Certainty.OPEN) return true;
      }
      return false;
    });
  }

  /** True when byte `at` may be `value` although the model has another. */
  allows(at: number, value: number): boolean {
    const certainty = this.certaintyAt(at);
    if (certainty !== Certainty.OPEN) return certainty !== Certainty.EXACT;
    for (const known of this.#alternatives) if (known.bytes[at - known.at] === value) return true;
    return false;
  }

  /** The disk spoiled the sector of byte `at`. */
  spoil(at: number, nowNs: number): void {
    this.doubt(at, 1, Certainty.SPOILED);
    this.spoiledNs[Math.floor(at / SECTOR_BYTES)] = nowNs;
  }

  /**
   * Every sector that lies in [at, at + bytes) as a whole was written anew by something that
   * began at `sinceNs`: what the disk spoiled since then stays spoiled.
   */
  trust(at: number, bytes: number, sinceNs: number): void {
    if (this.uncertain === 0) return;
    const end = Math.floor((at + bytes) / SECTOR_BYTES);
    for (let i = Math.ceil(at / SECTOR_BYTES); i < end; i++) {
      if (this.certainty[i] === Certainty.SPOILED && this.spoiledNs[i] >= sinceNs) continue;
      if (this.certainty[i] !== Certainty.EXACT) this.uncertain--;
      this.certainty[i] = Certainty.EXACT;
    }
    if (this.uncertain === 0 && this.#alternatives.length > 0) this.#alternatives = [];
  }
}

const ZERO_PAGE = new Uint8Array(PAGE_BYTES);
const NEVER = new Float64Array(0);

/** Bytes of zeros to compare with, where nothing was ever written. */
export const ZEROS = new Uint8Array(256 * 1024);
