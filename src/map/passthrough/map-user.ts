import { assert } from '../../base/assert.ts';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import type { Bio } from '../../bio/bio.ts';
import { BioOp } from '../../bio/bio-op.ts';
import { BVECS_PER_BIO_MAX } from '../../bvec/bvec-table.ts';
import { type IovIter, IterDirection, IterKind, IterState } from '../../iter/iov-iter.ts';
import { alignment, gapAlignment, hasOutside, npages } from '../../iter/iter-align.ts';
import type { Limits } from '../../limits/limits.ts';
import { heldPagesOf } from '../bio-rows.ts';
import { FAULT_WAIT, NO_MEMORY } from '../map-context.ts';
import { type CopyPolicy, MapReason, Verdict } from '../verdict.ts';
import { appendBio } from './append.ts';
import { type BioChain, ChainMark, maxPassthroughBytes } from './bio-chain.ts';
import { ChunkFit, ChunkPlan, planChunks } from './chunk-plan.ts';
import { copyRowsMax, fillCopied } from './copy-bio.ts';
import { baseRows, gatherMapped } from './map-bio.ts';
import { ChunkFill } from './own-chunks.ts';
import { MapOutcome, type MapUserOptions, type PassthroughContext } from './passthrough-context.ts';
import type { RequestMemory } from './request-memory.ts';
import { dropBios } from './unmap-user.ts';

/**
 * Why the memory under `iter` cannot be mapped as it is; FITS when only the built bio can tell.
 * The rows of the table in reference 6.1, in their order. No size is too small to be mapped: of one
 * buffer that is cheaper than a copy from 512 bytes (0.5 µs against 1.5) to 16 MiB, and than a copy
 * of pinned pages always. Only lists of buffers below 3 KiB cross, by a factor of two at most (`npm
 * run bench -- map-or-copy`, docs/why-pin-before-copy.md). Linux: blk_rq_map_user_iov().
 */
export function decideUser(
  iter: IovIter,
  memory: RequestMemory | null,
  limits: Limits,
  policy: CopyPolicy,
): MapReason {
  if (memory !== null) return MapReason.RESERVE;
  if (hasOutside(iter)) return MapReason.DETACHABLE;
  if (policy === 'always') return MapReason.ASKED;
  if ((alignment(iter) & (limits.dma_alignment | limits.dma_pad_mask)) !== 0) {
    return MapReason.ADDRESS;
  }
  if (iter.kind === IterKind.BVEC) return MapReason.FITS;
  if (!iter.isUserBacked) return MapReason.KERNEL;
  if ((limits.virt_boundary_mask & gapAlignment(iter)) !== 0) return MapReason.GAP;
  return MapReason.FITS;
}

const entry = new IterState();
const mark = new ChainMark();
const plan = new ChunkPlan();
const fill = new ChunkFill();
const nobody = new MapOutcome();

/**
 * Maps the memory under `iter` into `request`, or copies it through own pages, and moves the
 * iterator to its end. The verdict and its reason go to `options.outcome`.
 *
 * 0; NO_MEMORY: try again after one of the requests of this context was unmapped; FAULT_WAIT: the
 * space calls when it is worth asking again (`whenReady`); -EINVAL: nothing to map, longer than
 * max_hw_sectors, or limits that no copy satisfies, or `copy: 'never'` was asked for; -EFAULT;
 * -ENOMEM. Post: unless 0, request, iterator, `memory.offset` and memory are as they were.
 *
 * The submitter owes `unmapUser` with the first bio that it added. Data plane: no allocation in
 * steady state. Linux: blk_rq_map_user_iov(), block/blk-map.c.
 */
export function mapUser(request: BioChain, iter: IovIter, options: MapUserOptions): number {
  const { context, copy = 'auto', memory = null, outcome = nobody } = options;
  outcome.reason = decideUser(iter, memory, context.limits, copy);
  return mapDecided(request, iter, context, copy, memory, outcome);
}

/** The same after the decision: `outcome.reason` is what stands against mapping, or FITS. */
export function mapDecided(
  request: BioChain,
  iter: IovIter,
  context: PassthroughContext,
  policy: CopyPolicy,
  memory: RequestMemory | null,
  outcome: MapOutcome,
): number {
  const isRead = request.op === BioOp.READ;
  const isDest = iter.direction === IterDirection.DEST;
  assert(isRead === isDest, 'passthrough: the iterator points the other way');
  iter.save(entry);
  mark.set(request);
  const offset = memory?.offset ?? 0;
  const mayWait = context.bios.busyCount > biosOf(request);
  let result = admit(iter, context, policy, outcome);
  if (result === 0 && outcome.verdict === Verdict.MAP) {
    result = mapAll(request, iter, context, outcome);
    if (result === -Errno.EREMOTEIO) {
      undo(request, iter, context);
      result = instead(iter, context, policy, outcome);
    }
  }
  if (result === 0 && outcome.verdict === Verdict.COPY) {
    result = copyAll(request, iter, context, memory, outcome);
  }
  if (result === 0) return 0;
  undo(request, iter, context);
  if (memory !== null) memory.offset = offset;
  const isShort = result === -Errno.ENOMEM && context.rules.ownPages === 'chunks';
  return isShort && mayWait ? NO_MEMORY : result;
}

