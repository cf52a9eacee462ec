import { BlockError } from '../../base/block-error.ts';
import { Errno } from '../../base/errno.ts';
import { PAGE_BYTES } from '../../base/units.ts';
import { Access } from '../address-space.ts';
import { pageExists } from '../region.unsafe.ts';
import { type Area, type AreaOps, FaultFlag, FaultResult, Protection } from './area.ts';
import { fillPrivate } from './cow.ts';
import { mapEntry } from './entry.ts';
import { Pte } from './page-table.ts';
import type { UserSpace } from './user-space.ts';

// Faults that a handler answers. An answer outside the contract is an error that names the
// handler: it is kept in `space.handlerError`, and the fault is -EFAULT.

/** Nothing is mapped at `vpn` yet. 0, a negative errno (-EAGAIN: wait), or COMPLETED. */
export function fileFault(
  space: UserSpace,
  area: Area,
  vpn: number,
  access: Access,
  flags: number,
): number {
  const ops = area.ops as AreaOps;
  space.memory.counters.fileFaults++;
  const request = prepareRequest(space, area, vpn, flags);
  // A private page is copied from: the object itself is only read.
  request.access = area.isShared ? access : Access.READ;
  const answer = checkAnswer(space, ops, ops.fault(space, area, request), flags);
  if (answer !== FaultResult.DONE) return answer;
  const { page } = request;
  if (area.isIo) return mapIo(space, area, vpn, page);
  if (!isMappable(space, page)) {
    return recordHandlerError(space, ops.name, 'answered a page that nobody holds or knows');
  }
  const result = useFilePage(space, area, vpn, page, access, flags);
  if (result !== 0) space.memory.putPage(page);
  return result;
}

/** Pre: one reference on `page`, which goes to the entry if the result is 0. */
function useFilePage(
  space: UserSpace,
  area: Area,
  vpn: number,
  page: number,
  access: Access,
  flags: number,
): number {
  const { memory } = space;
  if (memory.isPoisoned(page)) return -Errno.EFAULT;
  const wantsCopy = access === Access.WRITE || (flags & FaultFlag.UNSHARE) !== 0;
  if (!area.isShared && wantsCopy) {
    if (access === Access.WRITE) memory.counters.cowCopies++;
    else memory.counters.unshares++;
    const result = fillPrivate(space, vpn, page, access);
    if (result === 0) memory.putPage(page);
    return result;
  }
  let bits = Pte.PRESENT | Pte.ACCESSED;
  if (access === Access.WRITE) {
    const head = memory.region.head[page - memory.region.firstPage];
    const owner = memory.columns.owner[head];
    const allowed = askToWrite(space, area, vpn, page, flags);
    if (allowed !== 0) return allowed;
    // Truncated by the handler meanwhile: look again.
    if (memory.columns.owner[head] !== owner) return FaultResult.COMPLETED;
    bits |= Pte.WRITE | Pte.DIRTY;
  } else if (area.isShared && !isTracked(area) && (area.protection & Protection.WRITE) !== 0) {
    bits |= Pte.WRITE;
  }
  mapEntry(space, vpn, page, bits);
  return 0;
}

/** A shared page that is present becomes writable. 0 or a negative errno. */
export function fileWriteFault(space: UserSpace, area: Area, vpn: number, flags: number): number {
  const { table, memory } = space;
  const page = table.frameAt(vpn);
  const bits = table.bitsAt(vpn);
  if ((bits & Pte.SPECIAL) === 0) {
    // The handler may reclaim or truncate: a reference keeps the page for the check behind it.
    memory.getPage(page);
    const allowed = askToWrite(space, area, vpn, page, flags);
    memory.putPage(page);
    if (allowed !== 0) return allowed;
    if (table.bitsAt(vpn) === 0 || table.frameAt(vpn) !== page) return FaultResult.COMPLETED;
  }
  table.setBits(vpn, bits | Pte.WRITE | Pte.DIRTY | Pte.ACCESSED);
  return 0;
}

