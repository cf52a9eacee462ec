import {
  IORING_OP_READ,
  IORING_OP_READ_FIXED,
  IORING_OP_READV,
  IORING_OP_READV_FIXED,
  IORING_OP_WRITE,
  IORING_OP_WRITE_FIXED,
  IORING_OP_WRITEV,
  IORING_OP_WRITEV_FIXED,
} from '../../abi/io-uring.ts';

/** The operation that moves bytes: one range or rows of them, registered or not. */
export function transferOp(isRead: boolean, isVector: boolean, isFixed: boolean): number {
  if (isVector) {
    if (isFixed) return isRead ? IORING_OP_READV_FIXED : IORING_OP_WRITEV_FIXED;
    return isRead ? IORING_OP_READV : IORING_OP_WRITEV;
  }
  if (isFixed) return isRead ? IORING_OP_READ_FIXED : IORING_OP_WRITE_FIXED;
  return isRead ? IORING_OP_READ : IORING_OP_WRITE;
}
