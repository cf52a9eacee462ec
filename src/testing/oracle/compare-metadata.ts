import type { Outcome, PiRecord, RequestRecord } from './schema.ts';

export interface Difference {
  /**
   * A `Field` of a transfer, a `MetadataField`, a field of a passthrough command, or 'answer' of
   * what is no I/O; 'replay': our own run went wrong, so there is nothing to compare.
   */
  readonly field: string;
  readonly expected: string;
  readonly actual: string;
}

/**
 * What is compared of the metadata of requests, as far as the record has it: tuples with the ref
 * tags of the submitter (made for a write, given by the device for a read), the same as the driver
 * sends them, and how many segments they are, with their scatterlist.
 */
export type MetadataField = 'tuples' | 'driver tuples' | 'integrity segments';

export function metadataDifferences(expected: Outcome, actual: Outcome): Difference[] {
  const left = sorted(expected);
  const right = sorted(actual);
  // Requests that differ themselves are told elsewhere.
  if (left.length !== right.length) return [];
  const differences: Difference[] = [];
  for (const [i, request] of left.entries()) {
    const ours = right[i];
    if (request.sector !== ours.sector || request.bios.length !== ours.bios.length) break;
    const check = (field: MetadataField, wanted: unknown, seen: unknown): void => {
      const texts = [wanted, seen].map((value) => JSON.stringify(value));
      if (texts[0] === texts[1]) return;
      if (differences.some((difference) => difference.field === field)) return;
      const [was, is] = texts.map((text) => `request at ${request.sector}: ${text}`);
      differences.push({ field, expected: was, actual: is });
    };
    const tuples = request.pi ?? request.deviceTuples ?? [];
    check('tuples', tuples.map(keyOf), like(tuples, ours.pi ?? ours.deviceTuples ?? []));
    const sent = request.driverPi ?? [];
    // Only the RAM disk had a tracer in its driver.
    if (request.driverPi !== undefined) {
      check('driver tuples', sent.map(keyOf), like(sent, ours.driverPi ?? []));
    }
    // Linux 6.1 counts 0 for a bio that nobody was tried against, which the record leaves out.
    const counts = [request, ours].map(({ nrIntegritySegments: count = 0 }) => count);
    check('integrity segments', counts[0], counts[1]);
    if (request.integritySg !== undefined) {
      check('integrity segments', request.integritySg, ours.integritySg ?? []);
    }
  }
  return differences;
}

function sorted({ requests }: Outcome): RequestRecord[] {
  const keyed = requests.map((request) => {
    const { op, sector, bytes, bios } = request;
    return { request, key: JSON.stringify([op, sector, bytes, bios]) };
  });
  keyed.sort((left, right) => (left.key < right.key ? -1 : left.key > right.key ? 1 : 0));
  return keyed.map(({ request }) => request);
}

function keyOf({ seed, bytes, flags, tuples }: PiRecord): unknown[] {
  return [seed, bytes, flags, tuples];
}

/** `ours` with as many digits as the record has: the tracer wrote down the first kilobyte. */
function like(records: readonly PiRecord[], ours: readonly PiRecord[]): unknown[] {
  return ours.map((one, i) => {
    const { tuples } = records[i] ?? {};
    return keyOf(tuples === undefined ? withoutTuples(one) : cut(one, tuples.length));
  });
}

function withoutTuples({ tuples: _tuples, ...one }: PiRecord): PiRecord {
  return one;
}

function cut(one: PiRecord, digits: number): PiRecord {
  return one.tuples === undefined ? one : { ...one, tuples: one.tuples.slice(0, digits) };
}
