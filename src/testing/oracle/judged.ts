import type { Difference } from './compare-metadata.ts';
import type { Replayed } from './replay.ts';
import type { CaseRecord } from './schema.ts';

export type Verdict =
  | { readonly kind: 'agree'; readonly isOrderEqual: boolean; readonly isSgEqual: boolean }
  | { readonly kind: 'rule'; readonly rule: string; readonly differences: readonly Difference[] }
  | { readonly kind: 'differ'; readonly differences: readonly Difference[] }
  | { readonly kind: 'not-covered'; readonly why: string };

export interface Judged {
  readonly one: CaseRecord;
  readonly verdict: Verdict;
  /** Of a transfer; null when the case is none, is not covered, or its replay failed. */
  readonly ours: Replayed | null;
  /** What is ours of a case that is no transfer, in the fields of the record. */
  readonly answer: object | null;
}

/** A case that nothing here can be held against. */
export function notCovered(one: CaseRecord, why: string): Judged {
  return { one, verdict: { kind: 'not-covered', why }, ours: null, answer: null };
}
