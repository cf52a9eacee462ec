import { profileNamed } from '../../limits/profile.ts';
import { compareOutcomes } from './compare.ts';
import { withoutRetries } from './direct-part.ts';
import { recordedIntegrity } from './recorded-integrity.ts';
import { Replays } from './replays.ts';
import { type CaseRecord, isReplayable, type RecordFile, type RequestRecord } from './schema.ts';
import { straddles } from './straddle.ts';

export interface StageJudged {
  readonly one: CaseRecord;
  /** null: the device got the kernel's tuples, and the transfer ended as there. */
  readonly why: string | null;
}

/** What the tags are inside a kernel: this library has those of the device at once. */
const INSIDE: readonly string[] = ['tuples', 'driver tuples', 'integrity segments'];

/**
 * The transfers of `file` on devices with metadata once more, with the stage that the queue of this
 * library has for it: the tuples on the way to the device must be the kernel's behind its driver,
 * and result, bios and requests the kernel's, too. Left out: what the judge of the kernel's own way
 * excuses or cannot determine.
 */
export function* judgeStage(file: RecordFile): Generator<StageJudged> {
  const [release = ''] = /^\d+\.\d+/.exec(file.kernel) ?? [];
  using replays = new Replays(file, profileNamed(`linux-${release}`));
  for (const one of file.cases) {
    const device = file.devices[one.device];
    if (!isReplayable(one) || device.limits.integrity === null) continue;
    if (straddles(one, recordedIntegrity(device, file.kernel).profile)) continue;
    const ours = replays.transfers.run(one, device, replays.profile, 'stage');
    if (ours.isPartial) continue;
    const kernel = withoutRetries(one);
    const [difference] = compareOutcomes(kernel, ours).differences.filter(
      ({ field }) => !INSIDE.includes(field),
    );
    const sent = difference === undefined ? sentDifference(kernel.requests, ours.requests) : null;
    const why =
      difference === undefined
        ? sent
        : `${difference.field}: expected ${difference.expected}, ours ${difference.actual}`;
    yield { one, why };
  }
}

/** The first request whose tuples the device gets otherwise; the tracer has the first kilobyte. */
function sentDifference(
  kernel: readonly RequestRecord[],
  ours: readonly RequestRecord[],
): string | null {
  for (const request of kernel) {
    const same = ours.find(({ sector, bytes }) => {
      return sector === request.sector && bytes === request.bytes;
    });
    for (const [i, { tuples = '' }] of (request.driverPi ?? []).entries()) {
      const sent = same?.driverPi?.[i]?.tuples?.slice(0, tuples.length);
      if (sent !== tuples) return `tuples at ${request.sector}: expected ${tuples}, ours ${sent}`;
    }
  }
  return null;
}
