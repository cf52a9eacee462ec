import { InvalidArgumentError } from 'commander';
import { BlockError } from '../base/block-error.ts';
import { parseSize } from '../base/units.ts';
import { parseTarget, type Target } from '../targets/target.ts';
import { UsageError } from './exit-code.ts';

// Words of the command line become values. What is no value is a UsageError or, in an option,
// commander's own error that names the option: both end with exit code 2.

const HEX = /^0x[0-9a-f]+$/i;

/** `4096`, `64K`, `1.5M`, `0x1000`. */
export function parseBytes(text: string): number {
  if (!HEX.test(text)) return orInvalid(() => parseSize(text));
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value;
  throw new InvalidArgumentError(`'${text}' is larger than 2^53 - 1.`);
}

export function parseCount(text: string): number {
  const value = /^\d+$/.test(text) ? Number(text) : 0;
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError(`'${text}' is no whole number from 1 on.`);
}

/** The name of a file. */
export function parseName(text: string): string {
  if (text !== '' && !text.includes('\0')) return text;
  throw new InvalidArgumentError('It is the name of a file, and not empty.');
}

/** One range of an address space. */
export interface AddressRange {
  readonly addr: number;
  readonly bytes: number;
}

/** `0x10000+64K,0x30200+4K`. */
export function parseRanges(text: string): AddressRange[] {
  return text.split(',').map((part) => {
    const [addr, bytes, ...rest] = part.split('+');
    if (addr === undefined || bytes === undefined || rest.length > 0) {
      throw new InvalidArgumentError(`'${part}' is no ADDR+LEN, such as 0x10000+64K.`);
    }
    return { addr: parseBytes(addr.trim()), bytes: parseBytes(bytes.trim()) };
  });
}

/** A name that cannot be a target is bad usage; one that cannot be opened is a failure. */
export function targetOf(text: string): Target {
  try {
    return parseTarget(text);
  } catch (error) {
    if (!(error instanceof BlockError)) throw error;
    throw new UsageError(`'${text}': ${error.reason}`);
  }
}

function orInvalid<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof BlockError)) throw error;
    throw new InvalidArgumentError(`${error.reason}.`);
  }
}
