import { type IntegrityProfile, refBitsOf } from './integrity-profile.ts';
import { PI_TAG_NAMES, type PiFault, PiTag } from './verify.ts';

/** A mismatch for people and for JSON. */
export interface FaultReport {
  /** Block of the image or device, in intervals. */
  readonly block: number;
  readonly tag: 'guard tag' | 'ref tag' | 'app tag';
  /** Hexadecimal, as wide as the tag. */
  readonly expected: string;
  readonly actual: string;
}

/** Hexadecimal digits of a value in two halves of 32 bits, signed. */
export function hexTag(high: number, low: number, bits: number): string {
  const digits = bits / 4;
  const text = `${hex8(high)}${hex8(low)}`;
  return text.slice(text.length - digits);
}

function hex8(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0');
}

/** `firstBlock`: block of the first interval that was walked. */
export function reportFault(
  fault: PiFault,
  profile: IntegrityProfile,
  firstBlock: number,
): FaultReport {
  const tag = PI_TAG_NAMES[fault.tag] as FaultReport['tag'];
  const guardBits = profile.csum === 'crc64' ? 64 : 16;
  const bits =
    fault.tag === PiTag.GUARD ? guardBits : fault.tag === PiTag.REF ? refBitsOf(profile.csum) : 16;
  return {
    block: firstBlock + fault.interval,
    tag,
    expected: hexTag(fault.expectedHigh, fault.expectedLow, bits),
    actual: hexTag(fault.actualHigh, fault.actualLow, bits),
  };
}

/** `block 7: guard tag is 0x1234, expected 0xd0db`. */
export function faultSentence(report: FaultReport): string {
  const { block, tag, expected, actual } = report;
  return `block ${block}: ${tag} is 0x${actual}, expected 0x${expected}`;
}
