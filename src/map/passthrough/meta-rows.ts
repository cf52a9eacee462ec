import type { Bio } from '../../bio/bio.ts';
import { BvecTable } from '../../bvec/bvec-table.ts';
import { MapReason } from '../verdict.ts';
import type { RowRun } from './own-chunks.ts';

/** Pages of metadata that one bio may have (Linux: BIO_MAX_VECS). */
export const META_PAGES_MAX = 256;

/**
 * The metadata of a program beside one bio. Pooled by its owner.
 *
 * Two sets of columns, each with one meaning in every state: `table` has own pages and nothing
 * else, the entries have memory of the program and nothing else. Metadata that the block layer
 * made for itself has no entries and pays nothing for them.
 */
export class UserMeta implements RowRun {
  /** The bio that it belongs to; null: not in use. */
  bio: Bio | null = null;
  bytes = 0;
  isRead = false;
  isCopied = false;
  reason: MapReason = MapReason.FITS;
  /** Own pages: rows 0 … vcnt of `table`. */
  readonly first = 0;
  readonly maxVecs = META_PAGES_MAX;
  vcnt = 0;
  /** Bytes of own pages. */
  size = 0;
  /** Pinned ranges of the program, each in one folio and with one pin. */
  entries = 0;
  #entryRows: BvecTable | null = null;
  #table: BvecTable | null = null;

  get isAttached(): boolean {
    return this.bio !== null;
  }

  /** Rows of own pages; made when they are first wanted. */
  get table(): BvecTable {
    this.#table ??= new BvecTable(META_PAGES_MAX);
    return this.#table;
  }

  /** Made when it is first wanted. */
  entryRows(): BvecTable {
    this.#entryRows ??= new BvecTable(META_PAGES_MAX);
    return this.#entryRows;
  }

  /** Pre: nothing is pinned or owned. */
  detach(): void {
    this.bio = null;
    this.bytes = 0;
    this.isCopied = false;
    this.reason = MapReason.FITS;
  }
}
