import { PAGE_BYTES } from '../../base/units.ts';
import { finishGuard, updateInPlainCode } from '../../integrity/guards/guard.ts';
import { GuardState } from '../../integrity/guards/guard-state.ts';
import { type IntegrityProfile, intervalBytes } from '../../integrity/integrity-profile.ts';
import { appTagStart, TUPLE_BYTES_MAX, writeGuard } from '../../integrity/tuple.ts';
import { hexOfBytes } from './case-data.ts';
import { knownData } from './case-program.ts';
import type { Difference } from './compare-metadata.ts';
import { type CaseRecord, type Outcome, type TransferCase, vectorsOf } from './schema.ts';

// Intervals whose memory is in several pieces: the recorded kernels walk pages of vectors and take
// each for a number of whole intervals, so that they read and write beyond its end.

/** True when a page or a vector of the case ends inside an interval of its data. */
export function straddles(one: CaseRecord, profile: IntegrityProfile): boolean {
  if (profile.csum === 'none' || (one.op !== 'read' && one.op !== 'write')) return false;
  const bytes = intervalBytes(profile);
  let at = 0;
  for (const { offset, length } of vectorsOf(one)) {
    for (let done = 0; done < length; ) {
      const piece = Math.min(PAGE_BYTES - ((offset + done) % PAGE_BYTES), length - done);
      if (piece % bytes !== 0) return true;
      done += piece;
      at += piece;
    }
  }
  return at % bytes !== 0;
}

/** Guards of a write that are not those of its data, as one piece of plain bytes. */
export function wrongGuards(
  one: TransferCase,
  profile: IntegrityProfile,
  ours: Outcome,
): Difference[] {
  const data = knownData(one);
  if (one.op !== 'write' || data === null || profile.pi_offset !== 0) return [];
  const bytes = intervalBytes(profile);
  const differences: Difference[] = [];
  for (const { pi = [], bios } of ours.requests) {
    for (const [i, { tuples = '' }] of pi.entries()) {
      const [sector, size] = bios[i];
      const start = sector * 512 - one.fileOffset;
      for (let k = 0; k < size / bytes; k++) {
        const guard = guardOf(data.subarray(start + k * bytes, start + (k + 1) * bytes), profile);
        const at = k * profile.metadata_size * 2;
        const actual = tuples.slice(at, at + guard.length);
        if (actual !== guard) differences.push({ field: 'tuples', expected: guard, actual });
      }
    }
  }
  return differences;
}

function guardOf(data: Uint8Array, { csum }: IntegrityProfile): string {
  const state = new GuardState();
  updateInPlainCode(csum, state, data, 0, data.length);
  finishGuard(csum, state);
  const tuple = new Uint8Array(TUPLE_BYTES_MAX);
  writeGuard(csum, tuple, 0, state);
  return hexOfBytes(tuple.subarray(0, appTagStart(csum)));
}
