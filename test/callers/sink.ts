import type { HoldKind } from '../../src/memory/holds.ts';

/** Page, offset in it, bytes. */
export type Entry = readonly [page: number, offset: number, len: number];

/** What a caller fills: it owns one hold on each page that an entry of `held` spans. */
export interface Sink {
  readonly hold: HoldKind;
  readonly held: readonly Entry[];
}
