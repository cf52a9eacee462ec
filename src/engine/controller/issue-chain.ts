import { assert } from '../../base/assert.ts';
import { type Probe, ProbePoint } from '../../base/probe.ts';
import { slotOf, TAG_NONE } from '../../base/slots.ts';
import { BioOp } from '../../bio/bio-op.ts';
import type { BioChain } from '../../map/passthrough/bio-chain.ts';
import { endChain, startChain } from '../../map/passthrough/end-chain.ts';
import type { RequestTable } from '../../queue/request-table.ts';
import type { Engine } from '../contract.ts';

/**
 * Gives the memory of a passthrough command to an engine, as one request from `sector` on: past the
 * queue, which would split and merge it. Its tag, or TAG_NONE: no tag or no room, try again after
 * a completion. Linux: blk_execute_rq_nowait(), block/blk-mq.c.
 */
export function issueChain(
  engine: Pick<Engine, 'submit'>,
  table: RequestTable,
  chain: BioChain,
  sector: number,
  probe: Probe | null = null,
): number {
  const { bio, bioTail } = chain;
  assert(bio !== null && bioTail !== null, 'passthrough: a command without memory');
  const tag = table.acquire();
  if (tag === TAG_NONE) return TAG_NONE;
  const request = table.at(tag);
  const { next } = bio;
  request.start(tag, bio, chain.segments);
  bio.next = next; // `start` takes a bio for the only one.
  request.op = chain.op === BioOp.READ ? BioOp.READ : BioOp.WRITE;
  request.bioTail = bioTail;
  request.bytes = chain.bytes;
  request.sector = sector;
  request.inFlight = true;
  one[0] = tag;
  const { traceId, op, sectors } = request;
  if (probe !== null) probe.hit(ProbePoint.GET_REQUEST, traceId, request, op, sector, sectors);
  if (engine.submit(one, 0, 1) === 1) {
    startChain(chain);
    if (probe !== null) probe.hit(ProbePoint.ISSUE, traceId, request, op, sector, sectors);
    return tag;
  }
  request.inFlight = false;
  table.release(tag);
  return TAG_NONE;
}

const one = new Uint32Array(1);

/** `tag` was reaped: ends the bios of its chain. Bytes transferred, or a negative errno. */
export function endIssued(
  table: RequestTable,
  chain: BioChain,
  tag: number,
  probe: Probe | null = null,
): number {
  const status = table.status[slotOf(tag)];
  const bytesDone = table.bytesDone[slotOf(tag)];
  const request = table.get(tag);
  request.inFlight = false;
  if (probe !== null) {
    const { traceId, sector } = request;
    probe.hit(ProbePoint.COMPLETE, traceId, request, status, sector, bytesDone);
  }
  table.release(tag);
  endChain(chain, status, bytesDone);
  return status < 0 ? status : bytesDone;
}
