import { BlockError } from '../base/block-error.ts';
import { Errno } from '../base/errno.ts';
import { ioReason } from '../base/io-reason.ts';
import { BioOp } from '../bio/bio-op.ts';
import { faultSentence } from '../integrity/fault-text.ts';
import { refusal } from '../map/decide.ts';
import type { Mapping } from '../map/mapping.ts';
import { Verdict } from '../map/verdict.ts';
import { cutBlockBytes, writesCutBlock } from './device-end.ts';
import type { Transfer } from './transfer.ts';

/** The error that a call ends with. `result`: negative; `length`: bytes that were asked for. */
export function transferError(
  transfer: Transfer,
  result: number,
  syscall: string,
  length: number,
): BlockError {
  const { device, mapping } = transfer;
  const target = device.engine.info.target;
  const where = { syscall, device: target, offset: transfer.position, length };
  const what = detachedName(mapping);
  if (what !== null) {
    const reason =
      `${what} was detached or resized while it was in flight; ` +
      'the device only ever saw pages of the arena';
    return new BlockError('ERR_BIOVEC_DETACHED', { reason, ...where });
  }
  return BlockError.fromErrno(result, { reason: reasonOf(transfer, result), ...where });
}

function detachedName(mapping: Mapping): string | null {
  if (mapping.detachedSegment >= 0) return `buffer ${mapping.detachedSegment} of the call`;
  return mapping.meta?.isDetached === true ? 'the metadata of the call' : null;
}

/** The sentence of an error that tells why `transfer` failed with `result`. */
function reasonOf(transfer: Transfer, result: number): string {
  const { device } = transfer;
  const { mapping } = transfer;
  const { reason, verdict } = mapping;
  if (result === -Errno.EINVAL && verdict === Verdict.REFUSE) {
    return refusal(reason, device.limits, device.context.blockBytes);
  }
  if (result === -Errno.EINVAL && mapping.meta?.isRefused === true) {
    const sentence = refusal(mapping.meta.reason, device.limits, device.context.blockBytes);
    return `of the metadata: ${sentence}`;
  }
  if (result === -Errno.EINVAL && writesCutBlock(transfer)) {
    const { logical_block_size: block } = device.limits;
    const bytes = cutBlockBytes(device);
    return `the device ends inside a block of ${block} bytes: its last ${bytes} cannot be written`;
  }
  switch (result) {
    case -Errno.EINVAL:
      return 'no request under the limits of the device can carry a block of this transfer';
    case -Errno.EILSEQ:
      return mismatchOf(transfer);
    case -Errno.EAGAIN:
      return 'the device had no room for the request';
    case -Errno.EFAULT:
      return 'the memory of a buffer was released before the call';
    default:
      return ioReason(result) ?? 'the device refused the transfer';
  }
}

/** `block 7: guard tag is 0x1234, expected 0xd0db; the 3584 bytes read before it are good`. */
function mismatchOf(transfer: Transfer): string {
  const { device, fault, mapping } = transfer;
  if (fault === null) return 'protection information and data do not fit, says the device';
  const sentence = faultSentence(fault);
  if (transfer.op !== BioOp.READ) return `${sentence}; nothing of this block was written`;
  const blockBytes = 2 ** (device.engine.info.integrity?.interval_exp ?? 0);
  const good = Math.min(fault.block * blockBytes, mapping.shortAt) - mapping.position;
  return good > 0 ? `${sentence}; the ${good} bytes read before it are good` : sentence;
}
