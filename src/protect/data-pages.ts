import { BlockError } from '../base/block-error.ts';
import { PAGE_BYTES, roundUp } from '../base/units.ts';
import { generate } from '../integrity/generate.ts';
import { PiWalk } from '../integrity/pi-walk.ts';
import type { PiFault } from '../integrity/verify.ts';
import type { ArenaBuffer } from '../memory/arena-buffer.ts';
import { BlockFit } from './block-fit.ts';
import { OneRow } from './fresh-tuples.ts';
import { PagePins } from './page-pins.ts';
import { RowCalls } from './row-transfer.ts';
import type { TupleStore } from './tuple-store.ts';

/** Hears of one block whose tuple does not fit, or (`null`) that cannot be read. */
export type BlockFault = (block: number, fault: PiFault | null) => void;

/**
 * Goes over data by pages of tuples: the blocks of one page (254 of 4 KiB) in one read. For work on
 * whole images while nobody writes; a few of these run beside each other.
 */
export class DataPages {
  readonly #tuples: TupleStore;
  readonly #calls: RowCalls;
  readonly #pins: PagePins;
  readonly #fit: BlockFit;
  readonly #walk = new PiWalk();
  readonly #dataRow = new OneRow();
  readonly #tupleRow = new OneRow();
  readonly #data: ArenaBuffer;

  constructor(tuples: TupleStore) {
    const { layout, arena } = tuples;
    this.#tuples = tuples;
    this.#calls = new RowCalls(tuples.data, 1);
    this.#pins = new PagePins(tuples.cache);
    this.#fit = new BlockFit(layout);
    const bytes = Math.min(layout.tuplesPerPage, layout.blocks) * layout.intervalBytes;
    this.#data = arena.alloc(roundUp(bytes, PAGE_BYTES), 'data of a page of tuples');
  }

  release(): void {
    this.#data.release();
  }

  /** Compares every block of page `index` with its tuple. */
  async check(index: number, onFault: BlockFault): Promise<void> {
    await this.#withPage(index, async (first, count) => {
      if (await this.#read(first, count)) this.#compare(first, count, 0, onFault);
      else await this.#checkOneByOne(first, count, onFault);
    });
  }

  /** Makes the tuple of every block of page `index`. Rejects when the data cannot be read. */
  async make(index: number): Promise<void> {
    await this.#withPage(index, async (first, count) => {
      const { layout, cache } = this.#tuples;
      const { profile, intervalBytes, tupleBytes } = layout;
      if (!(await this.#read(first, count))) {
        const device = this.#tuples.data.engine.info.target;
        const offset = first * intervalBytes;
        const reason = `the data at ${offset} cannot be read`;
        throw new BlockError('EIO', { reason, device, offset });
      }
      const data = this.#dataRow.rows(this.#data.page, 0, count * intervalBytes);
      const at = layout.tupleAt(first);
      const tuples = this.#tupleRow.rows(cache.frameOf(index), at, count * tupleBytes);
      this.#walk.startSeparate(profile, data, tuples);
      generate(this.#walk, profile, first);
      cache.markDirty(index);
    });
  }

  async #withPage(
    index: number,
    work: (first: number, count: number) => Promise<void>,
  ): Promise<void> {
    const { layout } = this.#tuples;
    await this.#pins.pin(index, 1);
    try {
      await work(layout.firstBlockOf(index), layout.blocksOn(index));
    } finally {
      this.#pins.unpin(index, 1);
    }
  }

  /** False: it cannot be read. */
  #read(first: number, count: number): Promise<boolean> {
    const { intervalBytes } = this.#tuples.layout;
    return this.#calls.canRead(first * intervalBytes, this.#data.page, count * intervalBytes);
  }

  async #checkOneByOne(first: number, count: number, onFault: BlockFault): Promise<void> {
    for (let block = first; block < first + count; block++) {
      if (await this.#read(block, 1)) this.#compare(block, 1, 0, onFault);
      else onFault(block, null);
    }
  }

  #compare(first: number, count: number, dataAt: number, onFault: BlockFault): void {
    const { layout, cache } = this.#tuples;
    const page = cache.frameOf(layout.pageOf(first));
    for (let done = 0; done < count; done++) {
      const block = first + done;
      const at = dataAt + done * layout.intervalBytes;
      const left = count - done;
      const tupleAt = layout.tupleAt(block);
      done += this.#fit.fitting(block, left, this.#data.page, at, page, tupleAt);
      if (done < count) onFault(first + done, this.#fit.fault);
    }
  }
}

/** Pages in flight at once: one is read while another is computed. */
const WORKERS = 4;

/**
 * Runs `work` for pages first … end of a store, a few at once; stops early when `signal` is
 * aborted. Returns the first page that was not begun; the first failure is thrown when all ended.
 */
export async function forEachPageOf(
  tuples: TupleStore,
  first: number,
  end: number,
  signal: AbortSignal | null,
  work: (pages: DataPages, index: number) => Promise<void>,
): Promise<number> {
  let next = first;
  let failure: unknown = null;
  const run = async (): Promise<void> => {
    const pages = new DataPages(tuples);
    try {
      while (next < end && failure === null && signal?.aborted !== true) await work(pages, next++);
    } catch (error) {
      failure ??= error;
    } finally {
      pages.release();
    }
  };
  await Promise.all(Array.from({ length: Math.min(WORKERS, end - first) }, run));
  if (failure !== null) throw failure;
  return next;
}
