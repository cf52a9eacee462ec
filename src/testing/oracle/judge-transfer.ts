import { Errno } from '../../base/errno.ts';
import type { Profile } from '../../limits/profile.ts';
import { type Comparison, compareOutcomes } from './compare.ts';
import type { Difference } from './compare-metadata.ts';
import { directPart, withoutRetries } from './direct-part.ts';
import type { Judged, Verdict } from './judged.ts';
import { recordedIntegrity } from './recorded-integrity.ts';
import type { Replayed } from './replay.ts';
import type { Replays } from './replays.ts';
import { ruleFor } from './rules.ts';
import type { RecordFile, ReplayableCase, TransferCase } from './schema.ts';
import { straddles, wrongGuards } from './straddle.ts';

/** Throws what a failed replay throws. */
export function judgeTransfer(one: ReplayableCase, replays: Replays): Judged {
  const { file, profile, transfers } = replays;
  const device = file.devices[one.device];
  const ours = transfers.run(one, device, profile);
  const judged = { one, ours, answer: null };
  if (one.result === undefined) {
    return { ...judged, verdict: { kind: 'not-covered', why: 'no recorded result' } };
  }
  const comparison = compareOutcomes(withoutRetries(directPart(one)), ours);
  const unsafe = ours.cutsBelowBlock ? unsafety(transfers.run(one, device, strict(profile))) : [];
  if (unsafe.length > 0) return { ...judged, verdict: { kind: 'differ', differences: unsafe } };
  const { profile: format } = recordedIntegrity(device, file.kernel);
  const cut = straddles(one, format);
  const wrong = cut && one.op === 'write' ? wrongGuards(one as TransferCase, format, ours) : [];
  if (wrong.length > 0) return { ...judged, verdict: { kind: 'differ', differences: wrong } };
  if (isUndetermined(one, ours)) {
    return { ...judged, verdict: { kind: 'not-covered', why: 'a mismatch in unknown data' } };
  }
  return { ...judged, verdict: verdictOn(one, file, comparison, ours, cut) };
}

/** The kernel found a mismatch, and ours could not compare the guards: nobody knows the data. */
function isUndetermined(one: ReplayableCase, ours: Replayed): boolean {
  return ours.isPartial && one.result.errno === Errno.EILSEQ && ours.result.errno === 0;
}

function verdictOn(
  one: ReplayableCase,
  file: RecordFile,
  comparison: Comparison,
  ours: Replayed,
  cut: boolean,
): Verdict {
  const { differences, isOrderEqual, isSgEqual } = comparison;
  if (differences.length === 0) return { kind: 'agree', isOrderEqual, isSgEqual };
  const rule = ruleFor(
    differences.map(({ field }) => field),
    {
      one,
      device: file.devices[one.device],
      kernel: file.kernel,
      cutsBelowBlock: ours.cutsBelowBlock,
      straddles: cut,
    },
  );
  if (rule === null) return { kind: 'differ', differences };
  return { kind: 'rule', rule: rule.name, differences };
}

/** The profile without its kernel's bug. */
function strict(profile: Profile): Profile {
  return { ...profile, subBlockSplit: 'error' };
}

/**
 * Where the kernel dies or breaks the device's limits, this library answers with an error or with
 * requests that the device can take: every one is held against the limits by an independent judge.
 */
function unsafety(ours: Replayed): Difference[] {
  const differences = ours.faults.map(
    (fault): Difference => ({ field: 'requests', expected: 'within the limits', actual: fault }),
  );
  const { ret = 0, errno = 0, res = 0, results = [] } = ours.result;
  const isError = errno > 0 || res < 0 || results.some((result) => result < 0);
  const asked = ours.bios.reduce((sum, bio) => sum + bio.bytes, 0);
  const sent = ours.requests.reduce((sum, request) => sum + request.bytes, 0);
  if (!isError && asked !== sent) {
    const expected = `an error, or requests of ${asked} bytes`;
    differences.push({ field: 'requests', expected, actual: `${ret}, ${sent} bytes` });
  }
  return differences;
}
