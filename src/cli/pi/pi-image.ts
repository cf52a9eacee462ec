import { BlockError } from '../../base/block-error.ts';
import { MIB } from '../../base/units.ts';
import { BvecTable } from '../../bvec/bvec-table.ts';
import type { Disk } from '../../device/disk.ts';
import { type IntegrityProfile, intervalBytes } from '../../integrity/integrity-profile.ts';
import type { RowsAt } from '../../integrity/pi-walk.ts';
import { Arena } from '../../memory/arena.ts';
import type { ArenaBuffer } from '../../memory/arena-buffer.ts';
import { HoldKind } from '../../memory/holds.ts';
import { open } from '../../targets/open.ts';
import { targetOf } from '../arguments.ts';
import { UsageError } from '../exit-code.ts';

/** Data under the tuples of one turn. */
const CHUNK_BYTES = MIB;
/** Turns at once: one reads while another computes. */
const SLOTS = 4;
/** Beside the buffers: what requests bounce through. */
const SPARE_BYTES = 64 * MIB;

/** A part of an image: intervals from `first` on. */
export interface PiChunk {
  readonly first: number;
  readonly count: number;
}

/** Memory with rows over as much of it as is asked for. */
class RowBuffer {
  readonly buffer: ArenaBuffer;
  readonly #table = new BvecTable(1);

  constructor(buffer: ArenaBuffer) {
    this.buffer = buffer;
  }

  /** The bytes from `start` on. */
  rows(start: number, bytes: number): RowsAt {
    this.#table.set(0, this.buffer.page, start, bytes, HoldKind.BORROWED);
    return { table: this.#table, row: 0, done: 0, size: bytes };
  }
}

/** Memory of one turn. In an interleaved image `data` holds the records too. */
export interface PiSlot {
  readonly data: RowBuffer;
  readonly records: RowBuffer;
}

/** Opens a target of a pi command: a stream cannot be read twice, so it is none. */
export async function openPi(text: string, arena: Arena, isNew = false): Promise<Disk> {
  if (targetOf(text).kind === 'stdio') throw new UsageError('pi commands take no stream (-)');
  return await open(text, isNew ? { arena, create: true } : { arena, readOnly: true });
}

export function makePiArena(): Arena {
  return new Arena({ label: 'pi', maxBytes: 16 * SLOTS * MIB + SPARE_BYTES, places: false });
}

/** Units of `unitBytes` in a target that has whole ones. */
export function unitsOf(disk: Disk, unitBytes: number, what: string): number {
  const units = disk.size / unitBytes;
  if (Number.isInteger(units)) return units;
  const reason = `${disk.size} bytes are no multiple of ${unitBytes}, ${what}`;
  throw new BlockError('EINVAL', { reason, device: disk.target });
}

/**
 * Runs `turn` for every chunk of `intervals`, a few at once, in any order. Ends early when `signal`
 * is aborted; false then. The first failure is thrown when nothing is in flight any more.
 */
export async function forEachChunk(
  profile: IntegrityProfile,
  intervals: number,
  arena: Arena,
  signal: AbortSignal,
  turn: (chunk: PiChunk, slot: PiSlot) => Promise<void>,
): Promise<boolean> {
  // A large record must not make the memory of a turn large: data, records, and room for both.
  const unit = intervalBytes(profile) + profile.metadata_size;
  const perChunk = Math.max(1, Math.floor((2 * CHUNK_BYTES) / (intervalBytes(profile) + unit)));
  let next = 0;
  let failure: unknown = null;
  const runSlot = async (slot: PiSlot): Promise<void> => {
    while (next < intervals && failure === null && !signal.aborted) {
      const first = next;
      next += perChunk;
      try {
        await turn({ first, count: Math.min(perChunk, intervals - first) }, slot);
      } catch (error) {
        failure ??= error;
      }
    }
  };
  const slots: PiSlot[] = [];
  try {
    const count = Math.min(SLOTS, Math.ceil(intervals / perChunk));
    for (let i = 0; i < count; i++) {
      const data = new RowBuffer(arena.alloc(perChunk * unit, 'data'));
      slots.push({ data, records: new RowBuffer(arena.alloc(perChunk * unit, 'records')) });
    }
    await Promise.all(slots.map(runSlot));
  } finally {
    for (const { data, records } of slots) {
      data.buffer.release();
      records.buffer.release();
    }
  }
  if (failure !== null) throw failure;
  return !signal.aborted || next >= intervals;
}

/** Reads exactly `bytes`; a target that became shorter is a failure. */
export async function readExactly(
  disk: Disk,
  into: Uint8Array,
  position: number,
  bytes: number,
): Promise<void> {
  const { bytesRead } = await disk.read(into, { position, length: bytes });
  if (bytesRead === bytes) return;
  const reason = `it ends at byte ${position + bytesRead}, shorter than it was`;
  throw new BlockError('EIO', { reason, device: disk.target });
}
