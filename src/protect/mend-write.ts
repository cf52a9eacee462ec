import { BlockError } from '../base/block-error.ts';
import { PAGE_BYTES, roundUp } from '../base/units.ts';
import { BioOp } from '../bio/bio-op.ts';
import { copyPages } from '../memory/copy.ts';
import { BlockFit } from './block-fit.ts';
import { RecordKind } from './log-record.ts';
import type { ProtectSlot } from './protect-slot.ts';
import { RowCalls } from './row-transfer.ts';
import type { TupleStore } from './tuple-store.ts';

/**
 * After a write that failed: its blocks are as they were, new, or torn, and only reading tells. The
 * tuple that fits becomes the block's; where none does the new one stays, and the block is bad
 * until it is written again.
 */
export class WriteMender {
  readonly #tuples: TupleStore;
  readonly #calls: RowCalls;
  readonly #fit: BlockFit;
  #turn: Promise<void> = Promise.resolve();

  constructor(tuples: TupleStore) {
    this.#tuples = tuples;
    this.#calls = new RowCalls(tuples.data, 1);
    this.#fit = new BlockFit(tuples.layout);
  }

  /** One after the other: failures are rare, and memory for one is enough. */
  mend(slot: ProtectSlot): Promise<void> {
    const turn = this.#turn.then(() => this.#mend(slot));
    this.#turn = turn;
    return turn;
  }

  async #mend(slot: ProtectSlot): Promise<void> {
    const { cache, arena } = this.#tuples;
    const { first, count, tuplePage } = slot;
    if (slot.op === BioOp.WRITE || slot.op === BioOp.WRITE_ZEROES) {
      try {
        using buffer = arena.alloc(roundUp(slot.bytes, PAGE_BYTES), 'failed write');
        await this.#readBack(slot, buffer.page);
        for (let i = 0; i < count; i++) this.#settle(slot, i, buffer.page);
      } catch (error) {
        if (!(error instanceof BlockError)) throw error; // Unreadable: the new tuples stand.
      }
    }
    cache.store(first, count, tuplePage, 0);
    await this.#record(slot);
  }

  async #readBack(slot: ProtectSlot, page: number): Promise<void> {
    const { rows } = this.#calls;
    rows.clear();
    rows.add(page, 0, slot.bytes);
    await this.#calls.run(BioOp.READ, slot.first * this.#tuples.layout.intervalBytes);
  }

  #settle(slot: ProtectSlot, index: number, page: number): void {
    const { layout, cache } = this.#tuples;
    const block = slot.first + index;
    const dataAt = index * layout.intervalBytes;
    const newAt = index * layout.tupleBytes;
    const fit = this.#fit;
    if (fit.fitting(block, 1, page, dataAt, slot.tuplePage, newAt) === 1) return;
    const oldPage = cache.frameOf(layout.pageOf(block));
    const oldAt = layout.tupleAt(block);
    if (fit.fitting(block, 1, page, dataAt, oldPage, oldAt) === 0) return;
    copyPages(slot.tuplePage, newAt, oldPage, oldAt, layout.tupleBytes);
  }

  /** What was found out is told to the log, where there is room: behind what was intended. */
  async #record(slot: ProtectSlot): Promise<void> {
    const { log, layout } = this.#tuples;
    const payload = slot.count * layout.tupleBytes;
    if (slot.op === BioOp.DISCARD || !log.reserve(log.costOf(payload))) return;
    await new Promise<void>((resolve) => {
      log.append({
        lsn: -1,
        logKind: RecordKind.TUPLES,
        logFirst: slot.first,
        logCount: slot.count,
        logPage: slot.tuplePage,
        logPayload: payload,
        logDurable: false,
        logWritten: () => resolve(),
      });
      log.kick();
    });
  }
}
