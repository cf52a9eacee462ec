import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { ProbePoint } from '../base/probe.ts';
import { offsetIn, roundDown, roundUp } from '../base/units.ts';
import type { Bio } from '../bio/bio.ts';
import { BioFlag, BioOp, opHasData } from '../bio/bio-op.ts';
import { type IovIter, IterKind } from '../iter/iov-iter.ts';
import { FAULT_WAIT, NO_MEMORY, sectorOf } from '../map/map-context.ts';
import { type Piece, PiecePhase } from '../map/piece.ts';
import { type CopyPolicy, MapReason, Verdict } from '../map/verdict.ts';
import type { BlockDevice } from './block-device.ts';
import { pieceEnded } from './complete.ts';
import { writesCutBlock } from './device-end.ts';
import { spaceOf, startMetadata } from './device-metadata.ts';
import { type Transfer, TransferState } from './transfer.ts';

// The way down. One transfer: decide map or copy → lock the blocks of a partial write → piece by
// piece: bio, memory, queue (split, merge, plug), engine. `complete.ts` is the way back.

/** Bytes of a data-less op in one bio: below 2^32, a multiple of every block size. */
const RANGE_BYTES_MAX = 2 ** 31;

export function startTransfer(
  device: BlockDevice,
  transfer: Transfer,
  iter: IovIter | null,
  policy: CopyPolicy,
): void {
  const { mapping } = transfer;
  mapping.traceId = transfer.traceId;
  mapping.probe = device.probe;
  if (opHasData(transfer.op)) {
    assert(iter !== null && iter.count === transfer.bytes, 'transfer: bytes are not its memory');
    const side = { iter, limits: device.limits };
    const { op, position } = transfer;
    const meta = transfer.metadata === null ? null : startMetadata(device, transfer, policy);
    transfer.stop = mapping.start(device.context, op, position, side, meta, policy);
    if (device.probe !== null) {
      const { verdict, reason, bytes } = mapping;
      device.probe.hit(ProbePoint.MAP, transfer.traceId, mapping, verdict, reason, bytes);
    }
  }
  if (transfer.stop === 0 && writesCutBlock(transfer)) transfer.stop = -Errno.EINVAL;
  if (lockRange(device, transfer)) enter(device, transfer);
}

/** Called when a transfer that waited for its range has it. */
export function startGranted(transfer: Transfer): void {
  transfer.waitsForRange = false;
  transfer.isLocked = true;
  enter(transfer.device, transfer);
}

/** Behind those who wait for room already: a large transfer is not starved by small ones. */
function enter(device: BlockDevice, transfer: Transfer): void {
  if (device.waiting.length > 0 && needsBio(transfer)) waitForRoom(device, transfer);
  else advanceTransfer(device, transfer);
}

function waitForRoom(device: BlockDevice, transfer: Transfer): void {
  transfer.isWaiting = true;
  device.waiting.push(transfer);
}

/** Writes enter their blocks; one that covers a block in part waits for it alone. */
function lockRange(device: BlockDevice, transfer: Transfer): boolean {
  const isWrite = transfer.op !== BioOp.READ && transfer.op !== BioOp.FLUSH;
  if (!isWrite || device.context.blockBytes === 1) return true;
  const block = device.limits.logical_block_size;
  const end = transfer.position + transfer.bytes;
  transfer.lockStart = roundDown(transfer.position, block);
  transfer.lockEnd = roundUp(end, block);
  transfer.isExclusive = transfer.lockStart !== transfer.position || transfer.lockEnd !== end;
  transfer.isLocked = device.locks.acquire(transfer);
  transfer.waitsForRange = !transfer.isLocked;
  return transfer.isLocked;
}

/** Sends as many bios as there is room for; the rest waits in the device's queue. */
export function advanceTransfer(device: BlockDevice, transfer: Transfer): void {
  if (transfer.state !== TransferState.ACTIVE || transfer.isWaiting) return;
  if (!sendBios(device, transfer)) waitForRoom(device, transfer);
  device.arm();
}

/** False: there is no room for the rest now. True: it is out, or waits for a page elsewhere. */
function sendBios(device: BlockDevice, transfer: Transfer): boolean {
  transfer.waitsForFault = false;
  device.queue.startPlug();
  let hasRoom = true;
  while (hasRoom && needsBio(transfer) && !transfer.waitsForFault) {
    hasRoom = sendBio(device, transfer);
  }
  device.queue.finishPlug(true);
  if (transfer.waitsForFault) {
    parkTransfer(device, transfer);
    return true;
  }
  if (!hasRoom) return false;
  transfer.state = TransferState.DRAINING;
  endIfDrained(device, transfer);
  return true;
}

/**
 * A page of the program is not there yet, and what brings it may need this very device: the
 * transfer keeps no bio, page or tag but those in flight, stands in nobody's way, and gives its
 * range back as soon as nothing of it is in flight.
 */
function parkTransfer(device: BlockDevice, transfer: Transfer): void {
  const space = spaceOf(transfer);
  assert(space !== null, 'transfer: no space to wait for');
  device.counters.faultWaits++;
  // The turn also serves a transfer that the fault started and that found our bio taken.
  if (transfer.bios === 0) device.leaving.push(transfer);
  space.whenReady(transfer.wake);
}

/**
 * From the loop: between two of its bios a write that waits for a page needs its range no more
 * than one that has not begun. Those that get it may have to wait in turn: they leave next time.
 */
export function leaveRanges(device: BlockDevice): void {
  const { leaving } = device;
  for (let left = leaving.length; left > 0; left--) {
    const transfer = leaving.shift() as Transfer;
    if (!transfer.waitsForFault || transfer.bios > 0 || !transfer.isLocked) continue;
    transfer.isLocked = false;
    device.locks.release(transfer, startGranted);
  }
}

