import { fail } from '../../base/assert.ts';
import type { Outcome } from './schema.ts';

/**
 * What direct I/O did of `outcome`. After a short direct transfer the kernel goes on through its
 * page cache with the rest, and those bios, of pages that are not the program's, stand in the same
 * record, behind: a synchronous transfer has waited for all of its own before.
 */
export function directPart(outcome: Outcome): Outcome {
  const { bios, events, requests, result } = outcome;
  const count = bios.findIndex((bio) => bio.fromPageCache === true);
  if (count < 0) return outcome;
  if (bios.slice(count).some((bio) => bio.fromPageCache !== true)) {
    fail('record: a direct bio behind one of the page cache');
  }
  const queued = events.flatMap((event, at) => (event.startsWith('queue ') ? [at] : []));
  const own = events.slice(0, queued[count]);
  const issued = own.filter((event) => event.startsWith('issue ')).length;
  return { result, bios: bios.slice(0, count), events: own, requests: requests.slice(0, issued) };
}

/**
 * A driver may issue a request again after an error: it stands in the record once more, without a
 * status. Here a driver's retries are its own affair.
 */
export function withoutRetries(outcome: Outcome): Outcome {
  const seen = new Set<string>();
  const requests = outcome.requests.filter(({ op, sector, bios, status }) => {
    const key = JSON.stringify([op, sector, bios]);
    const isAgain = status === undefined && seen.has(key);
    seen.add(key);
    return !isAgain;
  });
  return { ...outcome, requests };
}
