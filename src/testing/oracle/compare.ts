import { type Difference, metadataDifferences } from './compare-metadata.ts';
import type { Outcome, RequestRecord, ResultRecord } from './schema.ts';

/** What is compared. Issue order and scatterlists are columns of their own: they fail nothing. */
export const FIELDS = ['result', 'bios', 'splits', 'merges', 'requests'] as const;
export type Field = (typeof FIELDS)[number];

export interface Comparison {
  readonly differences: readonly Difference[];
  readonly isOrderEqual: boolean;
  readonly isSgEqual: boolean;
}

/** Compares what the kernel did with what this library did on the same input. */
export function compareOutcomes(expected: Outcome, actual: Outcome): Comparison {
  const differences: Difference[] = [];
  for (const field of FIELDS) {
    const left = listOf(field, expected);
    const right = listOf(field, actual);
    const at = firstDifference(left, right);
    if (at < 0) continue;
    differences.push({ field, expected: part(left, at), actual: part(right, at) });
  }
  differences.push(...metadataDifferences(expected, actual));
  const sgOf = (request: RequestRecord): string => JSON.stringify([request.sector, request.sg]);
  return {
    differences,
    isOrderEqual: isEqual(expected.requests.map(requestKey), actual.requests.map(requestKey)),
    isSgEqual: isEqual(expected.requests.map(sgOf).sort(), actual.requests.map(sgOf).sort()),
  };
}

/** The field as a list of comparable lines. Requests are a multiset, the others are in order. */
function listOf(field: Field, outcome: Outcome): string[] {
  switch (field) {
    case 'result':
      return [resultKey(outcome.result)];
    case 'bios':
      return outcome.bios.map(({ op, sector, bytes, vecs }) =>
        JSON.stringify([op, sector, bytes, vecs]),
      );
    case 'splits':
      return outcome.events.filter((event) => event.startsWith('split '));
    case 'merges':
      return outcome.events.filter((event) => /^(?:back|front)merge /.test(event));
    case 'requests':
      return outcome.requests.map(requestKey).sort();
  }
}

function resultKey(result: ResultRecord): string {
  if (result.crash !== undefined) return `crash: ${result.crash}`;
  return JSON.stringify([result.ret, result.errno, result.res, result.results]);
}

function requestKey(request: RequestRecord): string {
  const { op, sector, bytes, nrPhysSegments, bios } = request;
  return JSON.stringify([op, sector, bytes, nrPhysSegments, bios]);
}

function firstDifference(left: readonly string[], right: readonly string[]): number {
  const most = Math.max(left.length, right.length);
  for (let i = 0; i < most; i++) if (left[i] !== right[i]) return i;
  return -1;
}

function part(list: readonly string[], at: number): string {
  return `${at + 1} of ${list.length}: ${list[at] ?? 'none'}`;
}

function isEqual(left: readonly string[], right: readonly string[]): boolean {
  return firstDifference(left, right) < 0;
}
