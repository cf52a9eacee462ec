import { assert } from '../base/assert.ts';
import { BlockError } from '../base/block-error.ts';
import { PAGE_BYTES } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import type { BlockDevice } from '../device/block-device.ts';
import type { Arena } from '../memory/arena.ts';
import type { ArenaBuffer } from '../memory/arena-buffer.ts';
import { FreshTuples } from './fresh-tuples.ts';
import { GenerationTable, TABLE_BATCH } from './generation-table.ts';
import { IntentLog, logBufferBytes } from './intent-log.ts';
import { type Layout, TABLE_ENTRIES } from './layout.ts';
import { RowCalls } from './row-transfer.ts';
import { checkOf, PageMagic, Seal } from './seal.ts';
import {
  BOOT_BYTES,
  decodeSuperblock,
  encodeSuperblock,
  isUnclosed,
  StoreState,
  type Superblock,
} from './superblock.ts';
import { TupleCache } from './tuple-cache.ts';

/** Tuple pages that a commit writes in one call. */
const COMMIT_ROWS = 64;

export interface StoreParts {
  /** Whose blocks are protected. */
  readonly data: BlockDevice;
  /** Where the tuples are. */
  readonly store: BlockDevice;
  readonly layout: Layout;
  /** The last commit. */
  readonly superblock: Superblock;
  readonly arena: Arena;
  /** Tuple pages in memory. */
  readonly cachePages: number;
  /** Records of the log are on the medium before their data is sent. */
  readonly isOrdered: boolean;
  /** Of a later commit that does not count: it was not flushed before the host was restarted. */
  readonly undoneSequence?: number | undefined;
}

export interface CommitOptions {
  readonly state: StoreState;
  /** Waits for the medium. Default true; without, a power cut may undo the commit, and no more. */
  readonly isDurable?: boolean | undefined;
  /**
   * Writes the whole table, so that nothing of a commit that was cut off can be taken for it. The
   * sequence steps over that commit's, and is odd steps on: the copy of the last commit stays.
   */
  readonly isWholeTable?: boolean | undefined;
  /** The log stays as it is: the work that it names is not done. */
  readonly keepsLog?: boolean | undefined;
  /** Of UNFLUSHED: the run of the host. */
  readonly boot?: Uint8Array | undefined;
}

/** The tuples of one device, in memory and on the store: cache, table, log, and the commits. */
export class TupleStore {
  readonly data: BlockDevice;
  readonly store: BlockDevice;
  readonly layout: Layout;
  readonly arena: Arena;
  readonly seal: Seal;
  readonly table: GenerationTable;
  readonly fresh: FreshTuples;
  readonly cache: TupleCache;
  readonly log: IntentLog;
  readonly isOrdered: boolean;
  /** A commit may or may not have happened: nothing is written any more, the next opening tells. */
  isBroken = false;
  readonly #memory: readonly ArenaBuffer[];
  readonly #scratch: ArenaBuffer;
  readonly #dataCalls: RowCalls;
  readonly #storeCalls: RowCalls;
  #superblock: Superblock;
  readonly #undoneSequence: number;

  constructor(parts: StoreParts) {
    const { layout, superblock, arena } = parts;
    this.data = parts.data;
    this.store = parts.store;
    this.layout = layout;
    this.isOrdered = parts.isOrdered;
    this.arena = arena;
    this.#superblock = superblock;
    this.#undoneSequence = parts.undoneSequence ?? 0;
    this.seal = new Seal(superblock.salt);
    this.table = new GenerationTable(layout, this.seal);
    this.fresh = new FreshTuples(layout, superblock.fresh, arena);
    const pages = arena.alloc(parts.cachePages * PAGE_BYTES, 'tuple pages');
    const buffers = arena.alloc(2 * logBufferBytes(layout), 'intent log');
    this.#scratch = arena.alloc(2 * TABLE_BATCH * PAGE_BYTES, 'table pages');
    this.#memory = [pages, buffers, this.#scratch];
    this.#dataCalls = new RowCalls(parts.data, 1);
    this.#storeCalls = new RowCalls(parts.store, COMMIT_ROWS);
    const { seal, table, store, fresh } = this;
    this.cache = new TupleCache({ layout, seal, table, store, fresh, memory: pages });
    const tail = superblock.tail;
    this.log = new IntentLog({ layout, seal, store, memory: buffers, tail });
  }

  get state(): StoreState {
    return this.#superblock.state;
  }

  get superblock(): Superblock {
    return this.#superblock;
  }

