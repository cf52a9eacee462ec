/** How often each change was reached. */
export type Hits = readonly (readonly [id: number, hits: number])[];

export interface FileCoverage {
  readonly file: string;
  /** Changes that were reached when it was loaded for the first time, with all it imports. */
  readonly atLoad: readonly number[];
  /** While the file was loaded again, and in hooks that are not one test's. */
  readonly around: Hits;
  /** By test, in the order of the file; `ms` of computing. */
  readonly tests: readonly { readonly hits: Hits; readonly ms: number }[];
}

/** Tests of one file by index; null = all. */
export interface PlannedFile {
  readonly file: string;
  readonly tests: readonly number[] | null;
}

/** From the parent to a worker. */
export type Job =
  | { readonly kind: 'cover'; readonly file: string }
  | {
      readonly kind: 'judge';
      readonly id: number;
      /** In a run without changes. */
      readonly hits: number;
      readonly plan: readonly PlannedFile[];
    }
  | { readonly kind: 'static'; readonly files: readonly string[] };

/** From a worker to the parent, one for its start and one for each job. */
export type Answer =
  | { readonly kind: 'ready'; readonly atLoad: readonly number[] }
  | { readonly kind: 'covered'; readonly coverage: FileCoverage }
  | { readonly kind: 'killed'; readonly by: string; readonly isSpoilt: boolean }
  | { readonly kind: 'survived' }
  /** Something threw outside of a test. */
  | { readonly kind: 'failed'; readonly why: string };
