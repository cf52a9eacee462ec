import { BlockError } from '../base/block-error.ts';
import { isPowerOfTwo, MIB, SECTOR_BYTES } from '../base/units.ts';

// The format of the metadata that a device keeps beside each interval of data, as pure data. Names
// are those of struct blk_integrity where Linux has one. Reference 7.1.

/** What the guard tag is made with. */
export type Csum = 'none' | 'ip' | 'crc16' | 'crc64';
export const CSUMS: readonly Csum[] = ['none', 'ip', 'crc16', 'crc64'];

/** Linux: enum blk_integrity_flags. */
export const IntegrityFlag = {
  /** Reads are not checked by the host. */
  NOVERIFY: 1,
  /** The host makes no tags for writes. */
  NOGENERATE: 2,
  /** The device checks too. */
  DEVICE_CAPABLE: 4,
  /** The ref tag counts with the block (types 1 and 2). */
  REF_TAG: 8,
  /** Made of the profiles of several devices. */
  STACKED: 16,
  /** The device takes intervals that lie in several segments. */
  SPLIT_INTERVAL_OK: 32,
} as const;
const FLAGS_ALL = 63;

export interface IntegrityProfile {
  readonly csum: Csum;
  /** log2 of the bytes of data under one tuple: 9 or 12, mostly. */
  readonly interval_exp: number;
  /** Bytes of metadata for each interval; 0 = the device has none. */
  readonly metadata_size: number;
  /** Bytes of protection information in it: 8, 16, or 0 without a guard. */
  readonly tuple_size: number;
  /** Bytes of metadata before the tuple. They are under the guard. */
  readonly pi_offset: number;
  /** Bytes that an application may use: 2, or with the ref tag 6 or 8 (type 3). */
  readonly tag_size: number;
  /** IntegrityFlag */
  readonly flags: number;
}

export type IntegrityInput = { readonly [Name in keyof IntegrityProfile]?: IntegrityProfile[Name] };

/** Metadata of one request is one buffer of at most this (Linux: BLK_INTEGRITY_MAX_SIZE). */
export const METADATA_BYTES_MAX = 2 * MIB;
/** What NVMe can say. */
const METADATA_SIZE_MAX = 65535;
const INTERVAL_BYTES_MAX = 65536;

export const TUPLE_BYTES: Readonly<Record<Csum, number>> = { none: 0, ip: 8, crc16: 8, crc64: 16 };

/** A device without metadata. */
export const NO_INTEGRITY: IntegrityProfile = Object.freeze({
  csum: 'none',
  interval_exp: 9,
  metadata_size: 0,
  tuple_size: 0,
  pi_offset: 0,
  tag_size: 0,
  flags: IntegrityFlag.NOVERIFY | IntegrityFlag.NOGENERATE,
});

/**
 * Checks what a driver or a user states, with the logical block in bytes. An interval_exp of 0 (or
 * none) is the logical block; no tuple_size is that of the guard; no metadata_size is the tuple
 * and what stands before it. Without metadata the profile is NO_INTEGRITY.
 * Throws BlockError EINVAL whose reason is the broken rule.
 * Linux: blk_validate_integrity_limits(), block/blk-settings.c.
 */
export function validateIntegrity(
  input: IntegrityInput,
  logicalBlockBytes: number,
): IntegrityProfile {
  checkBlock(logicalBlockBytes);
  const csum = input.csum ?? 'none';
  if (!CSUMS.includes(csum)) invalid('csum', csum, `one of ${CSUMS.join(', ')}`);
  const tuple_size = whole('tuple_size', input.tuple_size ?? TUPLE_BYTES[csum]);
  const pi_offset = whole('pi_offset', input.pi_offset ?? 0);
  const tuple = csum === 'none' ? 0 : pi_offset + tuple_size;
  const metadata_size = whole('metadata_size', input.metadata_size ?? tuple);
  const interval_exp =
    whole('interval_exp', input.interval_exp ?? 0) || Math.log2(logicalBlockBytes);
  const tag_size = whole('tag_size', input.tag_size ?? 0);
  const flags = whole('flags', input.flags ?? 0);
  const profile = { csum, interval_exp, metadata_size, tuple_size, pi_offset, tag_size, flags };
  checkTuple(profile);
  checkSizes(profile, logicalBlockBytes);
  return metadata_size === 0 ? NO_INTEGRITY : Object.freeze(profile);
}

function checkBlock(bytes: number): void {
  if (isPowerOfTwo(bytes) && bytes >= SECTOR_BYTES && bytes <= INTERVAL_BYTES_MAX) return;
  const reason = `a logical block of ${bytes} bytes is no power of two, 512 to 65536`;
  throw new BlockError('EINVAL', { reason });
}

