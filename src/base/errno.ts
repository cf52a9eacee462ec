// Linux errno numbers. The data plane returns them negated; the edge turns them into BlockError.

export const Errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  EPIPE: 32,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ELOOP: 40,
  EBADE: 52,
  ENODATA: 61,
  ETIME: 62,
  ENOLINK: 67,
  EOVERFLOW: 75,
  EILSEQ: 84,
  EOPNOTSUPP: 95,
  ETIMEDOUT: 110,
  ESTALE: 116,
  EREMOTEIO: 121,
  EDQUOT: 122,
  ECANCELED: 125,
} as const;
export type Errno = (typeof Errno)[keyof typeof Errno];
export type ErrnoName = keyof typeof Errno;

const NAMES = new Map<number, ErrnoName>(
  (Object.entries(Errno) as [ErrnoName, number][]).map(([name, value]) => [value, name]),
);

/**
 * `5` and `-5` → `'EIO'`; an unknown number → `'EIO'`, because the caller must still see a failure.
 */
export function errnoName(errno: number): ErrnoName {
  return NAMES.get(Math.abs(errno)) ?? 'EIO';
}

/** `'ENOSPC'` → `28`; an unknown name → EIO. */
export function errnoNumber(name: string): number {
  return Object.hasOwn(Errno, name) ? Errno[name as ErrnoName] : Errno.EIO;
}
