import type { BioIntegrity } from '../../integrity/bio-integrity.ts';
import { IovIter } from '../../iter/iov-iter.ts';
import { UserMeta } from '../passthrough/meta-rows.ts';

/** The submitter's record of the metadata of one bio. Pooled by the device. */
export class MetaPiece {
  readonly user = new UserMeta();
  /** What the bio has; null: not in use. */
  payload: BioIntegrity | null = null;
  /** Arrays that can be detached: in own pages, and these are where a read ends up. */
  isOutside = false;
  readonly origin = new IovIter();
}
