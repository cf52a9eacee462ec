import { MIB, roundUp } from '../../base/units.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { BlockDevice } from '../../device/block-device.ts';
import { Disk } from '../../device/disk.ts';
import type { Engine } from '../../engine/contract.ts';
import { openNullEngine } from '../../engine/memory/null-engine.ts';
import { openRamEngine } from '../../engine/memory/ram-engine.ts';
import { IovIter, IterDirection } from '../../iter/iov-iter.ts';
import type { Limits } from '../../limits/limits.ts';
import type { Profile } from '../../limits/profile.ts';
import { refusal } from '../../map/decide.ts';
import { type CopyPolicy, MapReason } from '../../map/verdict.ts';
import { Arena } from '../../memory/arena.ts';
import type { TraceEvent } from '../../trace/event.ts';
import { EventLog } from '../../trace/event-log.ts';
import type { AddressRange } from '../arguments.ts';
import { type PlacedRange, ProgramMemory } from './program-memory.ts';

export interface ExplainRequest {
  readonly op: 'read' | 'write';
  readonly ranges: readonly AddressRange[];
  /** Byte of the device. */
  readonly position: number;
  readonly limits: Limits;
  readonly profile: Profile;
  readonly copy: CopyPolicy;
  readonly isContiguous: boolean;
}

/** What the run counted; bytes and pages of this transfer alone. */
export interface ExplainCounts {
  readonly bytesMapped: number;
  readonly bytesCopied: Readonly<Record<string, number>>;
  readonly bytesReadBeforeWrite: number;
  readonly bios: number;
  readonly splits: number;
  readonly merges: number;
  readonly requests: number;
  readonly pagesHeldMost: number;
  readonly bouncePagesMost: number;
  /** Pages that anybody still holds: 0. */
  readonly heldNow: number;
}

export interface Explanation {
  readonly request: ExplainRequest;
  readonly ranges: readonly PlacedRange[];
  readonly bytes: number;
  readonly events: readonly TraceEvent[];
  /** Bytes transferred, or a negative errno. */
  readonly result: number;
  /** Why a transfer was refused, or null. */
  readonly refusal: string | null;
  /** Did the right bytes arrive? null: not looked at (they would not fit into memory). */
  readonly isDataRight: boolean | null;
  readonly counts: ExplainCounts;
}

/** A larger device has no memory behind it, and its data is not checked. */
const CHECKED_BYTES_MAX = 256 * MIB;

/** Runs one transfer through the real layers, over a device in memory, with a probe on it. */
export async function explain(request: ExplainRequest): Promise<Explanation> {
  const { ranges, limits, profile, position } = request;
  const total = ranges.reduce((sum, range) => sum + range.bytes, 0);
  using arena = new Arena({ label: 'explain', maxBytes: 64 * MIB + 8 * total });
  const memory = new ProgramMemory(arena, ranges, request.isContiguous);
  const sizeBytes = roundUp(position + memory.bytes, limits.logical_block_size);
  const isChecked = sizeBytes <= CHECKED_BYTES_MAX && !memory.overlaps;
  const defer = (run: () => void): void => queueMicrotask(run);
  const openEngine = isChecked ? openRamEngine : openNullEngine;
  const engine: Engine = openEngine({ sizeBytes, limits, defer, target: 'the device' });
  const device = new BlockDevice({ engine, arena, profile, limits, defer });
  const pattern = patternOf(memory.bytes);
  const isWritten = isChecked && !limits.read_only;
  if (request.op === 'write') memory.fill(pattern);
  else if (isWritten) await new Disk(device).write(pattern, { position });
  const before = snapshot(device);
  const log = new EventLog();
  device.probe = log;
  const ended = await transfer(device, memory, request);
  device.probe = null;
  const counts = countsSince(before, device, arena);
  let isDataRight: boolean | null = null;
  if (isWritten && ended.result >= 0) {
    const got = request.op === 'read' ? memory.contents() : await readBack(device, request, memory);
    isDataRight = isEqual(got, pattern, ended.result);
  }
  device.assertNothingOutstanding();
  await device.close();
  return {
    request,
    ranges: memory.ranges,
    bytes: memory.bytes,
    events: log.events,
    ...ended,
    isDataRight,
    counts,
  };
}

function transfer(
  device: BlockDevice,
  memory: ProgramMemory,
  request: ExplainRequest,
): Promise<{ result: number; refusal: string | null }> {
  const isRead = request.op === 'read';
  const iter = new IovIter();
  const direction = isRead ? IterDirection.DEST : IterDirection.SOURCE;
  iter.initUser(direction, memory.space, memory.iovec);
  const op = isRead ? BioOp.READ : BioOp.WRITE;
  const options = { copy: request.copy, traceId: 1 };
  return new Promise((resolve) => {
    device.transfer(op, request.position, iter, memory.bytes, options, (ended, result) => {
      const { reason } = ended.mapping;
      const isRefused = result < 0 && request.copy === 'never' && reason !== MapReason.FITS;
      const { blockBytes } = device.context;
      resolve({ result, refusal: isRefused ? refusal(reason, device.limits, blockBytes) : null });
    });
  });
}

async function readBack(
  device: BlockDevice,
  request: ExplainRequest,
  memory: ProgramMemory,
): Promise<Uint8Array> {
  const buffer = new Uint8Array(memory.bytes);
  await new Disk(device).read(buffer, { position: request.position });
  return buffer;
}

/** No two blocks alike, so that a swapped one shows. */
function patternOf(bytes: number): Uint8Array {
  const out = new Uint8Array(bytes);
  for (let i = 0; i < bytes; i++) out[i] = (i * 31 + (i >>> 9) * 7 + (i >>> 17)) & 255;
  return out;
}

function isEqual(a: Uint8Array, b: Uint8Array, bytes: number): boolean {
  for (let i = 0; i < bytes; i++) if (a[i] !== b[i]) return false;
  return true;
}

interface Snapshot {
  readonly mapped: number;
  readonly copied: Readonly<Record<string, number>>;
  readonly readBeforeWrite: number;
  readonly bios: number;
  readonly splits: number;
  readonly merges: number;
  readonly requests: number;
}

function snapshot(device: BlockDevice): Snapshot {
  const { counters, queue } = device;
  const { bios, splits, merges, requests } = queue.counters;
  counters.pagesHeldMost = counters.pagesHeld;
  counters.bouncePagesMost = counters.bouncePages;
  return {
    mapped: counters.bytesMapped,
    copied: counters.copiedByReason(),
    readBeforeWrite: counters.bytesReadBeforeWrite,
    bios,
    splits,
    merges,
    requests,
  };
}

function countsSince(before: Snapshot, device: BlockDevice, arena: Arena): ExplainCounts {
  const { counters, queue } = device;
  const bytesCopied: Record<string, number> = {};
  for (const [reason, bytes] of Object.entries(counters.copiedByReason())) {
    const more = bytes - (before.copied[reason] ?? 0);
    if (more > 0) bytesCopied[reason] = more;
  }
  return {
    bytesMapped: counters.bytesMapped - before.mapped,
    bytesCopied,
    bytesReadBeforeWrite: counters.bytesReadBeforeWrite - before.readBeforeWrite,
    bios: queue.counters.bios - before.bios,
    splits: queue.counters.splits - before.splits,
    merges: queue.counters.merges - before.merges,
    requests: queue.counters.requests - before.requests,
    pagesHeldMost: counters.pagesHeldMost,
    bouncePagesMost: counters.bouncePagesMost,
    heldNow: arena.stats().pinnedPages + counters.bouncePages,
  };
}