  /** Reads the table. Rejects with EILSEQ when it is not the last commit's. */
  async load(): Promise<void> {
    const { sequence, root } = this.#superblock;
    await this.table.load(this.#storeCalls, sequence, root, this.#scratch.page);
  }

  /** Says on the medium, with the next flush, that writes may be in flight from now on. */
  async markOpen(): Promise<void> {
    if (isUnclosed(this.#superblock)) return;
    await this.#requireOurs();
    // What was closed in the host's cache is what a recovery begins with: it must be there.
    if (this.state === StoreState.UNFLUSHED) await this.#flushBoth();
    const next: Superblock = {
      ...this.#superblock,
      sequence: this.#superblock.sequence + 1,
      state: StoreState.OPEN,
      isOrdered: this.isOrdered,
      tail: this.log.tail,
      boot: new Uint8Array(BOOT_BYTES),
    };
    await this.#writeSuperblock(next);
    this.#superblock = next;
  }

  /**
   * Writes every dirty page, then the part of the table that names them, then the superblock: after
   * a cut in between, the commit before it counts. Pre: no write is in flight. A rejected commit
   * changed nothing, but for one that failed at its last step: then `isBroken`.
   */
  async commit(options: CommitOptions): Promise<void> {
    const isDurable = options.isDurable ?? true;
    assert(this.log.isIdle, 'protect: a commit with records on their way');
    const pages = this.cache.dirtyPages();
    const sequence = this.#superblock.sequence + (options.isWholeTable === true ? 3 : 1);
    const checks = pages.map((index) => this.table.checks[index] as number);
    const generations = pages.map((index) => this.table.generations[index] as number);
    let isAtLastStep = false;
    try {
      await this.#requireOurs();
      if (isDurable) await this.#dataCalls.flush();
      await this.#writePages(pages, sequence);
      const indexes = this.#tableIndexes(pages, options.isWholeTable ?? false);
      await this.#writeTable(indexes, sequence);
      if (isDurable) await this.#storeCalls.flush();
      const root = this.table.rootAfter(sequence, indexes, this.#scratch.page);
      const tail = options.keepsLog === true ? this.#superblock.tail : this.log.head;
      const boot = options.boot ?? new Uint8Array(BOOT_BYTES);
      const next = { ...this.#superblock, sequence, state: options.state, tail, boot, root };
      isAtLastStep = true;
      await this.#writeSuperblock(next);
      if (isDurable) await this.#storeCalls.flush();
      this.#superblock = next;
      this.table.committed(sequence, indexes);
    } catch (error) {
      this.isBroken ||= isAtLastStep; // Nobody knows which of the two superblocks counts.
      pages.forEach((index, i) => {
        this.table.checks[index] = checks[i] as number;
        this.table.generations[index] = generations[i] as number;
      });
      throw error;
    }
    for (const index of pages) this.cache.markClean(index);
    if (options.keepsLog !== true) this.log.truncate();
  }

  /** Gives the memory back. Pre: nothing in flight. */
  release(): void {
    assert(this.cache.isIdle && this.log.isIdle, 'protect: released in flight');
    for (const buffer of this.#memory) buffer.release();
  }

  /** Rejects with EBUSY when another process has written the store since: two cannot share it. */
  async #requireOurs(): Promise<void> {
    const { page } = this.#scratch;
    for (const copy of [0, 1]) {
      await this.#storeCalls.pages(BioOp.READ, this.layout.superblockAt(copy), page, 1);
      const found = decodeSuperblock(page);
      const known = Math.max(this.#superblock.sequence, this.#undoneSequence);
      if (typeof found !== 'object' || found.sequence <= known) continue;
      this.isBroken = true;
      const device = this.store.engine.info.target;
      const reason = 'another process has opened it for writing since';
      throw new BlockError('EBUSY', { reason, device });
    }
  }

  async #flushBoth(): Promise<void> {
    await this.#dataCalls.flush();
    await this.#storeCalls.flush();
  }

  async #writeSuperblock(next: Superblock): Promise<void> {
    const { page } = this.#scratch;
    encodeSuperblock(page, next);
    const at = this.layout.superblockAt(next.sequence & 1);
    await this.#storeCalls.pages(BioOp.WRITE, at, page, 1);
  }

  /** Runs of pages that stand in a row on the store go in one call. */
  async #writePages(pages: readonly number[], sequence: number): Promise<void> {
    const { rows } = this.#storeCalls;
    for (let from = 0; from < pages.length; ) {
      const first = pages[from] as number;
      rows.clear();
      let count = 0;
      let slot = 0;
      while (count < COMMIT_ROWS && pages[from + count] === first + count) {
        const index = first + count;
        const isSame = count === 0 || 1 - this.table.slotOf(index) === slot;
        if (!isSame) break;
        const generation = this.table.raise(index);
        slot = this.table.slotOf(index);
        const page = this.cache.frameOf(index);
        const header = { magic: PageMagic.TUPLES, generation, index, sequence };
        this.seal.sealPage(page, header);
        this.table.checks[index] = checkOf(page);
        rows.add(page, 0, PAGE_BYTES);
        count++;
      }
      await this.#storeCalls.run(BioOp.WRITE, this.layout.tuplePageAt(first, slot));
      from += count;
    }
  }

  #tableIndexes(pages: readonly number[], isWhole: boolean): number[] {
    if (isWhole) return Array.from({ length: this.layout.tablePages }, (_, i) => i);
    return [...new Set(pages.map((index) => Math.floor(index / TABLE_ENTRIES)))];
  }

  async #writeTable(indexes: readonly number[], sequence: number): Promise<void> {
    const { page } = this.#scratch;
    for (const index of indexes) {
      const at = this.table.encode(index, sequence, page);
      await this.#storeCalls.pages(BioOp.WRITE, at, page, 1);
    }
  }
}