/** From the loop: those whose page may be there ask again, behind those who wait for room. */
export function resumeWoken(device: BlockDevice): void {
  const { woken } = device;
  for (let left = woken.length; left > 0; left--) {
    const transfer = woken.shift() as Transfer;
    transfer.isWoken = false;
    if (!transfer.waitsForFault) continue; // Aborted since.
    transfer.waitsForFault = false;
    if (transfer.isLocked || lockRange(device, transfer)) enter(device, transfer);
  }
}

/** The last bio is gone (or there was none): the loop ends the transfer, never submit itself. */
export function endIfDrained(device: BlockDevice, transfer: Transfer): void {
  if (transfer.state !== TransferState.DRAINING || transfer.bios > 0) return;
  transfer.state = TransferState.ENDING;
  device.ended.push(transfer);
}

function needsBio(transfer: Transfer): boolean {
  if (transfer.stop !== 0 || transfer.mapping.status !== 0) return false;
  if (transfer.op === BioOp.FLUSH) return transfer.bios === 0 && transfer.sent === 0;
  return transfer.sent < transfer.bytes;
}

/** False: no bio or no page now. True: on with it, unless `transfer.stop` says why not. */
function sendBio(device: BlockDevice, transfer: Transfer): boolean {
  if (!opHasData(transfer.op)) return sendRange(device, transfer);
  const { mapping } = transfer;
  const block = device.context.blockBytes;
  const at = transfer.position + transfer.sent;
  const left = transfer.bytes - transfer.sent;
  const skip = offsetIn(at, block);
  const isPart = skip !== 0 || left < block;
  const piece = device.takePiece();
  piece.phase = PiecePhase.TRANSFER;
  piece.skip = skip;
  piece.start = at - skip;
  piece.userAt = transfer.sent;
  piece.isPart = isPart;
  piece.isCopied = isPart || mapping.middleReason !== MapReason.FITS;
  const whole = left - offsetIn(left, block);
  piece.userBytes = isPart
    ? Math.min(block - skip, left)
    : mapping.pieceBytesMax(at, whole, piece.isCopied);
  piece.bytes = isPart ? block : piece.userBytes;
  const vecs = mapping.vecsFor(piece.bytes, piece.isCopied);
  const bio = device.bios.acquire(transfer.op, sectorOf(piece.start), vecs);
  if (bio === null) {
    device.givePiece(piece);
    return false;
  }
  const asked = piece.userBytes;
  const result = mapping.fill(bio, piece);
  if (result !== 0) {
    device.bios.release(bio);
    device.givePiece(piece);
    if (result < 0 || (result === FAULT_WAIT && transfer.noWait)) {
      stopAtFault(transfer, result < 0 ? result : -Errno.EAGAIN);
    } else if (result === FAULT_WAIT) {
      transfer.waitsForFault = true;
    }
    return result !== NO_MEMORY;
  }
  transfer.sent += piece.userBytes;
  // Memory ends inside this block: were it there a moment later, two pieces would have the block.
  if (isPart && piece.userBytes < asked) endAtFault(transfer);
  if (isPart && transfer.op === BioOp.WRITE) readFirst(device, bio, piece);
  sendPiece(device, transfer, bio, piece);
  return true;
}

/**
 * Memory of a space ends after some of the transfer: what is out counts, as for read(2), and the
 * next call meets the error. Arrays of the program are whole or wrong.
 */
function stopAtFault(transfer: Transfer, error: number): void {
  const { mapping } = transfer;
  const isCut = mapping.iter.kind === IterKind.USER && mapping.verdict !== Verdict.REFUSE;
  if (isCut && transfer.sent > 0) endAtFault(transfer);
  else transfer.stop = error;
}

function endAtFault(transfer: Transfer): void {
  transfer.bytes = transfer.sent;
  transfer.mapping.endAt(transfer.sent);
}

/** The block is read before its part is changed: this bio goes out twice. */
function readFirst(device: BlockDevice, bio: Bio, piece: Piece): void {
  bio.op = BioOp.READ;
  piece.phase = PiecePhase.READ_BEFORE_WRITE;
  device.counters.bytesReadBeforeWrite += piece.bytes;
}

export function sendPiece(device: BlockDevice, transfer: Transfer, bio: Bio, piece: Piece): void {
  piece.owner = transfer;
  piece.bio = bio;
  bio.traceId = transfer.traceId;
  bio.owner = piece;
  bio.endIo = pieceEnded;
  if (transfer.fua && bio.op === BioOp.WRITE) bio.flags |= BioFlag.FUA;
  if (transfer.noWait) bio.flags |= BioFlag.NOWAIT;
  transfer.bios++;
  device.queue.submitBio(bio);
}

/** Flush, discard, write zeroes: a range of the device without memory. */
function sendRange(device: BlockDevice, transfer: Transfer): boolean {
  const left = Math.min(transfer.bytes - transfer.sent, RANGE_BYTES_MAX);
  const start = transfer.position + transfer.sent;
  const bio = device.bios.acquire(transfer.op, sectorOf(start), 0);
  if (bio === null) return false;
  const piece = device.takePiece();
  piece.phase = PiecePhase.TRANSFER;
  piece.start = start;
  piece.bytes = left;
  bio.size = transfer.op === BioOp.FLUSH ? 0 : left;
  transfer.sent += transfer.op === BioOp.FLUSH ? 1 : left;
  sendPiece(device, transfer, bio, piece);
  return true;
}

/** After completions: everybody who waited tries again, in order, until one must go on waiting. */
export function resumeWaiting(device: BlockDevice): void {
  const { waiting } = device;
  while (waiting.length > 0 && sendBios(device, waiting.first)) {
    waiting.shift().isWaiting = false;
  }
}
