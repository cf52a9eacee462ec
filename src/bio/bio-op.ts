import { unreachable } from '../base/assert.ts';

export const BioOp = {
  READ: 0,
  WRITE: 1,
  FLUSH: 2,
  DISCARD: 3,
  SECURE_ERASE: 4,
  WRITE_ZEROES: 5,
} as const;
export type BioOp = (typeof BioOp)[keyof typeof BioOp];

export const BIO_OP_NAMES = [
  'read',
  'write',
  'flush',
  'discard',
  'secure-erase',
  'write-zeroes',
] as const;

export const BioFlag = {
  /** Shares another bio's segments: adds nothing, releases nothing. */
  CLONED: 1,
  /** Joined to no request, nor does a request that starts with it grow. */
  NOMERGE: 2,
  /** Fail with EAGAIN rather than split or wait. */
  NOWAIT: 4,
  /** The write is on the medium when it completes. */
  FUA: 8,
} as const;

/** True when segments carry bytes; the others only name a range of the device. */
export function opHasData(op: BioOp): boolean {
  return op === BioOp.READ || op === BioOp.WRITE;
}

export function opIsWrite(op: BioOp): boolean {
  switch (op) {
    case BioOp.READ:
    case BioOp.FLUSH:
      return false;
    case BioOp.WRITE:
    case BioOp.DISCARD:
    case BioOp.SECURE_ERASE:
    case BioOp.WRITE_ZEROES:
      return true;
    default:
      return unreachable(op);
  }
}
