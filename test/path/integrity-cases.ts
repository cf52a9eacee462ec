// Formats and damage for the tests of metadata in the path.

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { BlockError } from '../../src/base/block-error.ts';
import {
  type Csum,
  IntegrityFlag,
  type IntegrityProfile,
  validateIntegrity,
} from '../../src/integrity/integrity-profile.ts';
import { modelGenerate } from '../../src/integrity/pi-model.fuzz.ts';
import type { LimitsInput } from '../../src/limits/limits.ts';
import type { PathRig } from './path-rig.ts';
import type { ScriptedRecords } from './scripted-records.ts';

export interface PathFormat {
  readonly name: string;
  readonly limits: LimitsInput;
  readonly integrity: IntegrityProfile;
}

/** Bytes before and behind the tuple are 0 unless said. */
export function pathFormat(
  csum: Csum,
  interval: number,
  options: { block?: number; prefix?: number; rest?: number; flags?: number } = {},
): PathFormat {
  const { block = interval, prefix = 0, rest = 0, flags = IntegrityFlag.REF_TAG } = options;
  const tuple = csum === 'none' ? 0 : csum === 'crc64' ? 16 : 8;
  const integrity = validateIntegrity(
    {
      csum,
      interval_exp: Math.log2(interval),
      metadata_size: prefix + tuple + rest,
      pi_offset: prefix,
      flags: flags | IntegrityFlag.SPLIT_INTERVAL_OK,
    },
    block,
  );
  const name = `${csum}, ${interval} of ${block}, ${prefix} + ${tuple} + ${rest}, flags ${flags}`;
  return { name, limits: { logical_block_size: block, dma_alignment: 0 }, integrity };
}

export const PATH_FORMATS: readonly PathFormat[] = [
  pathFormat('crc16', 512),
  pathFormat('crc64', 4096),
  pathFormat('ip', 512, { block: 4096 }),
  pathFormat('crc64', 512, { block: 1024, prefix: 8, rest: 3 }),
  pathFormat('crc16', 4096, { flags: 0, rest: 56 }),
];

export const anyFormat = fc.constantFrom(...PATH_FORMATS);

/** Narrow devices cut and join what wide ones take whole. */
export const anyNarrowness: fc.Arbitrary<LimitsInput> = fc.constantFrom(
  {},
  { max_hw_sectors: 16 },
  { max_segments: 2 },
  { max_segments: 3, max_segment_size: 4096 },
  { virt_boundary_mask: 4095 },
  { chunk_sectors: 24 },
  { max_integrity_segments: 1 },
);

export function recordsOf(rig: PathRig): ScriptedRecords {
  const { records } = rig.engine;
  assert.ok(records !== null, 'the rig has no metadata');
  return records;
}

/** Every block of the medium has a tuple that fits, with app tag 0 and zeros around, or none. */
export function assertTuplesFit(rig: PathRig): void {
  const records = recordsOf(rig);
  const { format } = records;
  const { intervalBytes, metadataBytes } = format;
  for (let block = 0; block * intervalBytes < rig.engine.disk.length; block++) {
    const own = records.bytes.subarray(block * metadataBytes, (block + 1) * metadataBytes);
    if (own.every((byte) => byte === 0xff)) continue;
    const expected = new Uint8Array(metadataBytes);
    const data = rig.medium(block * intervalBytes, (block + 1) * intervalBytes);
    modelGenerate(format, data, expected, BigInt(block), 0);
    assert.deepEqual(own, expected, `record of block ${block}`);
  }
}

/** Gives every block of the medium a tuple. */
export function coverMedium(rig: PathRig): void {
  const records = recordsOf(rig);
  records.bytes.fill(0);
  modelGenerate(records.format, rig.engine.disk, records.bytes, 0n, 0);
}

/** An error of a read that met block `block`. */
export function mismatch(block: number, tag: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof BlockError, String(error));
    assert.equal(error.code, 'EILSEQ');
    assert.match(error.reason, new RegExp(`^block ${block}: ${tag} tag is 0x[0-9a-f]+, expected`));
    return true;
  };
}
