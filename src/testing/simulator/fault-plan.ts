import { Errno } from '../../base/errno.ts';
import { SECTOR_BYTES } from '../../base/units.ts';
import { BioOp, opHasData } from '../../bio/bio-op.ts';
import type { Request } from '../../queue/request.ts';
import { SeededRandom } from './seeded-random.ts';

/** Probabilities from 0 to 1 for each request, but for the delays. */
export interface FaultRates {
  /** A part is moved and reported with status 0; always some, never all. */
  readonly short: number;
  /** Fails with one of the errors that disks have, after a part that is reported. */
  readonly error: number;
  /** Of the failed writes: bytes behind the reported ones changed as well, here and there. */
  readonly torn: number;
  /** `submit` answers -EAGAIN for the request. */
  readonly refuse: number;
  /** `submit` takes fewer than there is room for. */
  readonly fewer: number;
  /** Takes a hundred times as long, so that others overtake it. */
  readonly slow: number;
  /** Of the writes: lands at another place of the disk. Default 0. */
  readonly misdirect?: number;
  /** Of the writes: a bit of what was written flips later. Default 0. */
  readonly rot?: number;
  /** Of the writes: the data, its tuples or both never get there. Default 0. */
  readonly lost?: number;
  /** Nanoseconds, both ends included. */
  readonly delayNs: readonly [least: number, most: number];
}

export const NO_FAULTS: FaultRates = {
  short: 0,
  error: 0,
  torn: 0,
  refuse: 0,
  fewer: 0,
  slow: 0,
  delayNs: [1_000, 20_000],
};

/** Halves of a write that a disk forgets. */
export const Lost = { DATA: 1, RECORDS: 2 } as const;

/** "The third write fails with ENOSPC." Exact rules come before probabilities. */
export interface FaultRule {
  /** From 1; counts the requests of `op`, or all when there is none. */
  readonly nth: number;
  readonly op?: BioOp | undefined;
  readonly fault:
    | { readonly kind: 'error'; readonly errno: Errno; readonly bytes?: number }
    | { readonly kind: 'short'; readonly bytes: number }
    | { readonly kind: 'refuse'; readonly errno: Errno }
    | { readonly kind: 'delay'; readonly delayNs: number };
}

/** What will happen to one request. One object for many answers: copy what you keep. */
export class Fate {
  /** 0, or the -errno that `submit` answers. */
  refusal = 0;
  /** 0 or -errno, in the completion. */
  status = 0;
  /** Bytes that are moved and reported. */
  bytes = 0;
  /** A failed write changes bytes behind the reported ones too. */
  isTorn = false;
  isMisdirected = false;
  rots = false;
  /** Lost, together. */
  lost = 0;
  /** From acceptance until the bytes have moved, and from then until it is finished. */
  moveNs = 0;
  finishNs = 0;
}

const DISK_ERRORS = [Errno.EIO, Errno.EIO, Errno.EIO, Errno.ETIMEDOUT, Errno.EREMOTEIO] as const;
const SLOW_FACTOR = 100;

/** Decides by one seed what goes wrong. The same requests in the same order have the same fate. */
export class FaultPlan {
  readonly fate = new Fate();
  /** How many requests got a fate other than success. */
  injected = 0;
  readonly #random: SeededRandom;
  #rates: FaultRates;
  readonly #rules: readonly FaultRule[];
  readonly #counts = new Map<BioOp | 'all', number>();

  /** `seed`: of its own numbers, or numbers that the whole world draws from. */
  constructor(
    seed: number | SeededRandom,
    rates: FaultRates = NO_FAULTS,
    rules: readonly FaultRule[] = [],
  ) {
    this.#random = typeof seed === 'number' ? new SeededRandom(seed) : seed;
    this.#rates = rates;
    this.#rules = rules;
  }

  /** Nothing goes wrong from now on. */
  heal(): void {
    this.#rates = NO_FAULTS;
  }

