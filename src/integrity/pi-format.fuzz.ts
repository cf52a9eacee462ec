// Random formats of protection information, with their model.

import fc from 'fast-check';
import {
  type Csum,
  IntegrityFlag,
  type IntegrityProfile,
  validateIntegrity,
} from './integrity-profile.ts';
import type { ModelFormat } from './pi-model.fuzz.ts';

export interface FormatCase {
  readonly profile: IntegrityProfile;
  readonly model: ModelFormat;
}

export function formatOf(
  csum: Exclude<Csum, 'none'>,
  intervalBytes: number,
  prefixBytes: number,
  restBytes: number,
  countsRef: boolean,
): FormatCase {
  const tupleBytes = csum === 'crc64' ? 16 : 8;
  const metadataBytes = prefixBytes + tupleBytes + restBytes;
  const profile = validateIntegrity(
    {
      csum,
      interval_exp: Math.log2(intervalBytes),
      metadata_size: metadataBytes,
      pi_offset: prefixBytes,
      flags: countsRef ? IntegrityFlag.REF_TAG : 0,
    },
    4096,
  );
  return { profile, model: { csum, intervalBytes, metadataBytes, prefixBytes, countsRef } };
}

export const formatCase: fc.Arbitrary<FormatCase> = fc
  .tuple(
    fc.constantFrom<Exclude<Csum, 'none'>>('crc16', 'crc64', 'ip'),
    fc.constantFrom(512, 512, 1024, 4096),
    fc.constantFrom(0, 0, 8, 1, 23, 48),
    fc.constantFrom(0, 0, 8, 5),
    fc.boolean(),
  )
  .map((parts) => formatOf(...parts));

/** Lengths of rows: whole blocks, or anything. */
export const rowCuts = fc.oneof(
  fc.constant<number[]>([]),
  fc.array(fc.constantFrom(512, 1024, 4096), { minLength: 1, maxLength: 4 }),
  fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 6 }),
);

/** Of metadata: a record takes 8 to 72 bytes. */
export const recordCuts = fc.oneof(
  fc.constant<number[]>([]),
  fc.array(fc.integer({ min: 1, max: 80 }), { minLength: 1, maxLength: 6 }),
);

/** Bytes without a pattern, from a seed; quick, where an arbitrary array is slow. */
export function noise(length: number, seed: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(length);
  let state = (seed * 2 + 1) >>> 0;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    out[i] = state >>> 11;
  }
  return out;
}
