import { InvalidArgumentError } from 'commander';
import { BlockError } from '../../base/block-error.ts';
import {
  type Csum,
  type IntegrityProfile,
  integrityOfType,
  PiType,
} from '../../integrity/integrity-profile.ts';
import { CheckFlag } from '../../integrity/verify.ts';
import { UsageError } from '../exit-code.ts';

/** How the tuples look and where they lie, as commander gives it. */
export interface PiFormatFlags {
  readonly format: Exclude<Csum, 'none'>;
  readonly type: '1' | '2' | '3';
  /** Bytes. */
  readonly interval: number;
  readonly metadataSize?: number;
  readonly offset: number;
  readonly interleaved?: boolean;
}

/** Text or lines of JSON go here. */
export interface PiOutput {
  write(text: string): unknown;
}

const TYPES = { '1': PiType.TYPE1, '2': PiType.TYPE2, '3': PiType.TYPE3 } as const;

/** A format that cannot be is bad usage. */
export function profileOf(flags: PiFormatFlags): IntegrityProfile {
  try {
    return integrityOfType(
      {
        type: TYPES[flags.type],
        csum: flags.format,
        metadata_size: flags.metadataSize,
        pi_offset: flags.offset,
      },
      flags.interval,
    );
  } catch (error) {
    if (!(error instanceof BlockError)) throw error;
    throw new UsageError(error.reason);
  }
}

/** The format in words, for the end of a line. */
export function formatText(profile: IntegrityProfile): string {
  const { csum, interval_exp, metadata_size, pi_offset } = profile;
  const at = pi_offset === 0 ? '' : `, tuple at byte ${pi_offset}`;
  return `${csum}, ${2 ** interval_exp} + ${metadata_size} bytes${at}`;
}

/** 0 to 65535, decimal or hexadecimal. */
export function parseAppTag(text: string): number {
  const value = /^(?:0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : -1;
  if (value >= 0 && value <= 0xffff) return value;
  throw new InvalidArgumentError(`'${text}' is no number from 0 to 65535.`);
}

/** A block or ref tag: 0 to 2^53 - 1, decimal or hexadecimal. */
export function parseBlock(text: string): number {
  const value = /^(?:0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : -1;
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new InvalidArgumentError(`'${text}' is no whole number from 0 to 2^53 - 1.`);
}

const CHECKS: Readonly<Record<string, number>> = {
  guard: CheckFlag.GUARD,
  ref: CheckFlag.REF,
  app: CheckFlag.APP,
};

/** `guard,ref`. */
export function parseChecks(text: string): number {
  let flags = 0;
  for (const word of text.split(',')) {
    const flag = Object.hasOwn(CHECKS, word) ? (CHECKS[word] as number) : 0;
    if (flag === 0) throw new InvalidArgumentError(`'${word}' is none of guard, ref, app.`);
    flags |= flag;
  }
  return flags;
}
