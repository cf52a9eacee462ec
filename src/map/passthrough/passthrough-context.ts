import { assert } from '../../base/assert.ts';
import type { BioPool } from '../../bio/bio-pool.ts';
import type { Limits } from '../../limits/limits.ts';
import { DEFAULT_PROFILE, type Profile } from '../../limits/profile.ts';
import { MapCounters } from '../map-counters.ts';
import type { CopyPolicy } from '../verdict.ts';
import { MapReason, Verdict } from '../verdict.ts';
import { PASSTHROUGH_RULES, type PassthroughRules } from './passthrough-rules.ts';
import type { RequestMemory } from './request-memory.ts';
import { UserCopy } from './user-copy.ts';

/** Where own pages come from; an `Arena` is one. */
export interface FolioSource {
  /** The head of a folio of 2^order pages, or -1: there is none now. */
  getFolio(order: number): number;
  putFolio(page: number): void;
}

export interface PassthroughOptions {
  readonly limits: Limits;
  readonly folios: FolioSource;
  /** Only passthrough takes bios from it: it may hold several that are not submitted. */
  readonly bios: BioPool;
  readonly profile?: Profile;
  readonly rules?: PassthroughRules;
  readonly counters?: MapCounters;
}

/** What a device gives to all its passthrough requests. */
export class PassthroughContext {
  readonly limits: Limits;
  readonly folios: FolioSource;
  readonly bios: BioPool;
  readonly profile: Profile;
  readonly rules: PassthroughRules;
  readonly counters: MapCounters;
  readonly #copies: UserCopy[] = [];
  #copiesOut = 0;

  constructor(options: PassthroughOptions) {
    this.limits = options.limits;
    this.folios = options.folios;
    this.bios = options.bios;
    this.profile = options.profile ?? DEFAULT_PROFILE;
    this.rules = options.rules ?? PASSTHROUGH_RULES[this.profile.name];
    this.counters = options.counters ?? new MapCounters();
  }

  /** The record of a copied bio. As many as there are bios: the pool of bios is the bound. */
  acquireCopy(): UserCopy {
    this.#copiesOut++;
    return this.#copies.pop() ?? new UserCopy(this);
  }

  releaseCopy(copy: UserCopy): void {
    this.#copiesOut--;
    assert(this.#copiesOut >= 0, 'passthrough: a copy was released twice');
    copy.clear();
    this.#copies.push(copy);
  }

  /** Fails unless every request was unmapped. */
  assertNothingOutstanding(): void {
    const { pagesHeld, bouncePages } = this.counters;
    assert(this.#copiesOut === 0, 'passthrough: a copied bio was not unmapped');
    assert(pagesHeld === 0, 'passthrough: pages of programs are held');
    assert(bouncePages === 0, 'passthrough: own pages are in use');
    assert(this.bios.busyCount === 0, 'passthrough: bios are in use');
  }
}

/** What became of the last request that it was given to. */
export class MapOutcome {
  verdict: Verdict = Verdict.MAP;
  reason: MapReason = MapReason.FITS;
}

export interface MapUserOptions {
  readonly context: PassthroughContext;
  /** Default 'auto'. */
  readonly copy?: CopyPolicy;
  /** Pages of the driver that the data must go through. */
  readonly memory?: RequestMemory | null;
  readonly outcome?: MapOutcome;
}