  /** How many of `count` a submit takes. Progress: at least one when nothing is in flight. */
  accepts(count: number, inFlight: number): number {
    if (count === 0 || !this.#random.chance(this.#rates.fewer)) return count;
    return this.#random.between(inFlight > 0 ? 0 : 1, count);
  }

  /** How many of `count` finished requests a reap gives: at least one. */
  reaps(count: number): number {
    if (count < 2 || !this.#random.chance(this.#rates.fewer)) return count;
    return this.#random.between(1, count);
  }

  /** The fate of the next request; fills and returns `fate`. */
  next(request: Request, blockBytes: number): Fate {
    const { fate } = this;
    const random = this.#random;
    const rates = this.#rates;
    fate.refusal = 0;
    fate.status = 0;
    fate.bytes = request.bytes;
    fate.isTorn = false;
    const spoils = request.op === BioOp.WRITE && rates.misdirect !== undefined;
    fate.isMisdirected = spoils && random.chance(rates.misdirect ?? 0);
    fate.rots = spoils && random.chance(rates.rot ?? 0);
    fate.lost = 0;
    if (rates.lost !== undefined && request.op === BioOp.WRITE && random.chance(rates.lost)) {
      fate.lost = random.between(Lost.DATA, Lost.DATA | Lost.RECORDS);
    }
    const [least, most] = rates.delayNs;
    const factor = random.chance(rates.slow) ? SLOW_FACTOR : 1;
    fate.moveNs = random.between(least, most) * factor;
    fate.finishNs = random.between(least, most);
    if (random.chance(rates.refuse)) fate.refusal = -Errno.EAGAIN;
    else if (random.chance(rates.error)) this.#fail(request, fate);
    else if (random.chance(rates.short)) this.#cut(request, blockBytes, fate);
    this.#applyRules(request.op, fate);
    if (fate.refusal !== 0 || fate.status !== 0 || fate.bytes !== request.bytes) this.injected++;
    return fate;
  }

  #fail(request: Request, fate: Fate): void {
    const random = this.#random;
    const isFull = request.op === BioOp.WRITE && random.chance(0.2);
    fate.status = -(isFull ? Errno.ENOSPC : random.pick(DISK_ERRORS));
    const sectors = Math.floor(request.bytes / SECTOR_BYTES);
    const hasPart = opHasData(request.op) && sectors > 0 && random.chance(0.5);
    fate.bytes = hasPart ? random.below(sectors) * SECTOR_BYTES : 0;
    fate.isTorn = request.op === BioOp.WRITE && random.chance(this.#rates.torn);
  }

  /** At least one block, so that every short transfer is progress; sometimes a ragged end. */
  #cut(request: Request, blockBytes: number, fate: Fate): void {
    const blocks = Math.floor(request.bytes / blockBytes);
    if (!opHasData(request.op) || blocks < 2) return;
    const random = this.#random;
    fate.bytes = random.between(1, blocks - 1) * blockBytes;
    if (random.chance(0.2)) fate.bytes += random.below(blockBytes);
  }

  #applyRules(op: BioOp, fate: Fate): void {
    const ofOp = (this.#counts.get(op) ?? 0) + 1;
    const ofAll = (this.#counts.get('all') ?? 0) + 1;
    this.#counts.set(op, ofOp);
    this.#counts.set('all', ofAll);
    for (const { nth, op: only, fault } of this.#rules) {
      if (nth !== (only === undefined ? ofAll : ofOp) || (only ?? op) !== op) continue;
      if (fault.kind === 'refuse') fate.refusal = -fault.errno;
      else if (fault.kind === 'delay') fate.moveNs = fault.delayNs;
      else {
        fate.status = fault.kind === 'error' ? -fault.errno : 0;
        fate.bytes = Math.min(fault.bytes ?? 0, fate.bytes);
      }
    }
  }
}
