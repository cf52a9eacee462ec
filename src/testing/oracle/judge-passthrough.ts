import type { Profile } from '../../limits/profile.ts';
import { DEFAULT_PROFILE, profileNamed } from '../../limits/profile.ts';
import { MapReason, Verdict } from '../../map/verdict.ts';
import {
  type PassthroughReplayed,
  PassthroughReplayer,
  passthroughCases,
} from './passthrough-replay.ts';
import type {
  MappedMetadata,
  NvmeCase,
  PassthroughCase,
  PassthroughOutcome,
} from './passthrough-schema.ts';
import type { DeviceRecord, RecordFile } from './schema.ts';

const ENOMEM = 12;
const EINVAL = 22;
const EFAULT = 14;

/** Where this library means to differ from a kernel. */
export interface PassthroughRule {
  readonly name: string;
  readonly reason: string;
  applies(one: PassthroughCase, ours: PassthroughOutcome): boolean;
}

export const PASSTHROUGH_ORACLE_RULES: readonly PassthroughRule[] = [
  {
    name: 'both-ways',
    reason:
      'a command that uses its memory both ways (the record does not say so, only -ENOMEM for a ' +
      'page does): the kernels copy in without moving on, until their pages are at their end; ' +
      'here it is mapped once',
    applies: (one, ours) =>
      one.op === 'sgio' && one.via === 'sg' && one.result.errno === ENOMEM && ours.result === 0,
  },
];

type PassthroughField =
  | 'result'
  | 'unmap'
  | 'decision'
  | 'bios'
  | 'segments'
  | 'sg'
  | 'metadata'
  | 'bytes'
  | 'replay';

export interface PassthroughDifference {
  readonly field: PassthroughField;
  readonly expected: string;
  readonly actual: string;
}

export type PassthroughVerdict =
  | { readonly kind: 'agree' }
  | { readonly kind: 'rule'; readonly rule: string }
  | { readonly kind: 'differ'; readonly differences: readonly PassthroughDifference[] };

export interface PassthroughJudged {
  readonly one: PassthroughCase;
  readonly verdict: PassthroughVerdict;
  /** Of the kernel. */
  readonly kernel: PassthroughOutcome;
  /** null: the replay failed. */
  readonly ours: PassthroughReplayed | null;
}

/** Replays every case of a record of topic `map` under the profile of its kernel. */
export function* judgePassthrough(file: RecordFile): Generator<PassthroughJudged> {
  const [release = ''] = /^\d+\.\d+/.exec(file.kernel) ?? [];
  const profile = profileNamed(`linux-${release}`);
  for (const { one, kernel, ours, failure } of replayAll(file, profile)) {
    if (ours === null) {
      const differences = [{ field: 'replay', expected: 'a replay', actual: failure } as const];
      yield { one, kernel, ours, verdict: { kind: 'differ', differences } };
      continue;
    }
    yield { one, kernel, ours, verdict: verdictOn(one, kernel, ours) };
  }
}

/** One case of a file of another topic. Throws what a failed replay throws. */
export function judgePassthroughOne(
  one: PassthroughCase,
  device: DeviceRecord,
  profile: Profile,
  replayer: PassthroughReplayer,
): PassthroughJudged {
  const kernel = kernelOutcome(one);
  const ours = replayer.run(one, device, profile);
  return { one, kernel, ours, verdict: verdictOn(one, kernel, ours) };
}

/** What became of a kernel's answer when the same case goes by the rules of this library. */
export type FallbackChange =
  | 'same'
  | 'EINVAL kept, longer than max_hw_sectors'
  | 'EINVAL kept, too many vectors or no byte'
  | 'EINVAL kept, no chunks satisfy the limits'
  | 'copied instead of EINVAL'
  | 'mapped instead of EINVAL'
  | 'mapped instead of copied'
  | 'copied instead of mapped'
  | 'refused, over max_hw_sectors by a part of a sector'
  | 'the fault is told at the call'
  | 'the fault instead of EINVAL'
  | 'a command both ways works'
  | 'unexplained';

export interface FallbackJudged {
  readonly one: PassthroughCase;
  readonly change: FallbackChange;
  readonly why: string;
}

/** The same cases by the rules of this library: what the fallback makes of them. */
export function* judgeFallback(file: RecordFile): Generator<FallbackJudged> {
  for (const { one, kernel, ours, failure } of replayAll(file, DEFAULT_PROFILE)) {
    const actual = ours === null ? failure : (ours.wrongBytes ?? `${ours.decision} ${ours.result}`);
    const why = `${kernel.decision} ${kernel.result}/${kernel.unmapResult}, ours ${actual}`;
    const isWrong = ours === null || ours.wrongBytes !== null;
    yield { one, change: isWrong ? 'unexplained' : changeOf(one, kernel, ours), why };
  }
}

