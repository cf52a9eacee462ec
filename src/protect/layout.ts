import { BlockError } from '../base/block-error.ts';
import { formatSize, KIB, MIB, PAGE_BYTES, roundUp, SECTOR_BYTES } from '../base/units.ts';
import { type IntegrityProfile, intervalBytes } from '../integrity/integrity-profile.ts';

// Where things stand in the store, the second device that holds the tuples of the first. Bytes:
//
//   0                superblock, copy 0
//   4096             log of intended tuples, a ring
//   4096 + log       table of generations: slot 0 of every page, then slot 1
//   ...              tuple pages: slot 0 of every page, then slot 1
//   end - 4096       superblock, copy 1
//
// A page that changes is written to the slot that is not its current one, so that a torn write
// costs nothing. 1 GiB of data in intervals of 4 KiB with 16-byte tuples: 262144 tuples on 1033
// pages, 3 pages of table; with two slots of each and a log of 8 MiB the store has 16.1 MiB.

/** Header of a tuple page and of a page of the table; see `seal.ts`. */
export const PAGE_HEADER_BYTES = 32;
/** An entry of the table: generation and check of one tuple page, 32 bits each. */
export const TABLE_ENTRY_BYTES = 8;
export const TABLE_ENTRIES = (PAGE_BYTES - PAGE_HEADER_BYTES) / TABLE_ENTRY_BYTES;
/** Tuple pages under one mark of the stretch map: about 32 MiB of data at 4 KiB and 16 bytes. */
export const STRETCH_PAGES_DEFAULT = 32;
/** The log is read as a whole after a crash, into memory. */
const LOG_BYTES_MIN = 256 * KIB;
const LOG_BYTES_MAX = 64 * MIB;
/** Memory has 12 bytes for each tuple page; more than that is no bounded memory. */
const PAGES_MAX = 2 ** 26;

export interface LayoutOptions {
  readonly profile: IntegrityProfile;
  /** Bytes of data that are protected. */
  readonly dataBytes: number;
  /** Default: 1/128 of the data, 256 KiB to 64 MiB. */
  readonly logBytes?: number | undefined;
  /** Default 32. */
  readonly stretchPages?: number | undefined;
}

/** Sizes and places of one store. All in bytes unless the name says otherwise. */
export class Layout {
  readonly profile: IntegrityProfile;
  readonly dataBytes: number;
  readonly logBytes: number;
  readonly intervalBytes: number;
  readonly tupleBytes: number;
  /** Intervals of data. */
  readonly blocks: number;
  readonly tuplesPerPage: number;
  readonly pages: number;
  readonly tablePages: number;
  readonly stretchPages: number;
  readonly stretches: number;
  readonly logStart = PAGE_BYTES;
  readonly storeBytes: number;
  readonly #tableStart: number;
  readonly #pagesStart: number;

  /** Throws BlockError EINVAL for data that is no whole number of intervals. */
  constructor(options: LayoutOptions) {
    const { profile, dataBytes } = options;
    this.profile = profile;
    this.dataBytes = dataBytes;
    this.intervalBytes = intervalBytes(profile);
    this.tupleBytes = profile.metadata_size;
    this.blocks = dataBytes / this.intervalBytes;
    if (!Number.isInteger(this.blocks) || this.blocks === 0) {
      const reason = `${dataBytes} bytes are no multiple of the interval, ${this.intervalBytes}`;
      throw new BlockError('EINVAL', { reason });
    }
    this.tuplesPerPage = Math.floor((PAGE_BYTES - PAGE_HEADER_BYTES) / this.tupleBytes);
    this.pages = Math.ceil(this.blocks / this.tuplesPerPage);
    if (this.pages > PAGES_MAX) {
      const most = formatSize(PAGES_MAX * this.tuplesPerPage * this.intervalBytes);
      const reason = `an image of ${formatSize(dataBytes)} is too large: at most ${most}`;
      throw new BlockError('EINVAL', { reason });
    }
    this.tablePages = Math.ceil(this.pages / TABLE_ENTRIES);
    this.stretchPages = options.stretchPages ?? STRETCH_PAGES_DEFAULT;
    this.stretches = Math.ceil(this.pages / this.stretchPages);
    this.logBytes = options.logBytes ?? defaultLogBytes(dataBytes);
    if (this.logBytes < 4 * PAGE_BYTES || this.logBytes % PAGE_BYTES !== 0) {
      const reason = `a log of ${this.logBytes} bytes is no multiple of 4096, at least 16384`;
      throw new BlockError('EINVAL', { reason });
    }
    this.#tableStart = this.logStart + this.logBytes;
    this.#pagesStart = this.#tableStart + 2 * this.tablePages * PAGE_BYTES;
    this.storeBytes = this.#pagesStart + (2 * this.pages + 1) * PAGE_BYTES;
  }

  /** Where copy 0 or 1 of the superblock stands. */
  superblockAt(copy: number): number {
    return copy === 0 ? 0 : this.storeBytes - PAGE_BYTES;
  }

  tablePageAt(index: number, slot: number): number {
    return this.#tableStart + (slot * this.tablePages + index) * PAGE_BYTES;
  }

  tuplePageAt(index: number, slot: number): number {
    return this.#pagesStart + (slot * this.pages + index) * PAGE_BYTES;
  }

  /** Where byte `lsn` of the log stands. */
  logAt(lsn: number): number {
    return this.logStart + (lsn % this.logBytes);
  }

  pageOf(block: number): number {
    return Math.floor(block / this.tuplesPerPage);
  }

  stretchOf(block: number): number {
    return Math.floor(block / (this.tuplesPerPage * this.stretchPages));
  }

  /** First block of a tuple page. */
  firstBlockOf(page: number): number {
    return page * this.tuplesPerPage;
  }

  /** Tuples on a page: the last one may be in part empty. */
  blocksOn(page: number): number {
    return Math.min(this.tuplesPerPage, this.blocks - this.firstBlockOf(page));
  }

  /** Where the tuple of `block` stands in its page. */
  tupleAt(block: number): number {
    return PAGE_HEADER_BYTES + (block % this.tuplesPerPage) * this.tupleBytes;
  }
}

function defaultLogBytes(dataBytes: number): number {
  const wish = roundUp(dataBytes / 128, PAGE_BYTES);
  return Math.min(Math.max(wish, LOG_BYTES_MIN), LOG_BYTES_MAX);
}

/** 4096 where the image has whole ones, else 512; null: not even those. */
export function intervalFor(dataBytes: number): number | null {
  if (dataBytes > 0 && dataBytes % PAGE_BYTES === 0) return PAGE_BYTES;
  return dataBytes > 0 && dataBytes % SECTOR_BYTES === 0 ? SECTOR_BYTES : null;
}
