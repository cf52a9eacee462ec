import { pinTotals } from './holds.ts';

/** Who holds which pages: one run of neighbouring page frames. */
export interface HoldEntry {
  readonly page: number;
  readonly pages: number;
  /** 'pinned', 'referenced', 'borrowed' or 'owned'. */
  readonly kind: string;
  /** The call that took the hold: 'read 128 KiB at 4096'. */
  readonly by: string;
  /** When, by the clock of the environment; 0: it has none. */
  readonly sinceNs: number;
  /** Transfer that splits and merges keep, or 0. */
  readonly traceId: number;
}

/** Something that holds pages and can say which. It is asked, so that holding costs nothing. */
export interface HoldSource {
  /** 'device disk.img', 'registered region guest memory' … */
  readonly name: string;
  holds(): Iterable<HoldEntry>;
}

export interface SourceHolds {
  readonly source: string;
  readonly holds: readonly HoldEntry[];
}

export interface HoldsReport {
  readonly sources: readonly SourceHolds[];
  /** Pins in the process, counted by page. */
  readonly pinnedPages: number;
  /** Pins that no source knows: somebody pinned by hand, or leaks. */
  readonly unexplainedPages: number;
}

const sources = new Set<HoldSource>();

/** From now on the source is asked. Pre: it was not added before. Undo: `removeHoldSource`. */
export function addHoldSource(source: HoldSource): void {
  sources.add(source);
}

export function removeHoldSource(source: HoldSource): void {
  sources.delete(source);
}

/** Everything that is held now, by whom, and what nobody explains. Control plane. */
export function holdsReport(): HoldsReport {
  const list: SourceHolds[] = [];
  const pinnedPages = pinTotals.acquired - pinTotals.released;
  let explained = 0;
  for (const source of sources) {
    const holds = [...source.holds()];
    for (const { kind, pages } of holds) if (kind === 'pinned') explained += pages;
    if (holds.length > 0) list.push({ source: source.name, holds });
  }
  return { sources: list, pinnedPages, unexplainedPages: pinnedPages - explained };
}
