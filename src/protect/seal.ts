import { PAGE_BYTES } from '../base/units.ts';
import { updateGuard } from '../integrity/guards/guard.ts';
import { GuardState } from '../integrity/guards/guard-state.ts';
import { byteAt, regionOf } from '../memory/region.unsafe.ts';
import { getU32, getU64, putU32, putU64 } from './le-bytes.ts';

// Header of a page of tuples or of the table:   unit
//   0   magic        4 bytes
//   4   generation   u32     one more each time that this page is written
//   8   index        u64     which page it is
//   16  sequence     u64     the commit that wrote it
//   24  seal         u64     CRC64 of all other bytes, started with the salt of the image

export const PageMagic = { TUPLES: 0x54504942, TABLE: 0x47504942 } as const;
export type PageMagic = (typeof PageMagic)[keyof typeof PageMagic];

const SEAL_AT = 24;
const BODY_AT = 32;

/** What is wrong with a page that was read back. */
export const PageFault = {
  NONE: 0,
  /** Nothing was ever written there. */
  MISSING: 1,
  /** Its seal does not fit: bits changed, or it was torn. */
  DAMAGED: 2,
  /** It is whole, but another page. */
  FOREIGN: 3,
  /** It is this page as it was earlier: a write was lost. */
  STALE: 4,
} as const;
export type PageFault = (typeof PageFault)[keyof typeof PageFault];
export const PAGE_FAULT_TEXT = [
  'is good',
  'was never written, though a commit says so: its write was lost',
  'is damaged',
  'is another page',
  'is an older one: its write was lost',
] as const;

/** Checksums of everything in a store, started with a number that no other store has. */
export class Seal {
  readonly #low: number;
  readonly #high: number;
  readonly #state = new GuardState();

  /** `salt`: two signed numbers of 32 bits. */
  constructor(salt: { readonly low: number; readonly high: number }) {
    this.#low = salt.low | 0;
    this.#high = salt.high | 0;
  }

  /** Starts a checksum. */
  start(): void {
    this.#state.low = this.#low;
    this.#state.high = this.#high;
  }

  add(page: number, offset: number, bytes: number): void {
    updateGuard('crc64', this.#state, regionOf(page), byteAt(page, offset), bytes);
  }

  put(u8: Uint8Array, at: number): void {
    putU32(u8, at, this.#state.low);
    putU32(u8, at + 4, this.#state.high);
  }

  is(u8: Uint8Array, at: number): boolean {
    const { low, high } = this.#state;
    return getU32(u8, at) === low >>> 0 && getU32(u8, at + 4) === high >>> 0;
  }

  /** Completes the header of a page in memory; 32 bits of its seal are what the table remembers. */
  sealPage(page: number, header: PageHeader): number {
    const { u8 } = regionOf(page);
    const at = byteAt(page, 0);
    putU32(u8, at, header.magic);
    putU32(u8, at + 4, header.generation);
    putU64(u8, at + 8, header.index);
    putU64(u8, at + 16, header.sequence);
    this.#addPage(page);
    this.put(u8, at + SEAL_AT);
    return getU32(u8, at + SEAL_AT);
  }

  /** Whether a page is whole, and the one with that magic and index. */
  checkPage(page: number, magic: PageMagic, index: number): PageFault {
    const { u8 } = regionOf(page);
    const at = byteAt(page, 0);
    if (getU32(u8, at) === 0 && isZero(u8, at, PAGE_BYTES)) return PageFault.MISSING;
    this.#addPage(page);
    if (!this.is(u8, at + SEAL_AT)) return PageFault.DAMAGED;
    const isThis = getU32(u8, at) === magic && getU64(u8, at + 8) === index;
    return isThis ? PageFault.NONE : PageFault.FOREIGN;
  }

  #addPage(page: number): void {
    this.start();
    this.add(page, 0, SEAL_AT);
    this.add(page, BODY_AT, PAGE_BYTES - BODY_AT);
  }
}

export interface PageHeader {
  readonly magic: PageMagic;
  readonly generation: number;
  readonly index: number;
  readonly sequence: number;
}

export function generationOf(page: number): number {
  return getU32(regionOf(page).u8, byteAt(page, 4));
}

export function sequenceOf(page: number): number {
  return getU64(regionOf(page).u8, byteAt(page, 16));
}

/** The 32 bits that the table remembers. */
export function checkOf(page: number): number {
  return getU32(regionOf(page).u8, byteAt(page, SEAL_AT));
}

function isZero(u8: Uint8Array, at: number, bytes: number): boolean {
  for (let i = at; i < at + bytes; i++) if (u8[i] !== 0) return false;
  return true;
}