/** Asks the handler, if it wants to be asked, before a clean shared page becomes writable. */
function askToWrite(
  space: UserSpace,
  area: Area,
  vpn: number,
  page: number,
  flags: number,
): number {
  const ops = area.ops as AreaOps;
  if (ops.pageMkwrite === undefined) return 0;
  const request = prepareRequest(space, area, vpn, flags);
  request.access = Access.WRITE;
  request.page = page;
  const answer = ops.pageMkwrite(space, area, request);
  if (answer === 0) return 0;
  if (answer > 0) {
    return recordHandlerError(space, ops.name, `answered ${answer} from pageMkwrite: not an errno`);
  }
  if (answer !== -Errno.EAGAIN) return answer;
  if (request.wait === null) {
    return recordHandlerError(space, ops.name, 'waits in pageMkwrite, but for nothing');
  }
  space.memory.counters.retries++;
  space.wait = request.wait;
  return answer;
}

/** DONE, COMPLETED, -EAGAIN for a legal RETRY, or another negative errno. */
function checkAnswer(space: UserSpace, ops: AreaOps, answer: number, flags: number): number {
  const mayRetry = (flags & FaultFlag.ALLOW_RETRY) !== 0;
  const keepsLock = (flags & FaultFlag.RETRY_NOWAIT) !== 0;
  const drops = answer === FaultResult.COMPLETED || (answer === FaultResult.RETRY && !keepsLock);
  if (!mayRetry && (answer === FaultResult.RETRY || answer === FaultResult.COMPLETED)) {
    return recordHandlerError(space, ops.name, 'answered RETRY, which was not allowed');
  }
  if (space.lockHeld === drops) {
    const reason = drops ? 'kept the lock with RETRY or COMPLETED' : 'dropped the lock on its own';
    return recordHandlerError(space, ops.name, reason);
  }
  if (answer === FaultResult.RETRY) {
    const { wait } = space.request;
    if (wait === null) return recordHandlerError(space, ops.name, 'answered RETRY for nothing');
    space.memory.counters.retries++;
    space.wait = wait;
    return -Errno.EAGAIN;
  }
  if (answer === -Errno.EBUSY || answer === -Errno.EAGAIN) {
    const name = answer === -Errno.EBUSY ? '-EBUSY' : '-EAGAIN';
    return recordHandlerError(space, ops.name, `answered ${name} from a fault: RETRY waits`);
  }
  if (answer > FaultResult.COMPLETED) {
    return recordHandlerError(space, ops.name, `answered ${answer}, which means nothing`);
  }
  return answer;
}

function prepareRequest(space: UserSpace, area: Area, vpn: number, flags: number) {
  const { request } = space;
  request.address = vpn * PAGE_BYTES;
  request.index = area.startIndex + vpn - area.start / PAGE_BYTES;
  request.flags = flags;
  request.page = -1;
  request.wait = null;
  return request;
}

/** A page table must not hold a page that is free or of another machine. */
function isMappable(space: UserSpace, page: number): boolean {
  const { memory } = space;
  if (page < 0 || !memory.isOwn(page)) return false;
  return memory.region.refs[memory.region.head[page - memory.region.firstPage]] > 0;
}

/** Memory without counts: the entry is special, nobody can hold it. */
function mapIo(space: UserSpace, area: Area, vpn: number, page: number): number {
  if (page < 0 || !pageExists(page)) {
    return recordHandlerError(
      space,
      (area.ops as AreaOps).name,
      'answered a page that is not there',
    );
  }
  const writable = (area.protection & Protection.WRITE) !== 0 ? Pte.WRITE : 0;
  space.table.set(vpn, page, Pte.PRESENT | Pte.SPECIAL | Pte.ACCESSED | writable);
  return 0;
}

function isTracked(area: Area): boolean {
  const { ops } = area;
  return ops !== null && (ops.tracksDirty || ops.pageMkwrite !== undefined);
}

/** Keeps the first one until the control plane throws it. Returns -EFAULT. */
export function recordHandlerError(space: UserSpace, handler: string, what: string): number {
  space.memory.counters.handlerErrors++;
  const reason = `the fault handler '${handler}' of space '${space.label}' ${what}`;
  space.handlerError ??= new BlockError('ERR_BIOVEC_FAULT_HANDLER', { reason });
  return -Errno.EFAULT;
}
