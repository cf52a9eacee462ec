import { BioOp } from '../bio/bio-op.ts';
import type { ArenaBuffer } from '../memory/arena-buffer.ts';
import { copyPages } from '../memory/copy.ts';
import { type LogRecord, RecordKind, scanLog } from './log-record.ts';
import { RowCalls } from './row-transfer.ts';
import { StoreState } from './superblock.ts';
import type { TupleStore } from './tuple-store.ts';

/** What the log says after a crash: which stretches may differ, which tuples were on their way. */
export class CrashLog {
  /** Stretches that were open, ascending. */
  readonly stretches: readonly number[];
  /** Records before it are of writes whose data was on the medium: their tuples are the truth. */
  readonly acked: number;
  /** Behind the last record. */
  readonly end: number;
  readonly records: number;
  readonly #tuples: TupleStore;
  readonly #memory: ArenaBuffer;
  readonly #byStretch: ReadonlyMap<number, readonly LogRecord[]>;

  constructor(tuples: TupleStore, memory: ArenaBuffer, records: readonly LogRecord[]) {
    this.#tuples = tuples;
    this.#memory = memory;
    let { acked, tail: end } = tuples.log;
    const byStretch = new Map<number, LogRecord[]>();
    if (tuples.state === StoreState.NEW) {
      for (let stretch = 0; stretch < tuples.layout.stretches; stretch++)
        byStretch.set(stretch, []);
    }
    for (const record of records) {
      acked = Math.max(acked, record.acked);
      end = Math.max(end, record.end);
      const [first, last] = this.#stretchesOf(record);
      for (let stretch = first; stretch <= last; stretch++) {
        const list = byStretch.get(stretch) ?? [];
        if (record.kind !== RecordKind.OPEN) list.push(record);
        byStretch.set(stretch, list);
      }
    }
    this.acked = acked;
    this.end = end;
    this.records = records.length;
    this.#byStretch = byStretch;
    this.stretches = [...byStretch.keys()].sort((a, b) => a - b);
  }

  /** Reads the whole log. `release` gives its memory back. */
  static async read(tuples: TupleStore): Promise<CrashLog> {
    const { layout, arena, store, seal } = tuples;
    const memory = arena.alloc(layout.logBytes, 'log after a crash');
    try {
      const calls = new RowCalls(store, 1);
      calls.rows.add(memory.page, 0, layout.logBytes);
      await calls.run(BioOp.READ, layout.logStart);
    } catch (error) {
      memory.release();
      throw error;
    }
    return new CrashLog(tuples, memory, scanLog(seal, layout, tuples.log.tail, memory.page));
  }

  release(): void {
    this.#memory.release();
  }

  /** Records that touch a stretch, oldest first. */
  of(stretch: number): readonly LogRecord[] {
    return this.#byStretch.get(stretch) ?? [];
  }

  /** Puts the tuple that `record` has for `block` at byte `offset` of `page`. */
  putTuple(record: LogRecord, block: number, page: number, offset: number): void {
    const { layout, fresh } = this.#tuples;
    const { tupleBytes } = layout;
    if (record.kind === RecordKind.ZEROES) fresh.fillZeros(page, offset, block, 1);
    else if (record.kind === RecordKind.UNCHECKED) fresh.fillUnchecked(page, offset, 1);
    else {
      const at = record.payloadAt + (block - record.first) * tupleBytes;
      copyPages(page, offset, this.#memory.page, at, tupleBytes);
    }
  }

  #stretchesOf(record: LogRecord): [number, number] {
    const last = record.first + record.count - 1;
    if (record.kind === RecordKind.OPEN) return [record.first, last];
    const { layout } = this.#tuples;
    return [layout.stretchOf(record.first), layout.stretchOf(last)];
  }
}

/** First block of a stretch, and the one behind its last. */
export function blocksOfStretch(tuples: TupleStore, stretch: number): [number, number] {
  const { layout } = tuples;
  const each = layout.stretchPages * layout.tuplesPerPage;
  return [stretch * each, Math.min((stretch + 1) * each, layout.blocks)];
}
