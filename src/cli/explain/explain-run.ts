import { formatSize, MIB, roundUp } from '../../base/units.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { BlockDevice } from '../../device/block-device.ts';
import { Disk } from '../../device/disk.ts';
import { integrityLimits } from '../../integrity/integrity-limits.ts';
import type { IntegrityProfile } from '../../integrity/integrity-profile.ts';
import { IovIter, IterDirection } from '../../iter/iov-iter.ts';
import type { Limits } from '../../limits/limits.ts';
import type { Profile } from '../../limits/profile.ts';
import { refusal } from '../../map/decide.ts';
import { type CopyPolicy, MapReason } from '../../map/verdict.ts';
import { Arena } from '../../memory/arena.ts';
import type { TraceEvent } from '../../trace/event.ts';
import { EventLog } from '../../trace/event-log.ts';
import type { AddressRange } from '../arguments.ts';
import { UsageError } from '../exit-code.ts';
import {
  type ControllerChoice,
  controllerEngine,
  type ExplainEngine,
  memoryEngine,
} from './explain-engine.ts';
import { explainPassthrough } from './explain-passthrough.ts';
import { overlap, type PlacedRange, ProgramMemory } from './program-memory.ts';

export interface ExplainRequest {
  readonly op: 'read' | 'write';
  readonly ranges: readonly AddressRange[];
  /** Byte of the device. */
  readonly position: number;
  readonly limits: Limits;
  readonly profile: Profile;
  readonly copy: CopyPolicy;
  readonly isContiguous: boolean;
  /** A simulated controller before the medium; null: the medium itself. */
  readonly controller: ControllerChoice | null;
  /** One NVMe command past the queue, to a controller, perhaps with metadata of the program. */
  readonly passthrough: { readonly meta: AddressRange | null } | null;
  /** Metadata of the device; null: none. */
  readonly integrity: IntegrityProfile | null;
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
  /** Bytes of metadata. */
  readonly metadataMade: number;
  readonly metadataChecked: number;
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
  const { ranges, profile, position, integrity } = request;
  const limits = integrity === null ? request.limits : integrityLimits(request.limits, integrity);
  const total = ranges.reduce((sum, range) => sum + range.bytes, 0);
  const sizeBytes = roundUp(position + total, limits.logical_block_size);
  using target = openTarget({ ...request, limits }, sizeBytes, !overlap(ranges));
  const { engine, controller } = target;
  using arena = new Arena({ label: 'explain', maxBytes: 64 * MIB + 8 * total });
  const { meta = null } = request.passthrough ?? {};
  const others = meta === null ? [] : [meta];
  const memory = new ProgramMemory(arena, ranges, request.isContiguous, others);
  const isChecked = sizeBytes <= CHECKED_BYTES_MAX && !overlap(ranges);
  const defer = (run: () => void): void => queueMicrotask(run);
  const device = new BlockDevice({ engine, arena, profile, limits, defer });
  const disk = new Disk(device);
  const pattern = patternOf(memory.bytes);
  const isWritten = isChecked && !limits.read_only;
  if (request.op === 'write') memory.fill(pattern);
  else if (isWritten) await eachPart(pattern, position, (part, at) => disk.write(part, at));
  const before = snapshot(device);
  const log = new EventLog();
  if (controller !== null) controller.probe = log;
  const ended = await run(device, memory, request, log);
  if (controller !== null) controller.probe = null;
  const counts = { ...countsSince(before, device, arena), ...ended.counts };
  const { events, result, refusal } = ended;
  let isDataRight: boolean | null = null;
  if (isWritten && result >= 0) {
    const got = request.op === 'read' ? memory.contents() : await readBack(disk, request, memory);
    isDataRight = isEqual(got, pattern, result);
  }
  device.assertNothingOutstanding();
  await device.close();
  return {
    request,
    ranges: memory.ranges,
    bytes: memory.bytes,
    events,
    result,
    refusal,
    isDataRight,
    counts,
  };
}

interface Ended {
  readonly result: number;
  readonly refusal: string | null;
  readonly events: readonly TraceEvent[];
  /** Past the queue nobody counts. */
  readonly counts?: Pick<ExplainCounts, 'bios' | 'requests'>;
}

async function run(
  device: BlockDevice,
  memory: ProgramMemory,
  request: ExplainRequest,
  log: EventLog,
): Promise<Ended> {
  if (request.passthrough !== null) {
    const { result, refusal, events, bios } = explainPassthrough(device, memory, request, log);
    return { result, refusal, events, counts: { bios, requests: bios > 0 ? 1 : 0 } };
  }
  device.probe = log;
  const ended = await transfer(device, memory, request);
  device.probe = null;
  return { ...ended, events: log.events };
}

function openTarget(request: ExplainRequest, sizeBytes: number, isApart: boolean): ExplainEngine {
  const { controller, limits, integrity } = request;
  const isKept = sizeBytes <= CHECKED_BYTES_MAX && isApart;
  if (controller === null) return memoryEngine(sizeBytes, limits, isKept, integrity);
  if (sizeBytes <= CHECKED_BYTES_MAX) return controllerEngine(sizeBytes, limits, controller);
  const most = formatSize(CHECKED_BYTES_MAX);
  throw new UsageError(`--controller: its disk has at most ${most}, so --offset is too large`);
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
  disk: Disk,
  { position }: ExplainRequest,
  memory: ProgramMemory,
): Promise<Uint8Array> {
  const buffer = new Uint8Array(memory.bytes);
  await eachPart(buffer, position, (part, at) => disk.read(part, at));
  return buffer;
}

/** Bytes of a request that any device takes, however little bounce memory it has. */
const PART_BYTES = 65536;

async function eachPart(
  bytes: Uint8Array,
  position: number,
  move: (part: Uint8Array, at: { readonly position: number }) => Promise<unknown>,
): Promise<void> {
  for (let done = 0; done < bytes.length; done += PART_BYTES) {
    await move(bytes.subarray(done, done + PART_BYTES), { position: position + done });
  }
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
  readonly metadataMade: number;
  readonly metadataChecked: number;
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
    metadataMade: device.integrity?.counters.bytesGenerated ?? 0,
    metadataChecked: device.integrity?.counters.bytesVerified ?? 0,
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
    metadataMade: (device.integrity?.counters.bytesGenerated ?? 0) - before.metadataMade,
    metadataChecked: (device.integrity?.counters.bytesVerified ?? 0) - before.metadataChecked,
  };
}