function checkTuple(profile: IntegrityProfile): void {
  const { csum, tuple_size, flags } = profile;
  if (tuple_size !== TUPLE_BYTES[csum]) {
    invalid('tuple_size', tuple_size, `${TUPLE_BYTES[csum]} with csum ${csum}`);
  }
  if (csum === 'none' && (flags & IntegrityFlag.REF_TAG) !== 0) {
    invalid('flags', flags, 'without REF_TAG (8) when csum is none: there is no tuple to hold it');
  }
  if (flags > FLAGS_ALL) invalid('flags', flags, `a sum of the known flags, at most ${FLAGS_ALL}`);
}

function checkSizes(profile: IntegrityProfile, logicalBlockBytes: number): void {
  const { interval_exp, metadata_size, tuple_size, pi_offset, tag_size } = profile;
  if (pi_offset + tuple_size > metadata_size) {
    const most = metadata_size - tuple_size;
    invalid('pi_offset', pi_offset, `at most ${most}: the tuple ends inside the metadata`);
  }
  if (metadata_size > METADATA_SIZE_MAX) {
    invalid('metadata_size', metadata_size, `at most ${METADATA_SIZE_MAX} bytes`);
  }
  if (tag_size > metadata_size) {
    invalid('tag_size', tag_size, `at most ${metadata_size}, the size of the metadata`);
  }
  const exponent = Math.log2(logicalBlockBytes);
  if (interval_exp < 9 || interval_exp > exponent) {
    const rule = `9 (512 bytes) to ${exponent}, the logical block of ${logicalBlockBytes} bytes`;
    invalid('interval_exp', interval_exp, rule);
  }
  const block = metadata_size * (logicalBlockBytes / 2 ** interval_exp);
  if (block > METADATA_BYTES_MAX) {
    const rule = `small enough that the metadata of one logical block, ${block} bytes, fits 2 MiB`;
    invalid('metadata_size', metadata_size, rule);
  }
}

function invalid(name: keyof IntegrityProfile, value: unknown, rule: string): never {
  throw new BlockError('EINVAL', { reason: `${name} is ${String(value)}, but must be ${rule}` });
}

function whole(name: keyof IntegrityProfile, value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) {
    invalid(name, value, 'a whole number from 0 on');
  }
  return value;
}

/**
 * Type of protection as drives name it. 0: no tuples on the medium (or only host to controller).
 */
export const PiType = { NONE: 0, TYPE1: 1, TYPE2: 2, TYPE3: 3 } as const;
export type PiType = (typeof PiType)[keyof typeof PiType];

export interface PiFormat {
  readonly type: PiType;
  readonly csum: Csum;
  /** Default: the logical block. */
  readonly intervalBytes?: number | undefined;
  /** Default: the tuple and what stands before it. */
  readonly metadata_size?: number | undefined;
  readonly pi_offset?: number | undefined;
}

/**
 * The profile that a driver registers for a drive of that type. Type 0 has no guard: what is in the
 * metadata is the user's. Types 1 and 2 differ in the command alone, so not here.
 */
export function integrityOfType(format: PiFormat, logicalBlockBytes: number): IntegrityProfile {
  const { type, metadata_size, pi_offset } = format;
  const dataBytes = format.intervalBytes ?? logicalBlockBytes;
  checkBlock(dataBytes);
  const csum = type === PiType.NONE ? 'none' : format.csum;
  const countsRef = type === PiType.TYPE1 || type === PiType.TYPE2;
  const tagSize = type === PiType.TYPE3 ? 2 + refBitsOf(csum) / 8 : 2;
  return validateIntegrity(
    {
      csum,
      interval_exp: Math.log2(dataBytes),
      ...(metadata_size === undefined ? {} : { metadata_size }),
      ...(pi_offset === undefined ? {} : { pi_offset }),
      tag_size: csum === 'none' ? 0 : tagSize,
      flags: countsRef && csum !== 'none' ? IntegrityFlag.REF_TAG : 0,
    },
    logicalBlockBytes,
  );
}

/** Width of the ref tag. */
export function refBitsOf(csum: Csum): number {
  return csum === 'crc64' ? 48 : 32;
}

export function hasRefTag(profile: IntegrityProfile): boolean {
  return (profile.flags & IntegrityFlag.REF_TAG) !== 0;
}

/** Bytes of data under one tuple. */
export function intervalBytes(profile: IntegrityProfile): number {
  return 1 << profile.interval_exp;
}

/** Intervals of `dataBytes`: a part of one does not count. Linux: bio_integrity_intervals(). */
export function intervalsOf(profile: IntegrityProfile, dataBytes: number): number {
  return Math.floor(dataBytes / (1 << profile.interval_exp));
}

/** 1 MiB with 8-byte tuples: 16384 bytes at 512, 2048 at 4096. Linux: bio_integrity_bytes(). */
export function metadataBytesOf(profile: IntegrityProfile, dataBytes: number): number {
  return intervalsOf(profile, dataBytes) * profile.metadata_size;
}
