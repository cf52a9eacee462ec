import { Errno, type ErrnoName, errnoName, errnoNumber } from './errno.ts';

/** Own codes for what no errno names. */
export type BlockErrorCode =
  | ErrnoName
  | 'ERR_BIOVEC_DETACHED'
  | 'ERR_BIOVEC_CLOSED'
  | 'ERR_BIOVEC_FAULT_HANDLER'
  | 'ERR_BIOVEC_LEAK'
  | 'ERR_BIOVEC_RELEASED'
  | 'ERR_BIOVEC_VERIFY';

export interface BlockErrorDetail {
  /** A sentence that names the limit that was broken. */
  readonly reason: string;
  readonly syscall?: string | undefined;
  /** The name of the target, as the user wrote it. */
  readonly device?: string | undefined;
  /** Bytes from the start of the device. */
  readonly offset?: number | undefined;
  /** Bytes. */
  readonly length?: number | undefined;
  readonly cause?: unknown;
}

/** The one error class of the public API. `code` is stable; `reason` is for people. */
export class BlockError extends Error {
  override readonly name = 'BlockError';
  readonly code: BlockErrorCode;
  /** Negative, as on Node's own system errors; 0 for the codes of this library. */
  readonly errno: number;
  readonly reason: string;
  readonly syscall: string | undefined;
  readonly device: string | undefined;
  readonly offset: number | undefined;
  readonly length: number | undefined;

  constructor(code: BlockErrorCode, detail: BlockErrorDetail) {
    const where = detail.device === undefined ? '' : ` '${detail.device}'`;
    const call = detail.syscall === undefined ? '' : `, ${detail.syscall}`;
    super(`${code}: ${detail.reason}${call}${where}`, { cause: detail.cause });
    this.code = code;
    this.errno = Object.hasOwn(Errno, code) ? -errnoNumber(code) : 0;
    this.reason = detail.reason;
    this.syscall = detail.syscall;
    this.device = detail.device;
    this.offset = detail.offset;
    this.length = detail.length;
  }

  /** Turns a negative errno of the data plane into an error of the edge. */
  static fromErrno(errno: number, detail: BlockErrorDetail): BlockError {
    return new BlockError(errnoName(errno), detail);
  }
}
