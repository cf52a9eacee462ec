import type { Profile } from '../../limits/profile.ts';
import type { Difference } from './compare-metadata.ts';
import { judgeCrc, judgePassthroughCase, judgeStored } from './judge-answers.ts';
import { judgeTransfer } from './judge-transfer.ts';
import { type Judged, notCovered } from './judged.ts';
import { isPassthrough } from './passthrough-replay.ts';
import { Replays } from './replays.ts';
import { type CaseRecord, isReplayable, type RecordFile, whyNotCovered } from './schema.ts';

/** Replays every case of `file` under `profile` and compares, one after the other. */
export function* judgeFile(file: RecordFile, profile: Profile): Generator<Judged> {
  using replays = new Replays(file, profile);
  for (const one of file.cases) {
    let judged: Judged;
    try {
      judged = judgeCase(one, replays);
    } catch (error) {
      const actual = error instanceof Error ? error.message : String(error);
      const difference: Difference = { field: 'replay', expected: 'a replay', actual };
      const verdict = { kind: 'differ', differences: [difference] } as const;
      judged = { one, verdict, ours: null, answer: null };
      replays.abandon();
    }
    yield judged;
  }
}

function judgeCase(one: CaseRecord, replays: Replays): Judged {
  if (one.op === 'crc') return judgeCrc(one, replays);
  if (one.op === 'storedTuples') return judgeStored(one, replays);
  if (isPassthrough(one)) return judgePassthroughCase(one, replays);
  const why = whyNotCovered(one);
  if (why === null && isReplayable(one)) return judgeTransfer(one, replays);
  return notCovered(one, why ?? one.op);
}
