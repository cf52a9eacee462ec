import type { Profile } from '../../limits/profile.ts';
import { type Comparison, compareOutcomes, type Difference } from './compare.ts';
import { directPart } from './direct-part.ts';
import { type Replayed, Replayer } from './replay.ts';
import { ruleFor } from './rules.ts';
import {
  type CaseRecord,
  isReplayable,
  type RecordFile,
  type ReplayableCase,
  whyNotCovered,
} from './schema.ts';

export type Verdict =
  | { readonly kind: 'agree'; readonly isOrderEqual: boolean; readonly isSgEqual: boolean }
  | { readonly kind: 'rule'; readonly rule: string; readonly differences: readonly Difference[] }
  | { readonly kind: 'differ'; readonly differences: readonly Difference[] }
  | { readonly kind: 'not-covered'; readonly why: string };

export interface Judged {
  readonly one: CaseRecord;
  readonly verdict: Verdict;
  /** null when the case is not covered or the replay failed. */
  readonly ours: Replayed | null;
}

/** Replays every case of `file` under `profile` and compares, one after the other. */
export function* judgeFile(file: RecordFile, profile: Profile): Generator<Judged> {
  let replayer = new Replayer(file.cases);
  try {
    for (const one of file.cases) {
      const why = whyNotCovered(one, file.devices[one.device]);
      if (why !== null || !isReplayable(one)) {
        yield { one, verdict: { kind: 'not-covered', why: why ?? one.op }, ours: null };
        continue;
      }
      let judged: Judged;
      try {
        judged = judgeCase(one, file, profile, replayer);
      } catch (error) {
        // A failed assertion leaves bios and pins behind: the next case starts afresh.
        const actual = error instanceof Error ? error.message : String(error);
        const difference: Difference = { field: 'replay', expected: 'a replay', actual };
        judged = { one, verdict: { kind: 'differ', differences: [difference] }, ours: null };
        replayer = new Replayer(file.cases);
      }
      yield judged;
    }
  } finally {
    replayer[Symbol.dispose]();
  }
}

function judgeCase(
  one: ReplayableCase,
  file: RecordFile,
  profile: Profile,
  replayer: Replayer,
): Judged {
  const device = file.devices[one.device];
  const ours = replayer.run(one, device, profile);
  if (one.result === undefined) {
    return { one, verdict: { kind: 'not-covered', why: 'no recorded result' }, ours };
  }
  const comparison = compareOutcomes(directPart(one), ours);
  const unsafe = ours.cutsBelowBlock ? unsafety(replayer.run(one, device, strict(profile))) : [];
  if (unsafe.length > 0) return { one, verdict: { kind: 'differ', differences: unsafe }, ours };
  return { one, verdict: verdictOn(one, file, comparison, ours), ours };
}

function verdictOn(
  one: ReplayableCase,
  file: RecordFile,
  comparison: Comparison,
  ours: Replayed,
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
