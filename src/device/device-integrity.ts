import type { Bio } from '../bio/bio.ts';
import type { FaultReport } from '../integrity/fault-text.ts';
import type { Piece } from '../map/piece.ts';
import { IntegrityStage } from '../queue/integrity-stage.ts';
import type { BlockDevice, DeviceOptions } from './block-device.ts';
import { pieceEnded } from './complete.ts';
import type { Transfer } from './transfer.ts';

/** The stage of a device whose engine keeps metadata. Throws BlockError ENOMEM. */
export function openIntegrity(
  device: Pick<BlockDevice, 'engine' | 'limits' | 'arena'>,
  options: DeviceOptions,
): IntegrityStage | null {
  const { engine, limits, arena } = device;
  const { integrity: profile } = engine.info;
  if (profile === null) return null;
  const stage = new IntegrityStage({ profile, limits, arena, payloads: options.payloads });
  stage.onFault = noteFault;
  return stage;
}

/** The caller hears of the lowest block: what lies before it is good. */
function noteFault(bio: Bio, report: FaultReport): void {
  if (bio.endIo !== pieceEnded) return; // A bio of `submitBio`: its submitter sees the status.
  const transfer = (bio.owner as Piece).owner as Transfer;
  const { fault } = transfer;
  if (fault === null || report.block < fault.block) transfer.fault = report;
}