/** The first bio that the last `mapDecided` added. */
export function firstAdded(request: BioChain): Bio | null {
  return mark.tail === null ? request.bio : mark.tail.next;
}

function biosOf(request: BioChain): number {
  let bios = 0;
  for (let bio = request.bio; bio !== null; bio = bio.next) bios++;
  return bios;
}

function undo(request: BioChain, iter: IovIter, context: PassthroughContext): void {
  dropBios(mark.cut(request), context);
  iter.restore(entry);
}

/** Sets the verdict. 0, or -EINVAL for what no way of mapping helps. */
function admit(
  iter: IovIter,
  context: PassthroughContext,
  policy: CopyPolicy,
  outcome: MapOutcome,
): number {
  const isMapped = outcome.reason === MapReason.FITS;
  outcome.verdict = isMapped ? Verdict.MAP : Verdict.COPY;
  const { rules, limits } = context;
  if (iter.count === 0) return -Errno.EINVAL;
  if (rules.build === 'append' && iter.count > maxPassthroughBytes(limits)) {
    return refuse(outcome, MapReason.SIZE);
  }
  return !isMapped && policy === 'never' ? refuse(outcome, outcome.reason) : 0;
}

function refuse(outcome: MapOutcome, reason: MapReason): number {
  outcome.reason = reason;
  outcome.verdict = Verdict.REFUSE;
  return -Errno.EINVAL;
}

/** Mapping would have to be split, for `outcome.reason`. Rows of a list may always be copied. */
function instead(
  iter: IovIter,
  context: PassthroughContext,
  policy: CopyPolicy,
  outcome: MapOutcome,
): number {
  const isError = context.rules.wouldSplit === 'error' && iter.kind !== IterKind.BVEC;
  if (isError || policy === 'never') return refuse(outcome, outcome.reason);
  outcome.verdict = Verdict.COPY;
  return 0;
}

/** One bio a turn. -EREMOTEIO: only the limits stand against it, for `outcome.reason`. */
function mapAll(
  request: BioChain,
  iter: IovIter,
  context: PassthroughContext,
  outcome: MapOutcome,
): number {
  while (iter.count > 0) {
    const vecs = iter.kind === IterKind.BVEC ? 0 : npages(iter, BVECS_PER_BIO_MAX);
    const bio = context.bios.acquire(request.op, 0, vecs);
    if (bio === null) return -Errno.ENOMEM;
    const result = gatherMapped(bio, iter, context);
    context.counters.hold(heldPagesOf(bio));
    if (result < 0) {
      dropBios(bio, context);
      return result === -Errno.EAGAIN ? FAULT_WAIT : result;
    }
    const based = baseRows(bio, context);
    const reason = based === MapReason.FITS ? append(request, bio, context) : based;
    if (reason === MapReason.FITS) continue;
    dropBios(bio, context);
    outcome.reason = reason;
    return reason === MapReason.SIZE ? refuse(outcome, reason) : -Errno.EREMOTEIO;
  }
  return 0;
}

function append(request: BioChain, bio: Bio, context: PassthroughContext): MapReason {
  return appendBio(request, bio, context.limits, context.rules);
}

function copyAll(
  request: BioChain,
  iter: IovIter,
  context: PassthroughContext,
  memory: RequestMemory | null,
  outcome: MapOutcome,
): number {
  const { rules } = context;
  const { reason } = outcome;
  if (memory === null && rules.ownPages === 'chunks') {
    const result = planAll(request, iter, context, outcome);
    if (result !== 0) return result;
  }
  while (iter.count > 0) {
    const offset = memory === null ? 0 : memory.offset;
    const bio = context.bios.acquire(request.op, 0, copyRowsMax(iter.count, offset % PAGE_BYTES));
    if (bio === null) return -Errno.ENOMEM;
    const copy = context.acquireCopy();
    bio.owner = copy;
    copy.reason = reason;
    const result = fillCopied(bio, copy, iter, plan, fill, memory);
    const broken = result === 0 ? append(request, bio, context) : MapReason.FITS;
    if (result !== 0 || broken !== MapReason.FITS) {
      dropBios(bio, context);
      return result !== 0 ? result : refuse(outcome, broken);
    }
    if (memory !== null) memory.offset += bio.size;
  }
  return 0;
}

/** Chunks for the whole request, before one of them is taken. */
function planAll(
  request: BioChain,
  iter: IovIter,
  context: PassthroughContext,
  outcome: MapOutcome,
): number {
  const { limits } = context;
  const segments = limits.max_segments - request.segments;
  planChunks(iter.count, segments, limits, plan);
  if (plan.fit === ChunkFit.NEVER) return refuse(outcome, outcome.reason);
  if (plan.fit === ChunkFit.TOO_LARGE) return -Errno.ENOMEM;
  fill.start(plan, iter.count, segments);
  return 0;
}
