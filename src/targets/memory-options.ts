import { BlockError } from '../base/block-error.ts';
import { parseSize } from '../base/units.ts';
import {
  CSUMS,
  type Csum,
  IntegrityFlag,
  type IntegrityProfile,
  integrityOfType,
  PiType,
  validateIntegrity,
} from '../integrity/integrity-profile.ts';

/** What stands behind the size of a RAM disk: `ram:64M,block=4096,pi=crc64`. */
export interface MemoryOptions {
  /** Bytes: the logical block. */
  readonly blockBytes: number;
  /** null: no metadata. */
  readonly integrity: IntegrityProfile | null;
}

const NAMES = ['block', 'pi', 'type', 'interval', 'metadata-size', 'offset', 'capable'] as const;
type Name = (typeof NAMES)[number];
const TYPES = { 1: PiType.TYPE1, 2: PiType.TYPE2, 3: PiType.TYPE3 } as const;
const BLOCK_DEFAULT = 512;

/**
 * `block=` the logical block in bytes; `pi=` the format of the tuples (crc16, crc64, ip), with
 * `type=` 1 to 3, `interval=` bytes of data under one, `metadata-size=` and `offset=` for tuples
 * inside larger metadata, and `capable` for a disk that checks by itself. The names are those of
 * `biovec pi`. Throws BlockError EINVAL with a sentence.
 */
export function parseMemoryOptions(words: readonly string[], device: string): MemoryOptions {
  try {
    return optionsOf(valuesOf(words));
  } catch (cause) {
    const reason = cause instanceof BlockError ? cause.reason : String(cause);
    throw new BlockError('EINVAL', { reason, device, cause });
  }
}

function valuesOf(words: readonly string[]): Map<Name, string> {
  const values = new Map<Name, string>();
  for (const word of words) {
    const [text = '', value = ''] = word.split('=', 2);
    const name = NAMES.find((known) => known === text);
    if (name === undefined) invalid(`'${text}' is none of ${NAMES.join(', ')}`);
    if (values.has(name)) invalid(`${name} is given twice`);
    if ((name === 'capable') === word.includes('=')) {
      invalid(name === 'capable' ? 'capable has no value' : `${name} has no value: ${name}=…`);
    }
    values.set(name, value);
  }
  return values;
}

function optionsOf(values: ReadonlyMap<Name, string>): MemoryOptions {
  const interval = bytesOf(values, 'interval');
  const blockBytes = bytesOf(values, 'block') ?? interval ?? BLOCK_DEFAULT;
  const pi = values.get('pi');
  if (pi === undefined) {
    const other = NAMES.find((name) => name !== 'block' && values.has(name));
    if (other !== undefined) invalid(`${other} says how tuples look, and pi is not given`);
    return { blockBytes, integrity: null };
  }
  const csum = CSUMS.find((known): known is Exclude<Csum, 'none'> => known === pi && pi !== 'none');
  if (csum === undefined) invalid(`pi is '${pi}'; it may be ip, crc16, crc64`);
  const type = values.get('type') ?? '1';
  if (!Object.hasOwn(TYPES, type)) invalid(`type is '${type}'; it may be 1, 2, 3`);
  const format = {
    type: TYPES[Number(type) as keyof typeof TYPES],
    csum,
    intervalBytes: interval ?? blockBytes,
    metadata_size: bytesOf(values, 'metadata-size'),
    pi_offset: bytesOf(values, 'offset'),
  };
  const profile = integrityOfType(format, blockBytes);
  const capable = values.has('capable') ? IntegrityFlag.DEVICE_CAPABLE : 0;
  // Its guards do not care where a segment ends.
  const flags = profile.flags | IntegrityFlag.SPLIT_INTERVAL_OK | capable;
  return { blockBytes, integrity: validateIntegrity({ ...profile, flags }, blockBytes) };
}

function bytesOf(values: ReadonlyMap<Name, string>, name: Name): number | undefined {
  const text = values.get(name);
  return text === undefined ? undefined : text === '0' ? 0 : parseSize(text);
}

function invalid(reason: string): never {
  throw new BlockError('EINVAL', { reason });
}
