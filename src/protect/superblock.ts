import { PAGE_BYTES } from '../base/units.ts';
import { CSUMS, type Csum } from '../integrity/integrity-profile.ts';
import { zeroPages } from '../memory/copy.ts';
import { byteAt, regionOf } from '../memory/region.unsafe.ts';
import { getU32, getU64, putU32, putU64 } from './le-bytes.ts';
import { Seal } from './seal.ts';

// Two copies, written in turn: the one with the higher sequence that is whole counts. A commit is
// done when its superblock is on the medium, and not before.
//
//   0   magic 'BVPROTEC'      8 bytes     56  sequence        u64   commits so far
//   8   version               u32         64  tail            u64   where the log begins
//   12  csum, interval_exp    u8, u8      72  state           u32   StoreState
//   14  tuple bytes, fresh    u8, u8      76  -
//   16  data bytes            u64         80  host boot       16 bytes
//   24  log bytes             u64         96  root            u64   seal of the table's sequences
//   32  salt                  u64         4088 seal           u64
//   40  stretch pages          u32
//   44  ordered               u32         0 or 1

export const STORE_VERSION = 1;
const MAGIC = [0x42, 0x56, 0x50, 0x52, 0x4f, 0x54, 0x45, 0x43] as const;
const SEAL_AT = PAGE_BYTES - 8;
export const BOOT_BYTES = 16;

export const StoreState = {
  /** Writes may be in flight: after a crash the log and the open stretches tell the truth. */
  OPEN: 1,
  /** Everything is in the tuple pages and on the medium. */
  CLEAN: 2,
  /** Everything is in the tuple pages, but the host may still have it in its cache. */
  UNFLUSHED: 3,
  /** The tuples of what was there before are being made. */
  UNFINISHED: 4,
  /**
   * As OPEN, but every stretch counts as open, without a mark: a store that was just made, nothing
   * of which need be on the medium before the first flush.
   */
  NEW: 5,
} as const;
export type StoreState = (typeof StoreState)[keyof typeof StoreState];

/** What a block that nobody wrote has for a tuple. */
export const FreshBlocks = {
  /** That of zeros. */
  ZEROS: 0,
  /** One that switches checking off: nobody knows what is there. */
  UNCHECKED: 1,
} as const;
export type FreshBlocks = (typeof FreshBlocks)[keyof typeof FreshBlocks];

export interface Superblock {
  readonly csum: Csum;
  readonly intervalExp: number;
  readonly tupleBytes: number;
  readonly fresh: FreshBlocks;
  readonly dataBytes: number;
  readonly logBytes: number;
  readonly salt: Salt;
  /**
   * Every record of the log was on the medium before its data was sent: a block that fits no
   * tuple after a crash was not in flight without a record.
   */
  readonly isOrdered: boolean;
  /** Tuple pages of a stretch. */
  readonly stretchPages: number;
  readonly sequence: number;
  readonly tail: number;
  readonly state: StoreState;
  /** Which run of the host closed it UNFLUSHED; zeros otherwise. */
  readonly boot: Uint8Array;
  /** Seal over the sequences of the table's pages: which of them belong to this commit. */
  readonly root: Salt;
}

/** Writes may be in flight, or were when the power went. */
export function isUnclosed({ state }: Superblock): boolean {
  return state === StoreState.OPEN || state === StoreState.NEW;
}

/** 64 bits as two signed numbers. */
export interface Salt {
  readonly low: number;
  readonly high: number;
}

const plainSeal = new Seal({ low: 0, high: 0 });

/** Writes `block` into the page frame `page`. */
export function encodeSuperblock(page: number, block: Superblock): void {
  zeroPages(page, 0, PAGE_BYTES);
  const { u8 } = regionOf(page);
  const at = byteAt(page, 0);
  u8.set(MAGIC, at);
  putU32(u8, at + 8, STORE_VERSION);
  u8[at + 12] = CSUMS.indexOf(block.csum);
  u8[at + 13] = block.intervalExp;
  u8[at + 14] = block.tupleBytes;
  u8[at + 15] = block.fresh;
  putU64(u8, at + 16, block.dataBytes);
  putU64(u8, at + 24, block.logBytes);
  putU32(u8, at + 32, block.salt.low);
  putU32(u8, at + 36, block.salt.high);
  putU32(u8, at + 40, block.stretchPages);
  putU32(u8, at + 44, block.isOrdered ? 1 : 0);
  putU64(u8, at + 56, block.sequence);
  putU64(u8, at + 64, block.tail);
  putU32(u8, at + 72, block.state);
  u8.set(block.boot.subarray(0, BOOT_BYTES), at + 80);
  putU32(u8, at + 96, block.root.low);
  putU32(u8, at + 100, block.root.high);
  plainSeal.start();
  plainSeal.add(page, 0, SEAL_AT);
  plainSeal.put(u8, at + SEAL_AT);
}

/** 'unknown': there is no superblock; 'damaged': there was one. */
export type NoSuperblock = 'unknown' | 'damaged' | 'other version';

export function decodeSuperblock(page: number): Superblock | NoSuperblock {
  const { u8 } = regionOf(page);
  const at = byteAt(page, 0);
  if (MAGIC.some((byte, i) => u8[at + i] !== byte)) return 'unknown';
  plainSeal.start();
  plainSeal.add(page, 0, SEAL_AT);
  if (!plainSeal.is(u8, at + SEAL_AT)) return 'damaged';
  if (getU32(u8, at + 8) !== STORE_VERSION) return 'other version';
  return {
    csum: CSUMS[u8[at + 12] as number] as Csum,
    intervalExp: u8[at + 13] as number,
    tupleBytes: u8[at + 14] as number,
    fresh: u8[at + 15] as FreshBlocks,
    dataBytes: getU64(u8, at + 16),
    logBytes: getU64(u8, at + 24),
    salt: { low: getU32(u8, at + 32) | 0, high: getU32(u8, at + 36) | 0 },
    stretchPages: getU32(u8, at + 40),
    isOrdered: getU32(u8, at + 44) === 1,
    sequence: getU64(u8, at + 56),
    tail: getU64(u8, at + 64),
    state: getU32(u8, at + 72) as StoreState,
    boot: Uint8Array.from(u8.subarray(at + 80, at + 80 + BOOT_BYTES)),
    root: { low: getU32(u8, at + 96) | 0, high: getU32(u8, at + 100) | 0 },
  };
}
