// fcntl.h, linux/falloc.h, linux/stat.h, unistd.h. The same on every architecture of the door.

export const FALLOC_FL_KEEP_SIZE = 0x01;
export const FALLOC_FL_PUNCH_HOLE = 0x02;
export const FALLOC_FL_ZERO_RANGE = 0x10;

export const SEEK_SET = 0;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/** Locks of an open file, not of a process: since Linux 3.15. */
export const F_OFD_GETLK = 36;
export const F_OFD_SETLK = 37;
export const F_WRLCK = 1;
export const F_UNLCK = 2;
/** struct flock where off_t has 64 bits: start and length 0 are the whole file, however long. */
export const SIZEOF_FLOCK = 32;
export const OFFSETOF_L_TYPE = 0;

export const AT_EMPTY_PATH = 0x1000;
export const STATX_SIZE = 0x0200;
export const STATX_INO = 0x0100;
/** Since Linux 6.1. */
export const STATX_DIOALIGN = 0x2000;
/** struct statx: its size and the offsets of the fields that we read, bytes. */
export const SIZEOF_STATX = 256;
export const OFFSETOF_STX_MASK = 0;
export const OFFSETOF_STX_INO = 32;
export const OFFSETOF_STX_SIZE = 40;
export const OFFSETOF_STX_DIO_MEM_ALIGN = 152;
export const OFFSETOF_STX_DIO_OFFSET_ALIGN = 156;

export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;

/** limits.h: entries of one preadv or pwritev. */
export const IOV_MAX = 1024;
