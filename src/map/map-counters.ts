import { MAP_REASON_NAMES, MAP_REASONS, MapReason } from './verdict.ts';

/** What the submitter's side did since it was made; bytes of user data, not of rounding. */
export class MapCounters {
  transfers = 0;
  bytesMapped = 0;
  /** Bytes copied, by MapReason. */
  readonly bytesCopied = new Float64Array(MAP_REASONS);
  /** Bytes read from the device only to write the rest of their block back. */
  bytesReadBeforeWrite = 0;
  /** Buffers whose owner detached or resized them in flight. */
  detached = 0;
  /** Times that a transfer waited for a page of the program. */
  faultWaits = 0;
  /** Pages of programs that are pinned now, and the most that ever were. */
  pagesHeld = 0;
  pagesHeldMost = 0;
  /** Own pages in use now, and the most that ever were. */
  bouncePages = 0;
  bouncePagesMost = 0;

  hold(pages: number): void {
    this.pagesHeld += pages;
    if (this.pagesHeld > this.pagesHeldMost) this.pagesHeldMost = this.pagesHeld;
  }

  bounce(pages: number): void {
    this.bouncePages += pages;
    if (this.bouncePages > this.bouncePagesMost) this.bouncePagesMost = this.bouncePages;
  }

  /** `{ detachable: 4096 }`: the reasons that occurred. */
  copiedByReason(): Record<string, number> {
    const out: Record<string, number> = {};
    for (let reason: number = MapReason.DETACHABLE; reason < MAP_REASONS; reason++) {
      const bytes = this.bytesCopied[reason];
      if (bytes > 0) out[MAP_REASON_NAMES[reason]] = bytes;
    }
    return out;
  }
}
