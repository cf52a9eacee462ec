import { assert } from '../base/assert.ts';
import { Errno } from '../base/errno.ts';
import { ProbePoint } from '../base/probe.ts';
import { slotOf } from '../base/slots.ts';
import { SECTOR_BYTES } from '../base/units.ts';
import type { Bio } from '../bio/bio.ts';
import { BioFlag, BioOp, opHasData } from '../bio/bio-op.ts';
import { sectorOf } from '../map/map-context.ts';
import { type Piece, PiecePhase } from '../map/piece.ts';
import type { Request } from '../queue/request.ts';
import type { BlockDevice } from './block-device.ts';
import {
  advanceTransfer,
  endIfDrained,
  leaveRanges,
  resumeWaiting,
  resumeWoken,
  startGranted,
} from './submit.ts';
import { type Transfer, TransferState } from './transfer.ts';

// The way up, run from the loop: engine → request (the rest of a short transfer goes again) → bio
// → mapping (copy back, dirty, unpin) → the caller. A bounded number each turn.

/** Failed bios and transfers that one turn ends at most, beside the engine's completions. */
const ENDS_PER_TURN = 256;

/** Takes at most `max` completions from the engine and runs everything that follows. */
export function drain(device: BlockDevice, max: number): number {
  if (device.isDraining) return 0; // A callback polled: the turn that runs it goes on anyway.
  device.isDraining = true;
  let count = 0;
  try {
    const { queue } = device;
    count = completeReaped(device, max);
    if (queue.hasFailed) queue.endFailed(ENDS_PER_TURN);
    if (queue.isBlocked) queue.resume();
    if (device.leaving.length > 0) leaveRanges(device);
    if (device.waiting.length > 0) resumeWaiting(device);
    if (device.woken.length > 0) resumeWoken(device);
    for (let i = 0; i < ENDS_PER_TURN && device.ended.length > 0; i++) {
      endTransfer(device, device.ended.shift());
    }
  } finally {
    device.isDraining = false;
    device.arm();
  }
  return count;
}

/** An endIo that throws, of whoever uses `submitBio`, leaves those behind it to the next turn. */
function completeReaped(device: BlockDevice, max: number): number {
  const { engine, reaped } = device;
  if (device.reapedAt === device.reapedCount) {
    device.reapedAt = 0;
    device.reapedCount = engine.reap(reaped, Math.min(max, reaped.length));
  }
  let count = 0;
  while (device.reapedAt < device.reapedCount && count < max) {
    count++;
    completeRequest(device, reaped[device.reapedAt++]);
  }
  return count;
}

function completeRequest(device: BlockDevice, tag: number): void {
  const { requests, queue } = device;
  const request = requests.get(tag);
  const status = requests.status[slotOf(tag)];
  const bytesDone = requests.bytesDone[slotOf(tag)];
  assert(bytesDone <= request.bytes, 'complete: the engine did too much');
  const { probe } = device;
  if (probe !== null) {
    probe.hit(ProbePoint.COMPLETE, request.traceId, request, status, request.sector, bytesDone);
  }
  if (status !== 0 || bytesDone === request.bytes || !opHasData(request.op)) {
    const done = status === 0 && !opHasData(request.op) ? request.bytes : bytesDone;
    queue.finishRequest(request, status, done);
  } else {
    completeShort(device, request, bytesDone);
  }
}

/**
 * The engine moved less than asked, without an error. A read that reached the end of the device
 * ends there; everything else goes on from the last whole block. No progress is -EIO.
 */
function completeShort(device: BlockDevice, request: Request, bytesDone: number): void {
  const { queue } = device;
  const position = request.sector * SECTOR_BYTES;
  if (request.op === BioOp.READ && position + bytesDone >= device.engine.sizeBytes()) {
    queue.finishRequest(request, 0, bytesDone);
    return;
  }
  const progress = progressOf(device, bytesDone);
  if (progress === 0) {
    queue.finishRequest(request, -Errno.EIO, 0);
    return;
  }
  queue.leaveEngine(request);
  queue.requeue(request, progress);
}

/** Whole blocks; where dma_alignment is coarser, the rest starts there if it can. */
function progressOf(device: BlockDevice, bytesDone: number): number {
  const { blockBytes } = device.context;
  const aligned = bytesDone - (bytesDone % Math.max(blockBytes, device.limits.dma_alignment + 1));
  return aligned > 0 ? aligned : bytesDone - (bytesDone % blockBytes);
}

/** endIo of every bio of a transfer. */
export function pieceEnded(bio: Bio): void {
  const piece = bio.owner as Piece;
  const transfer = piece.owner as Transfer;
  const { device, mapping } = transfer;
  if (piece.phase === PiecePhase.READ_BEFORE_WRITE && bio.status === 0 && transfer.stop === 0) {
    if (writeBack(device, transfer, bio, piece)) return;
  }
  transfer.bios--;
  if (opHasData(transfer.op)) mapping.pieceEnded(bio, piece);
  else if (bio.status !== 0 && mapping.status === 0) mapping.status = bio.status;
  device.bios.release(bio);
  device.givePiece(piece);
  if (transfer.state === TransferState.ACTIVE && mapping.status !== 0) {
    advanceTransfer(device, transfer);
  }
  if (transfer.waitsForFault && transfer.bios === 0) device.leaving.push(transfer);
  endIfDrained(device, transfer);
}

/** The second half of a read-modify-write: the block is in own pages, the user's part goes in. */
function writeBack(device: BlockDevice, transfer: Transfer, bio: Bio, piece: Piece): boolean {
  const { mapping } = transfer;
  const valid = Math.min(Math.max(bio.shortAt - piece.start, 0), piece.bytes);
  mapping.zeroBehind(bio, valid, piece.bytes);
  if (!mapping.copyIn(bio, piece)) return false;
  // A device or file that ends inside this block must not be written beyond that.
  piece.phase = PiecePhase.TRANSFER;
  piece.bytes = Math.max(valid, piece.skip + piece.userBytes);
  device.bios.rearm(bio, BioOp.WRITE, sectorOf(piece.start), piece.bytes);
  if (transfer.fua) bio.flags |= BioFlag.FUA;
  device.queue.submitBio(bio);
  return true;
}

export function endTransfer(device: BlockDevice, transfer: Transfer): void {
  assert(transfer.bios === 0, 'transfer: ended with bios in flight');
  const { mapping } = transfer;
  transfer.state = TransferState.IDLE;
  if (transfer.isLocked) {
    transfer.isLocked = false;
    device.locks.release(transfer, startGranted);
  }
  let result = opHasData(transfer.op) ? mapping.finish() : mapping.status;
  if (result >= 0 && transfer.stop !== 0) result = transfer.stop;
  const { onEnd } = transfer;
  assert(onEnd !== null, 'transfer: nobody waits for it');
  try {
    onEnd(transfer, result);
  } finally {
    device.giveTransfer(transfer);
  }
}
