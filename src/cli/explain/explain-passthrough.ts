import { assert } from '../../base/assert.ts';
import type { Probe } from '../../base/probe.ts';
import { TAG_NONE } from '../../base/slots.ts';
import { PAGE_BYTES, SECTOR_BYTES } from '../../base/units.ts';
import { BIO_OP_NAMES, BioOp } from '../../bio/bio-op.ts';
import { BioPool } from '../../bio/bio-pool.ts';
import type { BlockDevice } from '../../device/block-device.ts';
import { endIssued, issueChain } from '../../engine/controller/issue-chain.ts';
import type { Limits } from '../../limits/limits.ts';
import { refusal } from '../../map/decide.ts';
import { type MetaBuffer, NvmeCommand } from '../../map/passthrough/nvme-command.ts';
import { PassthroughContext } from '../../map/passthrough/passthrough-context.ts';
import { deviceRows } from '../../map/passthrough/user-meta.ts';
import { MAP_REASON_NAMES, MapReason, VERDICT_NAMES, Verdict } from '../../map/verdict.ts';
import type { MapEvent, MetaEvent, TraceEvent } from '../../trace/event.ts';
import type { EventLog } from '../../trace/event-log.ts';
import type { ExplainRequest } from './explain-run.ts';
import type { ProgramMemory } from './program-memory.ts';

/** What a command came to, and what it did. */
export interface PassthroughEnd {
  /** Bytes transferred, or a negative errno. */
  readonly result: number;
  /** Why it was refused, or null. */
  readonly refusal: string | null;
  readonly events: readonly TraceEvent[];
  readonly bios: number;
}

/**
 * One NVMe command with the memory of the program, and its metadata, past the queue: mapped or
 * copied as a whole, because a command is never split. Pre: nothing else is in flight.
 */
export function explainPassthrough(
  device: BlockDevice,
  memory: ProgramMemory,
  request: ExplainRequest,
  log: EventLog,
): PassthroughEnd {
  const { limits, profile, position, op } = request;
  const { arena: folios, counters } = device;
  const bios = new BioPool({ bios: 64, rows: 64 * 256 });
  const context = new PassthroughContext({ limits, folios, bios, profile, counters });
  const command = new NvmeCommand(context);
  const { space, iovec, bytes } = memory;
  const isVector = iovec.rows > 1;
  const data = { space, iovec, imported: bytes, isVector, bytes };
  const bioOp = op === 'read' ? BioOp.READ : BioOp.WRITE;
  const meta = metaOf(memory, request);
  const started = command.start(bioOp, data, meta, request.copy);
  const events: TraceEvent[] = [mapEvent(command, request, bytes)];
  if (started !== 0) {
    const isRefused = command.outcome.verdict === Verdict.REFUSE;
    const why = isRefused ? refusalText(command.outcome.reason, limits) : null;
    return { result: started, refusal: why, events, bios: 0 };
  }
  if (meta !== null) events.push(metaEvent(command));
  const bioCount = traced(command);
  const result = execute(device, command, position / SECTOR_BYTES, log);
  events.push(...log.events);
  const transferredBytes = Math.max(result, 0);
  const metaBytes = meta === null || result < 0 ? 0 : meta.bytes;
  const finished = command.finish({ transferredBytes, metaBytes });
  context.assertNothingOutstanding();
  return { result: finished < 0 ? finished : result, refusal: null, events, bios: bioCount };
}

/** A command is never cut, so what its memory breaks is another sentence than for a transfer. */
function refusalText(reason: MapReason, limits: Limits): string {
  if (reason === MapReason.SEGMENTS) {
    return `more than max_segments ${limits.max_segments} pieces, and copy is 'never'`;
  }
  if (reason === MapReason.GAP) {
    return `a gap at virt_boundary_mask ${limits.virt_boundary_mask}, and copy is 'never'`;
  }
  return refusal(reason, limits, limits.logical_block_size);
}

function metaOf({ space }: ProgramMemory, { passthrough }: ExplainRequest): MetaBuffer | null {
  return passthrough?.meta == null ? null : { space, ...passthrough.meta };
}

/** Gives the bios the id of the transfer. How many there are. */
function traced({ chain }: NvmeCommand): number {
  let count = 0;
  for (let bio = chain.bio; bio !== null; bio = bio.next) {
    bio.traceId = 1;
    count++;
  }
  return count;
}

function execute(
  { engine, requests }: BlockDevice,
  { chain }: NvmeCommand,
  sector: number,
  probe: Probe,
): number {
  const tag = issueChain(engine, requests, chain, sector, probe);
  assert(tag !== TAG_NONE, 'explain: an idle device took no command');
  const tags = new Uint32Array(1);
  while (engine.reap(tags, 1) === 0);
  assert(tags[0] === tag, 'explain: another command ended');
  return endIssued(requests, chain, tag, probe);
}

function mapEvent({ outcome }: NvmeCommand, request: ExplainRequest, bytes: number): MapEvent {
  const { op, position } = request;
  const reason = MAP_REASON_NAMES[outcome.reason];
  return {
    type: 'map',
    trace: 1,
    op: BIO_OP_NAMES[op === 'read' ? BioOp.READ : BioOp.WRITE],
    position,
    bytes,
    verdict: VERDICT_NAMES[outcome.verdict],
    reason,
    middle: reason,
    isRevised: false,
  };
}

function metaEvent({ meta }: NvmeCommand): MetaEvent {
  const { table, rows } = deviceRows(meta);
  const segments = Array.from({ length: rows }, (_, row) => ({
    address: table.page[row] * PAGE_BYTES + table.offset[row],
    bytes: table.len[row],
  }));
  const { reason, entries, bytes } = meta;
  const verdict = VERDICT_NAMES[reason === MapReason.FITS ? Verdict.MAP : Verdict.COPY];
  return {
    type: 'meta',
    trace: 1,
    verdict,
    reason: MAP_REASON_NAMES[reason],
    bytes,
    entries,
    segments,
  };
}