function changeOf(
  one: PassthroughCase,
  kernel: PassthroughOutcome,
  ours: PassthroughReplayed,
): FallbackChange {
  const isTooLong = ours.reason === MapReason.SIZE;
  if (ours.result === -EINVAL && kernel.result === -EINVAL) return keptEinval(ours);
  if (ours.result === -EINVAL && isTooLong) {
    return 'refused, over max_hw_sectors by a part of a sector';
  }
  if (ours.result < 0) {
    if (ours.result === kernel.result) return 'same';
    if (ours.result === kernel.unmapResult) return 'the fault is told at the call';
    const isFault = ours.result === -EFAULT && kernel.result === -EINVAL;
    return isFault ? 'the fault instead of EINVAL' : 'unexplained';
  }
  const isCopy = ours.decision === 'copy';
  if (kernel.result === -EINVAL) {
    return isCopy ? 'copied instead of EINVAL' : 'mapped instead of EINVAL';
  }
  if (kernel.result < 0) {
    const [bothWays] = PASSTHROUGH_ORACLE_RULES;
    return bothWays?.applies(one, ours) ? 'a command both ways works' : 'unexplained';
  }
  if (kernel.decision === ours.decision) return 'same';
  return isCopy ? 'copied instead of mapped' : 'mapped instead of copied';
}

function keptEinval({ reason, verdict }: PassthroughReplayed): FallbackChange {
  if (reason === MapReason.SIZE) return 'EINVAL kept, longer than max_hw_sectors';
  const isRefused = verdict === Verdict.REFUSE;
  return isRefused
    ? 'EINVAL kept, no chunks satisfy the limits'
    : 'EINVAL kept, too many vectors or no byte';
}

interface Replay {
  readonly one: PassthroughCase;
  readonly kernel: PassthroughOutcome;
  readonly ours: PassthroughReplayed | null;
  readonly failure: string;
}

function* replayAll(file: RecordFile, profile: Profile): Generator<Replay> {
  const cases = passthroughCases(file.cases);
  let replayer = new PassthroughReplayer(cases);
  try {
    for (const one of cases) {
      const kernel = kernelOutcome(one);
      try {
        const ours = replayer.run(one, file.devices[one.device], profile);
        yield { one, kernel, ours, failure: '' };
      } catch (error) {
        // A failed assertion leaves pins and pages behind: the next case starts afresh.
        replayer = new PassthroughReplayer(cases);
        const failure = error instanceof Error ? error.message : String(error);
        yield { one, kernel, ours: null, failure };
      }
    }
  } finally {
    replayer[Symbol.dispose]();
  }
}

/** One result for the call that maps and one for the end, whatever the interface. */
function kernelOutcome(one: PassthroughCase): PassthroughOutcome {
  const { decision } = one;
  const isSent = decision !== 'error';
  const error = one.op === 'map' ? one.result.ret : one.result.ret < 0 ? -one.result.errno : 0;
  const atEnd = one.op === 'map' ? one.result.unmapRet : error;
  return {
    result: isSent ? 0 : error,
    unmapResult: isSent ? atEnd : 0,
    decision,
    request: isSent && one.request !== undefined ? one.request : null,
    metadata: one.op === 'nvme' ? kernelMetadata(one) : null,
  };
}

/** The kernel's own buffer is memory of its own, one segment: only a map says where it lies. */
function kernelMetadata(one: NvmeCase): MappedMetadata | null {
  const pi = one.request?.pi?.[0];
  if (one.metaDecision === undefined || pi === undefined) return null;
  const isMap = one.metaDecision === 'map';
  return {
    decision: one.metaDecision,
    bytes: pi.bytes,
    vecs: isMap ? pi.vecs : [],
    segments: one.request?.nrIntegritySegments ?? 1,
  };
}

function verdictOn(
  one: PassthroughCase,
  kernel: PassthroughOutcome,
  ours: PassthroughReplayed,
): PassthroughVerdict {
  const differences = compare(kernel, ours);
  if (ours.wrongBytes !== null) {
    differences.push({ field: 'bytes', expected: 'the same bytes', actual: ours.wrongBytes });
  }
  if (differences.length === 0) return { kind: 'agree' };
  const rule = PASSTHROUGH_ORACLE_RULES.find((candidate) => candidate.applies(one, ours));
  return rule === undefined ? { kind: 'differ', differences } : { kind: 'rule', rule: rule.name };
}

function compare(kernel: PassthroughOutcome, ours: PassthroughOutcome): PassthroughDifference[] {
  const differences: PassthroughDifference[] = [];
  const check = (field: PassthroughDifference['field'], expected: unknown, actual: unknown) => {
    const left = JSON.stringify(expected);
    const right = JSON.stringify(actual);
    if (left !== right) differences.push({ field, expected: left, actual: right });
  };
  check('result', kernel.result, ours.result);
  check('unmap', kernel.unmapResult, ours.unmapResult);
  check('decision', kernel.decision, ours.decision);
  const bios = (outcome: PassthroughOutcome): unknown =>
    outcome.request?.bios.map(({ bytes, copied, vecs }) => [bytes, copied, vecs]) ?? [];
  check('bios', bios(kernel), bios(ours));
  const counts = ({ request }: PassthroughOutcome): number[] => [
    request?.bytes ?? 0,
    request?.nrPhysSegments ?? 0,
  ];
  check('segments', counts(kernel), counts(ours));
  check('sg', kernel.request?.sg ?? [], ours.request?.sg ?? []);
  check('metadata', kernel.metadata, ours.metadata);
  return differences;
}
