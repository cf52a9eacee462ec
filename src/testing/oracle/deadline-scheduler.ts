import type { Bio } from '../../bio/bio.ts';
import { BioFlag, BioOp } from '../../bio/bio-op.ts';
import type { Limits } from '../../limits/limits.ts';
import { gapAtJoint, maxSectorsAt } from '../../queue/merge.ts';
import type { Request } from '../../queue/request.ts';

/** Requests that are one on the device, in order. */
export type Parts = Request[];

/** Requests of one direction in a row (Linux: fifo_batch). */
const BATCH_REQUESTS = 16;
/** Read batches that may pass waiting writes (Linux: writes_starved). */
const WRITES_STARVED = 2;

/**
 * What mq-deadline does to a plug's requests between insertion and dispatch: it joins them end to
 * end, and issues in sector order, reads first. Only so much as a recorded case can show: nothing
 * expires, there is one priority, and the queue is empty again after each dispatch.
 * Linux: block/mq-deadline.c, elv_attempt_insert_merge() in block/elevator.c.
 */
export class DeadlineScheduler {
  readonly #limits: Limits;
  readonly #onMerge: (next: Request) => void;
  /** Oldest first. */
  readonly #queued: Parts[] = [];
  /** Those that may grow, last changed last: the order in which Linux finds them by their end. */
  readonly #growing: Parts[] = [];
  #lastMerge: Parts | null = null;
  #lastOp: BioOp = BioOp.READ;
  #batched = 0;
  #starved = 0;
  /** The next request in sector order behind the last one issued. */
  readonly #next = new Map<BioOp, Parts | null>();

  constructor(limits: Limits, onMerge: (next: Request) => void) {
    this.#limits = limits;
    this.#onMerge = onMerge;
  }

  insert(request: Request): void {
    const parts = [request];
    if (this.#limits.nomerges !== 2 && this.#insertMerge(parts)) return;
    this.#queued.push(parts);
    if (!isMergeable(parts)) return;
    this.#growing.push(parts);
    this.#lastMerge ??= parts;
  }

  /** The request to issue next, or null. */
  dispatch(): Parts | null {
    if (this.#queued.length === 0) return null;
    let parts = this.#next.get(this.#lastOp) ?? null;
    if (parts === null || this.#batched >= BATCH_REQUESTS) {
      const op = this.#chooseOp();
      parts = this.#next.get(op) ?? this.#queued.find((one) => one[0].op === op) ?? null;
      this.#lastOp = op;
      this.#batched = 0;
    }
    if (parts === null) return null;
    this.#batched++;
    this.#remove(parts);
    if (this.#lastMerge === parts) this.#lastMerge = null;
    this.#next.set(parts[0].op, this.#following(parts));
    return parts;
  }

  #chooseOp(): BioOp {
    const hasReads = this.#queued.some(([first]) => first.op === BioOp.READ);
    const hasWrites = this.#queued.some(([first]) => first.op !== BioOp.READ);
    if (hasReads && !(hasWrites && this.#starved++ >= WRITES_STARVED)) return BioOp.READ;
    this.#starved = 0;
    return BioOp.WRITE;
  }

  #following(issued: Parts): Parts | null {
    const sector = issued[0].sector;
    let nearest: Parts | null = null;
    for (const parts of this.#queued) {
      if (parts[0].op !== issued[0].op || parts[0].sector < sector) continue;
      if (nearest === null || parts[0].sector < nearest[0].sector) nearest = parts;
    }
    return nearest;
  }

  /** A merged request may close a gap, so its own front is tried again. */
  #insertMerge(parts: Parts): boolean {
    if (this.#lastMerge !== null && this.#join(this.#lastMerge, parts)) return true;
    if (this.#limits.nomerges === 1) return false;
    let current = parts;
    let isMerged = false;
    for (;;) {
      const start = current[0].sector;
      const before = this.#growing.findLast((one) => endOf(one) === start);
      if (before === undefined || !this.#join(before, current)) return isMerged;
      this.#remove(current);
      current = before;
      isMerged = true;
    }
  }

  /** Linux: attempt_merge() and ll_merge_requests_fn(): counts add, as with bios. */
  #join(parts: Parts, next: Parts): boolean {
    if (!isMergeable(parts) || !isMergeable(next) || parts[0].op !== next[0].op) return false;
    if (endOf(parts) !== next[0].sector) return false;
    const tail = parts[parts.length - 1].bioTail as Bio;
    const nextBio = next[0].bio as Bio;
    if (gapAtJoint(parts[0].bio as Bio, tail, nextBio, this.#limits)) return false;
    const [first] = parts;
    const sectors = endOf(next) - first.sector;
    if (sectors > maxSectorsAt(first.op, first.sector, this.#limits)) return false;
    if (segmentsOf(parts) + segmentsOf(next) > this.#limits.max_segments) return false;
    this.#onMerge(next[0]);
    parts.push(...next);
    this.#lastMerge = parts;
    this.#growing.splice(this.#growing.indexOf(parts), 1);
    this.#growing.push(parts);
    return true;
  }

  #remove(parts: Parts): void {
    for (const list of [this.#queued, this.#growing]) {
      const at = list.indexOf(parts);
      if (at >= 0) list.splice(at, 1);
    }
  }
}

function isMergeable(parts: Parts): boolean {
  return parts.every((part) => (part.flags & (BioFlag.NOMERGE | BioFlag.FUA)) === 0);
}

function endOf(parts: Parts): number {
  const last = parts[parts.length - 1];
  return last.sector + last.sectors;
}

function segmentsOf(parts: Parts): number {
  return parts.reduce((sum, part) => sum + part.segments, 0);
}
