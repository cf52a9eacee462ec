import type { BioPool } from '../bio/bio-pool.ts';
import type { Limits } from '../limits/limits.ts';
import type { Profile } from '../limits/profile.ts';
import type { IntegrityStage } from './integrity-stage.ts';
import type { RequestTable } from './request-table.ts';

/** Where requests go: the part of the engine contract that the queue needs. */
export interface RequestSink {
  submit(tags: Uint32Array, first: number, count: number): number;
}

export interface BlockQueueOptions {
  readonly limits: Limits;
  readonly profile: Profile;
  readonly table: RequestTable;
  readonly sink: RequestSink;
  /** Fronts of splits come from here: a pool of this layer's own. */
  readonly splitPool: BioPool;
  /** Metadata beside the data. Left out: the device has none. */
  readonly integrity?: IntegrityStage | undefined;
  /** Bytes of a device that cannot grow, asked for at each bio. Left out: it has no end. */
  readonly sizeBytes?: (() => number) | undefined;
}
