import { hexOfBytes } from './case-data.ts';
import type { CrcCase, StoredTuplesCase } from './integrity-schema.ts';
import { judgePassthroughOne } from './judge-passthrough.ts';
import { type Judged, notCovered, type Verdict } from './judged.ts';
import { passthroughCases } from './passthrough-replay.ts';
import { recordedIntegrity } from './recorded-integrity.ts';
import type { Replays } from './replays.ts';
import { ruleFor } from './rules.ts';
import type { CaseRecord } from './schema.ts';

// Cases that are no transfer: checksums, what a disk has stored, passthrough commands.

/** Stands for a digit that no case of the file determines. */
const UNKNOWN_DIGIT = '.';

const AGREE: Verdict = { kind: 'agree', isOrderEqual: true, isSgEqual: true };

export function judgeCrc(one: CaseRecord, { checksums }: Replays): Judged {
  const expected = one as unknown as CrcCase;
  const { crcT10Dif, crc64Rocksoft, ipChecksumLittleEndian } = expected;
  const answer = checksums.run(expected);
  const verdict = verdictOn({ crcT10Dif, crc64Rocksoft, ipChecksumLittleEndian }, answer);
  return { one, verdict, ours: null, answer };
}

/**
 * The tuples of a disk against those that earlier writes of the file have left there, or that a
 * read tells of that comes next: other blocks are the disk's own affair.
 */
export function judgeStored(one: CaseRecord, { file, store, later }: Replays): Judged {
  const expected = one as unknown as StoredTuplesCase;
  const device = file.devices[one.device];
  const { profile } = recordedIntegrity(device, file.kernel);
  const digits = profile.metadata_size * 2;
  let ours = '';
  let wanted = '';
  let cut = false;
  for (let at = 0; at < expected.tuples.length; at += digits) {
    const block = store.at(one.device, expected.lba + at / digits);
    cut ||= block.straddles;
    const number = expected.lba + at / digits;
    const record = block.record ?? later.recordAt(one, number, profile);
    ours += record === null ? UNKNOWN_DIGIT.repeat(digits) : hexOfBytes(record);
    wanted +=
      record !== null ? expected.tuples.slice(at, at + digits) : UNKNOWN_DIGIT.repeat(digits);
  }
  if (ours === UNKNOWN_DIGIT.repeat(ours.length))
    return notCovered(one, 'tuples that no case of the file determines');
  const answer = { lba: expected.lba, tuples: ours };
  const verdict = verdictOn({ tuples: wanted }, { tuples: ours });
  const judged = { one, verdict, ours: null, answer };
  if (verdict.kind !== 'differ') return judged;
  const input = { one, device, kernel: file.kernel, cutsBelowBlock: false, straddles: cut };
  const rule = ruleFor(['answer'], input);
  return rule === null
    ? judged
    : { ...judged, verdict: { ...verdict, kind: 'rule', rule: rule.name } };
}

/** A passthrough command of a file of another topic than `map`. */
export function judgePassthroughCase(one: CaseRecord, replays: Replays): Judged {
  const { file, profile, passthrough } = replays;
  const [command] = passthroughCases([one]);
  const device = file.devices[one.device];
  const { verdict, ours } = judgePassthroughOne(command, device, profile, passthrough);
  const answer = ours === null ? null : { ...ours };
  switch (verdict.kind) {
    case 'agree':
      return { one, verdict: AGREE, ours: null, answer };
    case 'rule':
      return { one, verdict: { ...verdict, differences: [] }, ours: null, answer };
    case 'differ':
      return { one, verdict, ours: null, answer };
  }
}

/** Compares what is ours with what the record has in the same fields. */
function verdictOn(expected: object, answer: object): Verdict {
  const left = JSON.stringify(expected);
  const right = JSON.stringify(answer);
  if (left === right) return AGREE;
  return {
    kind: 'differ',
    differences: [{ field: 'answer', expected: left, actual: right }],
  };
}
