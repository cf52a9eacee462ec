import { assert } from '../../base/assert.ts';
import { KIB } from '../../base/units.ts';
import { BioIntegrityPool } from '../../integrity/bio-integrity-pool.ts';
import {
  hasRefTag,
  type IntegrityProfile,
  intervalBytes,
  metadataBytesOf,
} from '../../integrity/integrity-profile.ts';
import type { Limits } from '../../limits/limits.ts';
import type { Profile } from '../../limits/profile.ts';
import type { Arena } from '../../memory/arena.ts';
import { MapCounters } from '../map-counters.ts';
import { maxPassthroughBytes } from '../passthrough/bio-chain.ts';
import { segmentWindow } from '../passthrough/chunk-plan.ts';
import { PASSTHROUGH_RULES, type PassthroughRules } from '../passthrough/passthrough-rules.ts';
import { MetaPiece } from './meta-piece.ts';
import { ReserveFolios } from './reserve-folios.ts';

/** Metadata of one bio, at most, unless one block has more: what the reserve can hold. */
const SHARE_BYTES = 64 * KIB;

export interface MetaContextOptions {
  readonly profile: IntegrityProfile;
  readonly limits: Limits;
  readonly kernel: Profile;
  readonly arena: Arena;
  /** As many as the bios that may have a program's metadata. */
  readonly payloads: number;
}

/** What a device gives to the metadata of all its mappings. */
export class MetaContext {
  readonly profile: IntegrityProfile;
  readonly limits: Limits;
  readonly rules: PassthroughRules;
  readonly counters = new MapCounters();
  readonly folios: ReserveFolios;
  readonly payloads: BioIntegrityPool;
  /** Bytes of data that one bio with a program's metadata may have. */
  readonly dataBytesMax: number;
  readonly countsRefs: boolean;
  readonly #free: MetaPiece[] = [];

  /** Throws BlockError ENOMEM. */
  constructor({ profile, limits, kernel, arena, payloads }: MetaContextOptions) {
    this.profile = profile;
    this.limits = limits;
    this.rules = PASSTHROUGH_RULES[kernel.name];
    this.countsRefs = hasRefTag(profile);
    const unit = Math.max(limits.logical_block_size, limits.dma_alignment + 1);
    const least = metadataBytesOf(profile, unit);
    // One segment holds it, so that a copy fits wherever one segment does, and max_hw_sectors does
    // not refuse the metadata of a bio that could have been shorter.
    const fits = Math.min(SHARE_BYTES, segmentWindow(limits), maxPassthroughBytes(limits));
    const most = Math.max(least, fits);
    const bytes = Math.floor(most / profile.metadata_size) * intervalBytes(profile);
    this.dataBytesMax = bytes - (bytes % unit);
    this.folios = new ReserveFolios(arena, most);
    this.payloads = new BioIntegrityPool({ payloads, rows: 0, profile });
  }

  take(): MetaPiece {
    return this.#free.pop() ?? new MetaPiece();
  }

  /** Pre: nothing is pinned or owned. */
  give(piece: MetaPiece): void {
    const { payload } = piece;
    if (payload !== null) this.payloads.release(payload);
    piece.payload = null;
    piece.isOutside = false;
    assert(!piece.user.isAttached && piece.user.entries === 0, 'metadata: given back in use');
    this.#free.push(piece);
  }

  /** Pins, own pages and payloads that are out. */
  get busyCount(): number {
    const { pagesHeld, bouncePages } = this.counters;
    return pagesHeld + bouncePages + this.payloads.busyCount;
  }

  /** Pre: nothing is in flight. */
  close(): void {
    this.folios.release();
  }
}
