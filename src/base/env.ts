// What the path takes from its host, as types only. The simulator owns all of it in a test; on
// Node it is `node/node-env.ts`. No layer before `node/` imports a `node:` module.

/** What every engine needs. */
export interface Env {
  /** Monotonic; a double. */
  nowNs(): number;
  /** From 0 up to, but not including, 1. */
  random(): number;
  /** Runs `fn` once, later, from the loop; never inside this call. In the order of the calls. */
  defer(fn: () => void): void;
}

/** What engines on files need as well. */
export interface HostEnv extends Env {
  readonly fs: FileSystem;
  /** null: no foreign functions here; `nativeReason` says why. */
  readonly native: Native | null;
  readonly nativeReason: string;
  /** Threads that carry file operations: node:fs has one pool for the process. */
  readonly ioThreads: number;
}

/** As much of a node:fs error as the path reads. */
export interface FsError {
  readonly code?: string | undefined;
  readonly message: string;
}

export type FsDone = (error: FsError | null) => void;
export type FsBytes = (error: FsError | null, bytes: number) => void;
export type FsResult<T> = (error: FsError | null, result: T) => void;

export interface FileStat {
  readonly size: number;
  readonly mode: number;
  readonly dev: number;
  readonly rdev: number;
  readonly blksize: number;
  /** 512-byte units that the file takes on its disk. */
  readonly blocks: number;
}

/** 0 where the platform has no such flag. */
export interface FileFlags {
  readonly O_RDONLY: number;
  readonly O_RDWR: number;
  readonly O_CREAT: number;
  readonly O_EXCL: number;
  readonly O_DIRECT: number;
}

/**
 * node:fs by its shapes. `position` is bytes, a double up to 2^53. Every callback runs once, later
 * (never inside the call); a transfer may be short.
 */
export interface FileSystem {
  readonly flags: FileFlags;
  open(path: string, flags: number, mode: number, done: FsResult<number>): void;
  close(fd: number, done: FsDone): void;
  stat(path: string, done: FsResult<FileStat>): void;
  fstat(fd: number, done: FsResult<FileStat>): void;
  /** For the one question of the data plane: what a file's size is after a short read. */
  fstatSync(fd: number): FileStat;
  read(fd: number, view: Uint8Array, position: number, done: FsBytes): void;
  readv(fd: number, views: readonly Uint8Array[], position: number, done: FsBytes): void;
  write(fd: number, view: Uint8Array, bytes: number, position: number, done: FsBytes): void;
  writev(fd: number, views: readonly Uint8Array[], position: number, done: FsBytes): void;
  fdatasync(fd: number, done: FsDone): void;
  ftruncate(fd: number, bytes: number, done: FsDone): void;
  unlink(path: string, done: FsDone): void;
  /** A small text file, as those of sysfs are. */
  readText(path: string, done: FsResult<string>): void;
}

/** 0, or a negative errno. */
export type NativeDone = (status: number) => void;

/** The door to what node:fs lacks. A result is a number >= 0 or a negative errno. */
export interface Native {
  /** What stands behind the door, for people: 'koffi' … */
  readonly kind: string;
  /** False: a range call blocks the loop while it runs, so callers keep their ranges short. */
  readonly isAsync: boolean;
  /** statx STATX_DIOALIGN, bytes; zeros: no direct I/O on it; null: nobody knows. */
  directAlignment(fd: number): DirectAlignment | null;
  fallocate(fd: number, mode: number, start: number, bytes: number, done: NativeDone): void;
  /** An ioctl that takes { start, bytes } as two 64-bit numbers. */
  ioctlRange(fd: number, request: number, start: number, bytes: number, done: NativeDone): void;
  /** An ioctl that gives a number of `width` bytes. */
  ioctlNumber(fd: number, request: number, width: 2 | 4 | 8): number;
  lseek(fd: number, offset: number, whence: number): number;
}

export interface DirectAlignment {
  /** Bytes: where in memory a segment may start and end. */
  readonly memory: number;
  /** Bytes: where in the file a transfer may start and end. */
  readonly offset: number;
}
